"""Writes a guard all or not at all."""

from __future__ import annotations

from pathlib import Path

import onnx

from blurvote.export.onnx_models import MAX_BYTES
from blurvote.runtime.errors import ExportError
from blurvote.runtime.whole_file import write_whole

__all__ = ["check_target", "is_guard", "write_guard"]


def check_target(path: Path, overwrite: bool) -> None:
    """Raises ExportError where `write_guard` could not, or should not, write; costs nothing.

    A guard may be written over a guard; anything else is only replaced with `overwrite`.
    """
    if path.is_dir():
        raise ExportError(f"{path} is a folder; name the file to write, such as {path}/guard.onnx")
    if not path.parent.is_dir():
        raise ExportError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not overwrite and not is_guard(path):
        raise ExportError(f"{path} exists and is not a guard; --force replaces it")


def is_guard(path: Path) -> bool:
    """Whether a file is a guard."""
    try:
        if path.stat().st_size > MAX_BYTES:
            return False
        proto = onnx.load_model(path, load_external_data=False)
    except Exception:  # whatever the parser says, it is not a guard
        return False
    return any(entry.key == "blurvote.defense" for entry in proto.metadata_props)


def write_guard(proto: onnx.ModelProto, path: Path) -> int:
    """Writes `proto` beside `path` first, then moves it there; returns its size in bytes.

    Raises:
        ExportError: the folder is not writable or its disk is full. Nothing is left behind then,
            and a file that was at `path` is still there.
    """
    data = proto.SerializeToString()
    try:
        write_whole(path, data)
    except OSError as error:
        raise ExportError(
            f"cannot write {path} ({len(data) / 1e6:.1f} MB): {error.strerror or error}"
        ) from error
    return len(data)
