"""The files of one training, each written whole."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from blurvote.runtime.errors import SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = ["Files", "make_folder"]


@dataclass(frozen=True)
class Files:
    """Where the results named `name` go in `folder`."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        make_folder(self.folder)

    @property
    def guard(self) -> Path:
        """The guard."""
        return self.folder / f"{self.name}.onnx"

    @property
    def weights(self) -> Path:
        """The state dict of the bare net, without the 3-to-1 layer."""
        return self.folder / f"{self.name}.pt"

    @property
    def record(self) -> Path:
        """How it was trained."""
        return self.folder / f"{self.name}.json"

    @property
    def partial(self) -> Path:
        """A training that is not finished."""
        return self.folder / f"{self.name}.partial.pt"

    @property
    def gradients(self) -> Path:
        """The summed gradients; the figure has the same name and ends in .png."""
        return self.folder / f"{self.name}-gradient-sum.npz"

    def save_partial(self, state: Mapping[str, Any]) -> None:
        """Keeps a training that is under way."""
        _save(self.partial, dict(state))

    def load_partial(self, settings: Mapping[str, Any]) -> dict[str, Any] | None:
        """The training that was kept, where it had the same settings; None otherwise."""
        if not self.partial.is_file():
            return None
        try:
            state: Any = torch.load(self.partial, map_location="cpu", weights_only=True)
        except Exception:  # not ours or damaged: training anew costs minutes
            return None
        same = isinstance(state, dict) and state.get("settings") == dict(settings)
        return state if same else None

    def save(self, net: torch.nn.Module, record: Mapping[str, Any]) -> None:
        """Writes weights and record, and takes the unfinished training away."""
        _save(self.weights, net.state_dict())
        _write(self.record, json.dumps(record, indent=2).encode())
        self.partial.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Makes the folder where it is missing.

    Raises:
        SinkError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made a folder: {error.strerror}") from error


def _save(path: Path, state: Mapping[str, Any]) -> None:
    content = io.BytesIO()
    torch.save(state, content)
    _write(path, content.getvalue())


def _write(path: Path, data: bytes) -> None:
    try:
        write_whole(path, data)
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error
