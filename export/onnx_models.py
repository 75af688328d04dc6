"""Classifiers that come as ONNX files, and the names of their classes where a file holds them."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from blurvote.export.classifier import Classifier
from blurvote.runtime.errors import ExportError

__all__ = ["MAX_BYTES", "load_onnx", "load_proto", "parse_labels", "read_labels"]

MAX_BYTES = 2**31 - 1  # the size limit of a protobuf message
LABEL_KEYS = ("labels", "classes", "names", "class_names", "categories")


def load_onnx(path: Path) -> Classifier:
    """The classifier in an ONNX file.

    Raises:
        ExportError: there is no such file, it is not ONNX or is cut off, it is already a guard,
            or it and its external weights are larger than one ONNX file can be.
    """
    if not path.is_file():
        raise ExportError(
            f"there is no model at {path}. MODEL is a path of an ONNX file, torchvision:NAME or "
            "package.module:factory"
        )
    data = _read(path)
    proto = _parse(path, data)
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    if "blurvote.defense" in entries:
        raise ExportError(
            f"{path} is a guard already; export from the model it was made of, or convert the "
            "guard with --precision"
        )
    _load_weights(proto, path)
    return Classifier(
        proto=proto,
        origin=str(path),
        provenance={"source": path.name, "sha256": hashlib.sha256(data).hexdigest()},
        labels=_labels_of(entries),
    )


def load_proto(path: Path) -> onnx.ModelProto:
    """The ONNX model in a file, with its weights where they lie in other files.

    Raises:
        ExportError: the file or one of its weights cannot be read, it is not ONNX, or is larger
            than one ONNX file can be.
    """
    proto = _parse(path, _read(path))
    _load_weights(proto, path)
    return proto


def read_labels(path: Path) -> tuple[str, ...]:
    """Class names from a file: a JSON list, or one name per line.

    Raises:
        ExportError: the file cannot be read or holds no names.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"cannot read the labels in {path}: {error}") from error
    labels = parse_labels(text)
    if not labels:
        raise ExportError(f"{path} holds no labels; expected one name per line, or a JSON list")
    return labels


def parse_labels(text: str) -> tuple[str, ...]:
    """Class names from a JSON list, a JSON or Python dict of index to name, or lines."""
    value: Any = None
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
            break
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    if isinstance(value, dict):
        try:
            value = {int(index): name for index, name in value.items()}
        except (TypeError, ValueError):
            return ()
        if sorted(value) != list(range(len(value))):
            return ()
        value = [value[index] for index in range(len(value))]
    if isinstance(value, list):
        return tuple(str(name) for name in value)
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _labels_of(entries: dict[str, str]) -> tuple[str, ...]:
    for key in LABEL_KEYS:
        if entries.get(key):
            return parse_labels(entries[key])
    return ()


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ExportError(
                f"{path} has {size / 1e9:.1f} GB; an ONNX file of more than 2 GB is not supported"
            )
        return path.read_bytes()
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error


def _parse(path: Path, data: bytes) -> onnx.ModelProto:
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ExportError(_not_onnx(path, data)) from error
    if not proto.graph.node or not proto.opset_import:
        raise ExportError(_not_onnx(path, data))
    return proto


def _not_onnx(path: Path, data: bytes) -> str:
    if not data:
        return f"{path} is empty; expected an ONNX file"
    if data[:2] == b"PK" or path.suffix in (".pt", ".pth", ".th", ".ckpt"):
        return (
            f"{path} is not ONNX; it looks like a PyTorch checkpoint. For a torchvision model: "
            f"blurvote export torchvision:NAME --weights {path}; else write a function that builds "
            "the model and name it as package.module:factory"
        )
    return f"{path} is not an ONNX file, or is cut off ({len(data)} bytes read)"


def _load_weights(proto: onnx.ModelProto, path: Path) -> None:
    """Brings weights that lie in other files into `proto`."""
    outside = [tensor for tensor in proto.graph.initializer if uses_external_data(tensor)]
    if not outside:
        return
    files = {path.parent / ExternalDataInfo(tensor).location for tensor in outside}
    missing = sorted(str(file) for file in files if not file.is_file())
    if missing:
        raise ExportError(
            f"{path} keeps its weights in other files, and {missing[0]} is missing: put it back "
            "beside the model"
        )
    total = sum(file.stat().st_size for file in files)
    if total > MAX_BYTES:
        raise ExportError(
            f"{path} has {total / 1e9:.1f} GB of weights in other files; a guard is one file, and "
            "one ONNX file of more than 2 GB is not supported"
        )
    try:
        onnx.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ExportError(f"cannot read the weights of {path}: {error}") from error
