"""int8 with static Q/DQ: where the pairs go, and how a tensor is kept in float.

Every convolution and matrix product reads its data through a Q/DQ pair and its weights through a
DQ, and so does every sum of two computed values (a residual). Nothing is quantised where it is
written. This is the placement that TensorRT asks for: an activation function lies between a
convolution and the next pair, so it is fused and costs no precision. ONNX Runtime's CPU kernels
fuse it as well where the activations are uint8: a ReLU is then what clipping at 0 does. With int8
and the zero point 0 it is not, and ONNX Runtime runs such a graph no faster than fp32.

Biases stay in float: TensorRT refuses int32 ones, and ONNX Runtime quantises them when it loads.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable

import numpy as np
import onnx

from blurvote.export.backbone import LOGITS
from blurvote.export.graph_passes import keep_reachable
from blurvote.export.ort_session import one_line
from blurvote.export.precision.options import Activations
from blurvote.export.precision.ranges import Ranges
from blurvote.export.precision.weights import WeightScales, weight_scales
from blurvote.runtime.errors import ExportError

__all__ = ["OP_TYPES", "Quantiser"]

# The last three only pass int8 on; in float they would break a chain of int8 kernels.
OP_TYPES = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool")


class Quantiser:
    """Makes int8 versions of one backbone.

    Args:
        folded: what `folding.fold` returns.
        activations: see `PrecisionOptions`.

    Attributes:
        symmetric: whether ranges of activations are widened to be symmetric about 0.

    Raises:
        ExportError: it has no convolution or matrix product with constant weights.
    """

    def __init__(self, folded: onnx.ModelProto, activations: Activations) -> None:
        self._folded = folded
        self.symmetric = activations == "int8"
        self._scales = weight_scales(folded)
        if not self._scales:
            raise ExportError(
                "the model has no convolution or matrix product with constant weights, so int8 "
                "would change nothing; export it without --precision"
            )
        constants = {tensor.name for tensor in folded.graph.initializer}
        # Sums with a constant are part of a normalisation, not residuals.
        self._excluded = [
            node.name
            for node in folded.graph.node
            if node.op_type == "Add" and constants.intersection(node.input)
        ]

    def build(self, ranges: Ranges) -> onnx.ModelProto:
        """The int8 backbone.

        Args:
            ranges: of all tensors that operators of `OP_TYPES` read or write.

        Raises:
            ExportError: ONNX Runtime's quantiser failed.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        data = {
            name: TensorData(lowest=np.float32(low), highest=np.float32(high))
            for name, (low, high) in ranges.items()
        }
        signed = QuantType.QInt8
        source = onnx.ModelProto()
        source.CopyFrom(self._folded)  # the quantiser changes what it is given
        try:
            quantiser = QDQQuantizer(
                source,
                per_channel=True,
                reduce_range=False,
                weight_qType=signed,
                activation_qType=signed if self.symmetric else QuantType.QUInt8,
                tensors_range=TensorsData(CalibrationMethod.MinMax, data),
                nodes_to_quantize=[],
                nodes_to_exclude=self._excluded,
                op_types_to_quantize=list(OP_TYPES),
                extra_options={
                    "ActivationSymmetric": self.symmetric,
                    "WeightSymmetric": True,
                    "OpTypesToExcludeOutputQuantization": list(OP_TYPES),
                    "QuantizeBias": False,
                    "TensorQuantOverrides": _overrides(self._scales, signed),
                    # MatMul is per tensor unless its axis is named.
                    "QDQOpTypePerChannelSupportToAxis": {"MatMul": -1},
                },
            )
            with contextlib.redirect_stdout(io.StringIO()):
                quantiser.quantize_model()
            quantiser.model.topological_sort()
        except Exception as error:  # ValueError, RuntimeError, KeyError: whatever it finds
            raise ExportError(
                f"ONNX Runtime's quantiser cannot convert the model: {one_line(error)}"
            ) from error
        model: onnx.ModelProto = quantiser.model.model
        return model

    def with_float(self, model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
        """A copy of what `build` returned, without the Q/DQ pairs of `tensors`.

        What reads them computes in float, with float weights.
        """
        changed = onnx.ModelProto()
        changed.CopyFrom(model)
        _keep_in_float(changed, self._folded, set(tensors))
        return changed

    @staticmethod
    def quantised_tensors(model: onnx.ModelProto) -> list[str]:
        """The activations that have a Q/DQ pair, in the order of the graph."""
        return [node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]


def _overrides(
    scales: dict[str, WeightScales], signed: object
) -> dict[str, list[dict[str, object]]]:
    zero = np.array(0, np.int8)
    return {
        name: [
            {"axis": found.axis, "quant_type": signed, "scale": np.array(scale), "zero_point": zero}
            for scale in found.scales
        ]
        for name, found in scales.items()
    }


def _keep_in_float(model: onnx.ModelProto, folded: onnx.ModelProto, tensors: set[str]) -> None:
    """Takes the Q/DQ pairs of `tensors` out, and the DQ of weights whose data are float then."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    floats = {tensor.name: tensor for tensor in folded.graph.initializer}
    restored: dict[str, onnx.TensorProto] = {}

    def maker(name: str, op_type: str) -> onnx.NodeProto | None:
        node = makers.get(name)
        return node if node is not None and node.op_type == op_type else None

    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        freed = False
        for position, name in enumerate(node.input):
            dequantise = maker(name, "DequantizeLinear")
            quantise = maker(dequantise.input[0], "QuantizeLinear") if dequantise else None
            if quantise is not None and quantise.input[0] in tensors:
                node.input[position] = quantise.input[0]
                freed = True
        if not freed:
            continue
        for position, name in enumerate(node.input):
            dequantise = maker(name, "DequantizeLinear")
            weight = dequantise.input[0].removesuffix("_quantized") if dequantise else ""
            if weight in floats:
                node.input[position] = weight
                restored[weight] = floats[weight]
    present = {tensor.name for tensor in graph.initializer}
    graph.initializer.extend(t for name, t in restored.items() if name not in present)
    keep_reachable(model, LOGITS)
