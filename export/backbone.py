"""Any ONNX classifier to the one form that guards are built from.

Postcondition of `normalise`: one input `views`, float32 `(B, 3, h, w)`, R, G, B, normalised; one
output `logits`, float32 `(B, C)`; every other name starts with `backbone/` or `adapt/`; any batch
gives what its views give one by one, which is run and compared before anything is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from blurvote.export.classifier import Classifier, ModelOptions, Reference
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.graph_passes import (
    add_prefix,
    deduplicate_initializers,
    inline_functions,
    keep_reachable,
    make_batch_dynamic,
    rename_value,
    strip_notes,
)
from blurvote.export.interface import Interface, read_interface
from blurvote.export.ort_session import Session
from blurvote.runtime.errors import ExportError

__all__ = ["ADAPT", "LOGITS", "PREFIX", "VIEWS", "Backbone", "logit_tolerance", "normalise"]

PREFIX, ADAPT = "backbone/", "adapt/"
VIEWS, LOGITS = "views", "logits"
PROBABILITY_FLOOR = 1e-37  # added before the logarithm; the smallest normal float32 is 1.2e-38

_QUANTISED = {
    "QuantizeLinear",
    "DynamicQuantizeLinear",
    "QLinearConv",
    "ConvInteger",
    "MatMulInteger",
    "QLinearMatMul",
}


@dataclass(frozen=True)
class Backbone:
    """A classifier in the form that guards are built from.

    Attributes:
        proto: see this module's postcondition.
        crop: `(height, width)` of its views in pixels.
        classes: number of classes.
        tolerance: largest difference of logits that counts as equal, as a part of their range.
        reference: the model as it came, for the parity report.
        adaptations: what was changed, for people.
    """

    proto: onnx.ModelProto
    crop: tuple[int, int]
    classes: int
    tolerance: float
    reference: Reference
    adaptations: tuple[str, ...]


@dataclass(frozen=True)
class _Trial:
    """What the model as it came makes of some random views.

    Attributes:
        views: `(3, 3, h, w)` float32.
        logits: `(3, C)` float64, each view run on its own.
        probabilities: whether the model's own output was probabilities.
        trailing: whether its output was `(N, C, 1, 1)`.
    """

    views: NDArray[np.float32]
    logits: NDArray[np.float64]
    probabilities: bool
    trailing: bool


def normalise(
    classifier: Classifier, options: ModelOptions, crop: tuple[int, int] | None
) -> Backbone:
    """The classifier as a backbone.

    Raises:
        ExportError: its input, output or batch cannot be brought into that form.
    """
    origin = classifier.origin
    try:
        onnx.checker.check_model(classifier.proto)
    except onnx.checker.ValidationError as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(f"{origin} is not a valid ONNX model: {reason}") from error
    interface = read_interface(classifier.proto, origin, options, crop)
    tolerance = logit_tolerance(classifier.proto)
    original = _Original(classifier.proto, origin, interface, options)
    trial = original.try_out()
    proto = _rewrite(classifier.proto, interface, options, trial)
    proto.graph.output[0].CopyFrom(
        helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["B", trial.logits.shape[1]])
    )
    _check_batches(proto, origin, interface, trial, tolerance)
    reference: Reference = classifier.reference or original.logits
    if classifier.reference is not None and trial.probabilities:
        reference = _log_of(classifier.reference)
    return Backbone(
        proto,
        interface.crop,
        trial.logits.shape[1],
        tolerance,
        reference,
        _adaptations(interface, options, trial.probabilities),
    )


def logit_tolerance(proto: onnx.ModelProto) -> float:
    """Part of the logits' range within which two computations of `proto` count as equal.

    1e-3 for arithmetic in float32. A view that differs in its last bit can move a quantised
    activation by a whole step and a float16 one by 1/2048 of itself, so graphs that compute in
    those get 5e-2 and 1e-2. Weights that are only stored in them do not count.
    """
    if any(node.op_type in _QUANTISED for node in proto.graph.node):
        return 5e-2
    half = TensorProto.FLOAT16
    if any(value.type.tensor_type.elem_type == half for value in proto.graph.input) or any(
        attribute.name == "to" and attribute.i == half
        for node in proto.graph.node
        if node.op_type == "Cast"
        for attribute in node.attribute
    ):
        return 1e-2
    return 1e-3


class _Original:
    """The model as it came, called through views in the backbone's form; in NumPy, float64."""

    def __init__(
        self, proto: onnx.ModelProto, origin: str, interface: Interface, options: ModelOptions
    ) -> None:
        self._session = Session(proto, origin)
        self._origin, self._interface, self._options = origin, interface, options
        self._probabilities = options.output == "probabilities"
        self._trailing = False

    def try_out(self) -> _Trial:
        """Runs random views, and settles whether the outputs are probabilities."""
        height, width = self._interface.crop
        generator = np.random.default_rng(0)
        views = generator.standard_normal((3, 3, height, width)).astype(np.float32)
        scores = self._scores(views)
        sums_to_one = bool(np.all(scores >= 0) and np.allclose(scores.sum(axis=1), 1, atol=1e-3))
        if self._options.output == "auto":
            self._probabilities = sums_to_one
        elif self._probabilities and not sums_to_one:
            raise ExportError(
                f"{self._origin} does not give probabilities: on random input its outputs run from "
                f"{scores.min():.3g} to {scores.max():.3g} and sum to {scores.sum(axis=1)[0]:.3g}. "
                "Use --output logits"
            )
        return _Trial(views, self.logits(views), self._probabilities, self._trailing)

    def logits(self, views: NDArray[np.float32]) -> NDArray[np.float64]:
        scores = self._scores(views)
        return np.log(scores + PROBABILITY_FLOOR) if self._probabilities else scores

    def _scores(self, views: NDArray[np.float32]) -> NDArray[np.float64]:
        """`(B, C)`: each view on its own, repeated where the model's batch is fixed."""
        interface = self._interface
        if self._options.channels == "bgr":
            views = views[:, ::-1]
        if interface.layout == "nhwc":
            views = views.transpose(0, 2, 3, 1)
        cast = views.astype(helper.tensor_dtype_to_np_dtype(interface.element))
        rows = []
        for view in cast:
            batch = np.ascontiguousarray(np.stack([view] * (interface.batch or 1)))
            (scores,) = self._session.run(batch, interface.output_name)
            rows.append(self._row(scores, len(batch)))
        return np.stack(rows)

    def _row(self, scores: NDArray[Any], batch: int) -> NDArray[np.float64]:
        if scores.ndim == 4 and scores.shape[2:] == (1, 1):
            scores, self._trailing = scores[:, :, 0, 0], True
        if scores.ndim != 2 or len(scores) != batch or scores.shape[1] < 2:
            raise ExportError(
                f"{self._origin} gives an output of shape {scores.shape} for {batch} picture(s); "
                "expected the scores of a classifier: (N, C) with C >= 2"
            )
        return np.asarray(scores[0], np.float64)


def _log_of(reference: Reference) -> Reference:
    return lambda views: np.log(reference(views) + PROBABILITY_FLOOR)


def _rewrite(
    source: onnx.ModelProto, interface: Interface, options: ModelOptions, trial: _Trial
) -> onnx.ModelProto:
    """A rewritten copy; the first dimension of its output is still what the model stated."""
    proto = onnx.ModelProto()
    proto.CopyFrom(source)
    proto = inline_functions(proto)
    strip_notes(proto)
    keep_reachable(proto, interface.output_name)
    make_batch_dynamic(proto)
    proto = add_prefix(proto, PREFIX)
    deduplicate_initializers(proto)

    before, after = GraphBuilder(ADAPT), GraphBuilder(ADAPT)
    value = VIEWS
    if options.channels == "bgr":
        order = before.constant("bgr_order", [2, 1, 0])
        value = before.op("Gather", [value, order], "views_bgr", axis=1)
    if interface.layout == "nhwc":
        value = before.op("Transpose", [value], "views_channels_last", perm=[0, 2, 3, 1])
    if interface.element != TensorProto.FLOAT:
        value = before.op("Cast", [value], "views_cast", to=interface.element)
    rename_value(proto, PREFIX + interface.input_name, value)

    value = PREFIX + interface.output_name
    if interface.output_element != TensorProto.FLOAT:
        value = after.op("Cast", [value], "scores_cast", to=TensorProto.FLOAT)
    if trial.trailing:
        value = after.op("Flatten", [value], "scores", axis=1)
    if trial.probabilities:
        floor = after.constant("probability_floor", np.array(PROBABILITY_FLOOR, np.float32))
        above_zero = after.op("Add", [value, floor], "probabilities_above_zero")
        after.op("Log", [above_zero], "log_probabilities")
    if after.nodes:
        after.nodes[-1].output[0] = LOGITS
    else:
        rename_value(proto, value, LOGITS)

    graph = proto.graph
    nodes = [*before.nodes, *graph.node, *after.nodes]
    del graph.node[:]
    graph.node.extend(nodes)
    graph.initializer.extend([*before.initializers, *after.initializers])
    del graph.input[:]
    shape: list[int | str | None] = ["B", 3, *interface.crop]
    graph.input.append(helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, shape))
    graph.name = "backbone"
    return proto


def _check_batches(
    proto: onnx.ModelProto, origin: str, interface: Interface, trial: _Trial, tolerance: float
) -> None:
    """Refuses a backbone whose batches are not what their views are one by one."""
    batch_is = f"has a batch fixed to {interface.batch}" if interface.batch else "is dynamic"
    advice = (
        f"{origin} {batch_is} in its batch dimension, but cannot run several views at once"
        if not interface.batch
        else f"{origin} {batch_is}, which cannot be made dynamic"
    )
    limit = tolerance * max(float(np.ptp(trial.logits)), 1e-6)
    try:
        session = Session(proto, origin)
        for count in (1, 2, 3):
            (logits,) = session.run(trial.views[:count], LOGITS)
            if logits.shape != (count, trial.logits.shape[1]):
                raise ExportError(f"{count} views give an output of shape {logits.shape}")
            error = float(np.abs(logits - trial.logits[:count]).max())
            if not error <= limit:
                raise ExportError(
                    f"in a batch of {count}, logits differ by {error:.2g} from single runs"
                )
    except ExportError as error:
        raise ExportError(
            f"{advice}: {error}. Export the model with a dynamic batch dimension"
        ) from error


def _adaptations(
    interface: Interface, options: ModelOptions, probabilities: bool
) -> tuple[str, ...]:
    """Sentences on what `_rewrite` did."""
    steps = []
    if interface.batch:
        steps.append(f"batch fixed to {interface.batch} made dynamic")
    if options.channels == "bgr":
        steps.append("channels reversed to the model's B, G, R")
    if interface.layout == "nhwc":
        steps.append("views transposed to the model's channels-last layout")
    if interface.element != TensorProto.FLOAT:
        name = TensorProto.DataType.Name(interface.element).lower()
        steps.append(f"views cast to the model's {name}")
    if probabilities:
        steps.append("probabilities turned into logits by their logarithm")
    return tuple(steps)
