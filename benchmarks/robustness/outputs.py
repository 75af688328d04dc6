"""Where the lab's results go, and what they say about the guard and the pictures behind them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.benchmarks.environment import machine
from blurvote.benchmarks.robustness.dataset import Dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.errors import SinkError, SourceError
from blurvote.runtime.tuning import guard_sha256
from blurvote.runtime.whole_file import write_whole

__all__ = [
    "guard_facts",
    "pictures_facts",
    "plain",
    "read_json",
    "write_json",
    "write_text",
]


def guard_facts(guard: Deployed) -> dict[str, Any]:
    """What identifies a guard in results: file name, hash, defence, classes, source."""
    return {
        "file": guard.path.name,
        "sha256": guard_sha256(guard.path),
        "kind": guard.metadata.kind,
        "classes": guard.classes,
        "provider": guard.provider,
        "compute": guard.compute,
        "defense": json.loads(guard.defense.to_json()),
        "source": guard.metadata.provenance.get("source"),
    }


def pictures_facts(dataset: Dataset) -> dict[str, Any]:
    """What identifies a data set in results."""
    return {
        "name": dataset.name,
        "layout": dataset.layout,
        "pictures": len(dataset.samples),
        "fingerprint": dataset.fingerprint,
    }


def plain(value: Any) -> Any:
    """Dataclasses, arrays and tuples as JSON values; what is not finite becomes null."""
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_json(file: Path, schema: str, document: Mapping[str, Any]) -> dict[str, Any]:
    """Writes results as JSON, with the schema's name and the machine; returns the document.

    Raises:
        SinkError: the file cannot be written.
    """
    whole: dict[str, Any] = plain({"schema": schema, "machine": machine(), **document})
    write_text(file, json.dumps(whole, indent=1) + "\n")
    return whole


def write_text(file: Path, text: str) -> None:
    """Writes a file whole or not at all, its folder made.

    Raises:
        SinkError: it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # File names need not be UTF-8, and results quote them.
        write_whole(file, text.encode(errors="backslashreplace"))
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error


def read_json(file: Path, schema: str) -> dict[str, Any] | None:
    """Results that `write_json` wrote; None where there are none.

    Raises:
        SourceError: the file is not such a document.
    """
    if not file.is_file():
        return None
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise SourceError(f"{file} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SourceError(f"{file} is not JSON ({error}); delete it and measure again") from error
    if not isinstance(document, dict) or document.get("schema") != schema:
        raise SourceError(f"{file} is not of schema {schema}; delete it and measure again")
    return document
