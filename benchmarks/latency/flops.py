"""Arithmetic of an ONNX model: multiply-adds of its convolutions and matrix products."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from blurvote.benchmarks.folded import fold
from blurvote.benchmarks.optional import require
from blurvote.runtime.errors import GuardError

__all__ = ["count_flops"]


def count_flops(path: Path, input_shape: tuple[int, ...]) -> float:
    """Floating-point operations of one inference: two per multiply-add.

    Convolutions, Gemm and MatMul only, which is the convention of the field; activations, pooling
    and additions are left out. Constants are folded first, so that weights which a file keeps
    compressed are not counted as work.

    Args:
        path: the ONNX model, with one input.
        input_shape: its shape, batch included.

    Raises:
        ProviderError: the onnx package is missing, or the model cannot be folded.
        GuardError: a shape in the graph is unknown, or there is nothing to count.
    """
    (onnx,) = require("counting a model's arithmetic", ("onnx",), "onnx")
    with tempfile.TemporaryDirectory() as folder:
        model = onnx.load(fold(path, input_shape[0], Path(folder) / "folded.onnx"))
    dims = model.graph.input[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, input_shape, strict=True):
        dim.dim_value = size
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes: dict[str, tuple[int, ...]] = {
        initializer.name: tuple(initializer.dims) for initializer in graph.initializer
    }
    for value in (*graph.input, *graph.value_info, *graph.output):
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    total = 0.0
    for node in graph.node:
        try:
            total += 2.0 * _multiply_adds(node, shapes)
        except KeyError as error:
            raise GuardError(
                f"{path}: the shape of {error} is unknown, so that the arithmetic of "
                f"{node.op_type} {node.name!r} cannot be counted"
            ) from None
    if not total:
        raise GuardError(f"{path} has no convolution or matrix product to count")
    return total


def _multiply_adds(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type in ("Conv", "ConvInteger", "FusedConv"):
        weights = shapes[node.input[1]]  # (out, in / groups, kernel...)
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type == "QLinearConv":
        weights = shapes[node.input[3]]
        return math.prod(shapes[node.output[0]]) * math.prod(weights[1:])
    if node.op_type in ("MatMul", "MatMulInteger", "FusedMatMul"):
        return math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
    if node.op_type in ("Gemm", "FusedGemm"):
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        inner = shapes[node.input[0]][0 if transposed else 1]
        return math.prod(shapes[node.output[0]]) * inner
    return 0
