"""Reads and adds the metadata entries of an ONNX file without loading its graph.

Profile shapes and cache keys are needed before there is a session, and an EPContext model, which
ONNX Runtime writes without the metadata of the guard it was made of, must get them back. The
runtime does not have the onnx package; of the format this needs the outermost level alone, and
there a message may be extended by appending to it.

Formats: https://protobuf.dev/programming-guides/encoding/ and onnx.proto's `ModelProto`, whose
field 14 holds `StringStringEntryProto`s (1: key, 2: value).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from blurvote.runtime.engines.model_bytes import Model, ModelBytes
from blurvote.runtime.errors import GuardError

__all__ = ["append_metadata", "read_metadata", "require_file"]

_METADATA = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types


def require_file(path: str | Path) -> Path:
    """The path, if there is a file.

    Raises:
        GuardError: there is none.
    """
    path = Path(path)
    if not path.is_file():
        raise GuardError(f"{path} is not a file; expected an ONNX file written by blurvote export")
    return path


def read_metadata(model: Model) -> dict[str, str]:
    """The metadata entries; of entries with one key the last counts.

    Raises:
        GuardError: the file is missing, cannot be read, or is no protobuf message.
    """
    try:
        if isinstance(model, ModelBytes):
            return _read_entries(BytesIO(model.data), len(model.data))
        with require_file(model).open("rb") as file:
            return _read_entries(file, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise GuardError(f"{model} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise GuardError(
            f"{model} cannot be loaded as an ONNX model ({error}). Is it truncated, or not an ONNX "
            "file? Export it again"
        ) from error


def append_metadata(path: str | Path, entries: Mapping[str, str]) -> None:
    """Adds entries at the end of the file, where they take the place of any with the same keys.

    Raises:
        OSError: the file cannot be written.
    """
    with Path(path).open("ab") as file:
        for key, value in entries.items():
            entry = _text(1, key) + _text(2, value)
            file.write(_varint(_METADATA << 3 | _BYTES) + _varint(len(entry)) + entry)


def _read_entries(file: BinaryIO, size: int) -> dict[str, str]:
    entries: dict[str, str] = {}
    while file.tell() < size:
        field, wire = divmod(_read_varint(file), 8)
        if wire == _BYTES:
            length = _read_varint(file)
            if file.tell() + length > size:
                raise ValueError("it ends in the middle of an entry")
            if field == _METADATA:
                key, value = _read_entry(file, file.tell() + length)
                entries[key] = value
            else:
                file.seek(length, os.SEEK_CUR)
        else:
            _skip(file, wire)
    return entries


def _read_entry(file: BinaryIO, end: int) -> tuple[str, str]:
    texts = {1: "", 2: ""}
    while file.tell() < end:
        field, wire = divmod(_read_varint(file), 8)
        if wire != _BYTES:
            raise ValueError("a metadata entry is not text")
        texts[field] = file.read(_read_varint(file)).decode()
    if file.tell() != end:
        raise ValueError("a text is longer than the metadata entry that it is in")
    return texts[1], texts[2]


def _skip(file: BinaryIO, wire: int) -> None:
    if wire == _VARINT:
        _read_varint(file)
    elif wire in (_FIXED32, _FIXED64):
        file.seek(8 if wire == _FIXED64 else 4, os.SEEK_CUR)
    else:
        raise ValueError(f"wire type {wire} is none of protobuf's")


def _read_varint(file: BinaryIO) -> int:
    number = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number")
        number |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return number
    raise ValueError("a number has more than 64 bits")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _text(field: int, text: str) -> bytes:
    data = text.encode()
    return _varint(field << 3 | _BYTES) + _varint(len(data)) + data
