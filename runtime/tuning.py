"""Settings that were measured to be fastest for one guard on one machine.

`blurvote bench --tune GUARD` writes them, `Guard.tuned(GUARD)` reads them. They are kept per user,
under the guard's SHA-256, with the machine they were measured on: another processor, core count,
ONNX Runtime or OpenVINO makes them void, which is an error and not a guess. They are of fp32 alone:
another compute changes numbers, so that it is asked for and never found.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blurvote.runtime.engines.openvino import openvino_version
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.engines.protocol import Provider
from blurvote.runtime.errors import GuardError, ProviderError, SinkError
from blurvote.runtime.machine import cpu_name, gpu_names, usable_cores
from blurvote.runtime.plans import PlanName
from blurvote.runtime.whole_file import write_whole

__all__ = ["Tuning", "fingerprint", "guard_sha256", "load_tuning", "save_tuning", "tuning_folder"]

SCHEMA = 1


@dataclass(frozen=True)
class Tuning:
    """The fastest settings for a guard.

    Attributes:
        provider, plan, threads, spin: as `Guard` takes them.
        guard_sha256: the guard file's hash, in hexadecimal.
        machine: what they hold for, see `fingerprint`.
        mean_ms: mean milliseconds of a verdict with them, over the frames that were measured.
        measured_at: ISO 8601.
    """

    provider: Provider
    plan: PlanName
    threads: int
    spin: bool
    guard_sha256: str
    machine: dict[str, Any]
    mean_ms: float
    measured_at: str

    @property
    def settings(self) -> dict[str, Any]:
        """Keyword arguments of `Guard`."""
        return {
            "provider": self.provider,
            "plan": self.plan,
            "threads": self.threads,
            "spin": self.spin,
        }


def fingerprint() -> dict[str, Any]:
    """What tuned settings depend on besides the guard."""
    return {
        "cpu": cpu_name(),
        "architecture": platform.machine(),
        "usable_cores": usable_cores(),
        "gpus": gpu_names(),
        "onnxruntime": _onnxruntime_version(),
        "openvino": openvino_version(),
    }


def _onnxruntime_version() -> str | None:
    try:
        return str(import_onnxruntime().__version__)
    except ProviderError:
        return None


def guard_sha256(path: str | Path) -> str:
    """The file's hash.

    Raises:
        GuardError: it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise GuardError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()


def tuning_folder() -> Path:
    """Where tuned settings are kept: `blurvote/tuning` in the user's cache folder."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path("~/.cache").expanduser())
    return Path(cache) / "blurvote" / "tuning"


def save_tuning(tuning: Tuning) -> Path:
    """Writes the settings for `load_tuning`; returns the file.

    Raises:
        SinkError: it cannot be written.
    """
    file = tuning_folder() / f"{tuning.guard_sha256}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"schema_version": SCHEMA, **asdict(tuning)}, indent=1)
        write_whole(file, text + "\n")
    except OSError as error:
        raise SinkError(
            f"the tuned settings cannot be kept in {file}: {error.strerror}; "
            "XDG_CACHE_HOME names another folder"
        ) from error
    return file


def load_tuning(path: str | Path) -> Tuning:
    """The settings tuned for this guard on this machine.

    Raises:
        GuardError: there are none, they are broken, or they were measured on another machine or
            with other libraries.
    """
    file = tuning_folder() / f"{guard_sha256(path)}.json"
    again = f"measure them: blurvote bench --tune {path}"
    try:
        values = json.loads(file.read_text())
        if values.pop("schema_version") != SCHEMA:
            raise ValueError("another version's format")
        tuning = Tuning(**values)
    except FileNotFoundError:
        raise GuardError(f"{path} has no tuned settings on this machine; {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise GuardError(f"{file} cannot be used ({error}); {again}") from error
    here = fingerprint()
    changed = [
        f"{name} was {tuning.machine.get(name)!r} and is {value!r}"
        for name, value in here.items()
        if tuning.machine.get(name) != value
    ]
    if changed:
        raise GuardError(
            f"the tuned settings of {path} do not hold any more: {'; '.join(changed)}; {again}"
        )
    return tuning
