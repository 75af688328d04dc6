"""A backbone in fp16: weights and activations, with float32 at its input and output.

The types are in the graph, which is what TensorRT's strongly typed networks ask for. The converter
is the one in onnxruntime, which is kept up to date (onnxconverter-common's, its ancestor, is not).
On x86 ONNX Runtime has no fp16 kernels: it casts around every operator, and is slower than fp32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from blurvote.export.backbone import ADAPT, LOGITS
from blurvote.export.graph_passes import keep_reachable
from blurvote.export.ort_session import one_line
from blurvote.export.precision.ranges import collect
from blurvote.runtime.errors import ExportError

__all__ = ["HALF_MAX", "to_half"]

HALF_MAX = 65504.0
HEADROOM = 4.0  # frames to come may exceed those that were measured


def to_half(
    folded: onnx.ModelProto,
    views: Iterable[NDArray[np.float32]],
    say: Callable[[str], None],
) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The backbone in fp16, and the nodes that stayed in fp32 because fp16 would overflow.

    Args:
        folded: what `folding.fold` returns.
        views: `(V, 3, h, w)` of frames whose activations are checked.

    Raises:
        ExportError: the converter failed.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    say("checking weights and activations for fp16's range")
    unsafe = _overflowing(folded, views, say)
    # What adapts probabilities takes logarithms of numbers that fp16 has not.
    adapting = [node.name for node in folded.graph.node if node.name.startswith(ADAPT)]
    source = onnx.ModelProto()
    source.CopyFrom(folded)
    try:
        model: onnx.ModelProto = convert_float_to_float16(
            source,
            keep_io_types=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST],
            node_block_list=[*adapting, *unsafe],
        )
    except Exception as error:  # AssertionError, ValueError, protobuf's own
        raise ExportError(f"the model cannot be converted to fp16: {one_line(error)}") from error
    del model.graph.value_info[:]
    _drop_repeats(model.graph)
    _drop_round_trips(model.graph)
    ONNXModel(model).topological_sort()  # the converter puts its casts at the end
    keep_reachable(model, LOGITS)
    return model, tuple(unsafe)


def _overflowing(
    folded: onnx.ModelProto,
    views: Iterable[NDArray[np.float32]],
    say: Callable[[str], None],
) -> list[str]:
    """Nodes with a weight beyond fp16, or an activation beyond a quarter of its range."""
    large = {
        tensor.name
        for tensor in folded.graph.initializer
        if tensor.data_type == TensorProto.FLOAT
        and float(np.abs(numpy_helper.to_array(tensor)).max(initial=0)) > HALF_MAX
    }
    op_types = sorted({node.op_type for node in folded.graph.node})
    for name, _, _, low, high in collect(folded, op_types, views, say).items():
        if max(-low, high) > HALF_MAX / HEADROOM:
            large.add(name)
    return [
        node.name for node in folded.graph.node if large.intersection((*node.input, *node.output))
    ]


def _drop_repeats(graph: onnx.GraphProto) -> None:
    """Keeps one of the equal casts that the converter puts before every reader of a value."""
    seen: set[str] = set()
    kept = []
    for node in graph.node:
        if node.op_type != "Cast" or node.output[0] not in seen:
            kept.append(node)
        seen.add(node.output[0])
    del graph.node[:]
    graph.node.extend(kept)


def _drop_round_trips(graph: onnx.GraphProto) -> None:
    """Lets a cast back to fp32 read what the converter's cast to fp16 before it read.

    Between two nodes that stay in fp32 it puts both, which would round for nothing.
    """
    makers = {output: node for node in graph.node for output in node.output}
    for node in graph.node:
        before = makers.get(node.input[0]) if node.op_type == "Cast" else None
        if before is not None and before.name.endswith("_cast_to_fp16_node"):
            node.input[0] = before.input[0]
