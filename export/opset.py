"""The version of ONNX's operators that a model uses."""

from __future__ import annotations

import onnx
from onnx import version_converter

from blurvote.runtime.errors import ExportError

__all__ = ["opset_of", "raise_opset"]


def opset_of(model: onnx.ModelProto) -> int:
    """The opset of the standard operators."""
    return int(next(item.version for item in model.opset_import if item.domain in ("", "ai.onnx")))


def raise_opset(model: onnx.ModelProto, opset: int, prefixes: tuple[str, ...]) -> onnx.ModelProto:
    """A copy of `model` at `opset` at least.

    Args:
        prefixes: nodes that the conversion adds, and that begin with none of these, get a name
            that begins with the first.

    Raises:
        ExportError: onnx cannot convert it; the message is only the reason.
    """
    if opset_of(model) >= opset:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return copy
    try:
        raised: onnx.ModelProto = version_converter.convert_version(model, opset)
    except Exception as error:  # the converter raises whatever its C++ part does
        raise ExportError(" ".join(str(error).split())[:200]) from error
    del raised.graph.value_info[:]
    for number, node in enumerate(raised.graph.node):
        if not node.name.startswith(prefixes):
            node.name = f"{prefixes[0]}upgraded_{number}"
    return raised
