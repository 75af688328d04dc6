"""Whether a model computes in integers, which have no gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["has_quantised_operators"]

# Weights alone may be stored in 8 bits (DequantizeLinear without its counterpart): those are float.
_QUANTISED = (
    "QuantizeLinear",
    "DynamicQuantize",
    "QLinear",
    "QGemm",
    "QAttention",
    "ConvInteger",
    "MatMulInteger",
)


def has_quantised_operators(path: Path) -> bool:
    """Whether an ONNX file computes in integers.

    Raises:
        ProviderError: onnx is missing.
    """
    from blurvote.benchmarks.optional import require

    (onnx,) = require("reading the graph", ("onnx",), "onnx")
    model: Any = onnx.load(str(path), load_external_data=False)
    return any(node.op_type.startswith(_QUANTISED) for node in model.graph.node)
