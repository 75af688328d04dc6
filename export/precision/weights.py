"""Scales of int8 weights: one per output channel, of least squared rounding error."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

__all__ = ["WeightScales", "channel_scales", "output_axis", "weight_scales"]

Floats = NDArray[np.float32]

LEVELS = 127  # symmetric: -127 to 127
# Of max|w| / 127: below 1 the largest weights are clipped, above 1 not all levels are used.
_FACTORS = np.concatenate([[1.0], np.linspace(0.6, 1.6, 101)]).astype(np.float32)
_SAMPLED = 256  # weights of a channel that choose among the factors


@dataclass(frozen=True)
class WeightScales:
    """Of one weight: its output axis, and a scale `(C,)` float32 for each channel along it."""

    axis: int
    scales: NDArray[np.float32]


def weight_scales(model: onnx.ModelProto) -> dict[str, WeightScales]:
    """The scales of every constant weight of a Conv, Gemm or MatMul, by the weight's name."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        axis = output_axis(node)
        if axis is None or node.input[1] not in tensors or node.input[1] in found:
            continue
        weight = numpy_helper.to_array(tensors[node.input[1]])
        if weight.dtype != np.float32 or weight.ndim < 2:
            continue
        rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
        found[node.input[1]] = WeightScales(axis % weight.ndim, channel_scales(rows))
    return found


def output_axis(node: onnx.NodeProto) -> int | None:
    """The axis of a node's weight that counts its output channels; None if it has no weight."""
    if node.op_type == "Conv":
        return 0
    if node.op_type == "MatMul":
        return -1
    if node.op_type == "Gemm":
        return 0 if any(entry.name == "transB" and entry.i for entry in node.attribute) else 1
    return None


def channel_scales(rows: Floats) -> Floats:
    """The scale `(C,)` of each row of `(C, K)` that rounds it with the least squared error.

    Many starts, each improved by turns of rounding and least squares (Lloyd's algorithm on a
    uniform grid). Weights that came from an 8-bit grid fall back into it: in a MobileNetV2 made so
    that left a median of 0.2 of the squared error of the usual `max|w| / 127`.
    """
    top = np.abs(rows).max(axis=1)
    top[top == 0] = 1  # a channel of zeros: any scale will do
    usual = top / LEVELS
    sample = np.ascontiguousarray(rows[:, :: -(-rows.shape[1] // _SAMPLED)])
    best, least = usual, np.full(len(rows), np.inf, np.float32)
    for factor in _FACTORS:
        scales = _fitted(sample, usual * factor)
        errors = _errors(sample, scales)
        best = np.where(errors < least, scales, best)
        least = np.minimum(errors, least)
    best = _fitted(rows, best)
    return np.asarray(np.where(_errors(rows, best) < _errors(rows, usual), best, usual))


def _fitted(rows: Floats, scales: Floats) -> Floats:
    """The scales after two turns of rounding and least squares."""
    for _ in range(2):
        levels = _levels(rows, scales)
        power = np.einsum("ck,ck->c", levels, levels)
        fitted = np.einsum("ck,ck->c", rows, levels) / np.maximum(power, 1)
        scales = np.where(fitted > 0, fitted, scales)
    return scales


def _errors(rows: Floats, scales: Floats) -> Floats:
    gaps = rows - _levels(rows, scales) * scales[:, None]
    return np.asarray(np.einsum("ck,ck->c", gaps, gaps))


def _levels(rows: Floats, scales: Floats) -> Floats:
    levels = rows / scales[:, None]
    return np.clip(np.rint(levels, out=levels), -LEVELS, LEVELS, out=levels)
