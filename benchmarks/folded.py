"""A model as ONNX Runtime folds it: constants computed, batch normalisation fused."""

from __future__ import annotations

from pathlib import Path

from blurvote.benchmarks.optional import require
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.errors import ProviderError

__all__ = ["fold"]


def fold(path: Path, batch: int, target: Path) -> Path:
    """Writes the guard with its batch fixed and what is constant computed; returns `target`.

    Guards may keep weights compressed (code books, 8-bit integers) and decode them in the graph.
    ONNX Runtime does that once on loading; a converter would do it in every call, or fail. Only its
    basic optimisations are used: the result is standard ONNX that other tools can read.

    Raises:
        ProviderError: onnx is missing, or ONNX Runtime cannot write the folded model.
    """
    (onnx,) = require("what needs the folded model", ("onnx",), "onnx")
    ort = import_onnxruntime()
    try:
        model = onnx.load(str(path))
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = batch
        model.graph.output[0].type.tensor_type.shape.dim[0].dim_value = batch
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(target)
        options.log_severity_level = 3
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # pybind's and protobuf's exceptions have no common base
        text = " ".join(str(error).split())[:300]
        raise ProviderError(
            f"{path} cannot be folded for a batch of {batch} by ONNX Runtime: {text}"
        ) from error
    return target
