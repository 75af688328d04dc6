"""A backbone with everything constant computed, as plain ONNX that converters understand."""

from __future__ import annotations

import tempfile
from pathlib import Path

import onnx

from blurvote.export.graph_passes import foreign_operators
from blurvote.export.guard_graph import upgrade
from blurvote.export.opset import opset_of
from blurvote.export.ort_session import one_line
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.errors import ExportError

__all__ = ["fold"]

MIN_OPSET = 13  # the first with Q/DQ per channel


def fold(backbone: onnx.ModelProto) -> onnx.ModelProto:
    """`backbone` with decoded weights, fused batch normalisation and inferred shapes.

    Models may keep their weights compressed and decode them in the graph. A converter would round
    every step of that decoding instead of the weights.

    Raises:
        ExportError: ONNX Runtime cannot fold it, or it computes in less than fp32 already.
    """
    low = _lower_precision(backbone)
    if low:
        raise ExportError(
            f"the model computes in less than fp32 already ({low}); --precision starts from an "
            "fp32 model"
        )
    if opset_of(backbone) < MIN_OPSET:
        backbone = upgrade(backbone)
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="blurvote-") as folder:
        file = Path(folder) / "folded.onnx"
        options.optimized_model_filepath = str(file)
        try:
            ort.InferenceSession(
                backbone.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
            folded = onnx.load(file)
        except Exception as error:  # pybind's and protobuf's exceptions have no common base
            raise ExportError(f"ONNX Runtime cannot fold the model: {one_line(error)}") from error
    added = set(foreign_operators(folded)) - set(foreign_operators(backbone))
    if added:  # its own operators, which no other runtime has
        raise ExportError(f"ONNX Runtime folds the model into its own {', '.join(sorted(added))}")
    del folded.graph.value_info[:]
    shaped: onnx.ModelProto = onnx.shape_inference.infer_shapes(folded, data_prop=True)
    return shaped


def _lower_precision(backbone: onnx.ModelProto) -> str | None:
    """The first sign of arithmetic below fp32, casts of the model's own input included."""
    for node in backbone.graph.node:
        if node.op_type in ("QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv"):
            return str(node.op_type)
    half = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    inferred = onnx.shape_inference.infer_shapes(backbone)
    for value in inferred.graph.value_info:
        if value.type.tensor_type.elem_type in half and not _constant(inferred.graph, value.name):
            return "float16"
    return None


def _constant(graph: onnx.GraphProto, name: str) -> bool:
    """Whether a value depends on no input: weights that are only stored in 16 bits."""
    makers = {output: node for node in graph.node for output in node.output}
    inputs = {value.name for value in graph.input}
    pending, seen = [name], set()
    while pending:
        current = pending.pop()
        if current in inputs:
            return False
        if current in seen or current not in makers:
            continue
        seen.add(current)
        pending.extend(makers[current].input)
    return True
