"""Whether a guard computes what its model computes: the report that lets a guard be written.

Three ways from frame to logits are compared on frames drawn for the purpose:

- reference: the views in NumPy float64, then the model as it came (its torch module, or the
  original ONNX file);
- kernel: the views of the C++ kernel, then the guard's backbone in ONNX Runtime;
- graph (`frames` guards): the frame straight into the guard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export import guard_graph
from blurvote.export.backbone import LOGITS, Backbone
from blurvote.export.ort_session import Session
from blurvote.export.parity_frames import draw_frames
from blurvote.export.reference import build_views
from blurvote.runtime.errors import ParityError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["FrameParity", "ParityReport", "check_parity"]

VIEW_TOLERANCE_KERNEL = 1e-5  # normalised units; the kernel sums in float32
VIEW_TOLERANCE_GRAPH = 1e-4  # the same, for graphs: runtimes may choose how MatMul sums


@dataclass(frozen=True)
class FrameParity:
    """How far apart the ways are on one frame.

    Attributes:
        height, width: of the frame, in pixels.
        kernel_views, graph_views: largest difference of a view's value from the reference, in
            normalised units; None where the guard has no views of its own.
        kernel_logits, graph_logits: largest difference of a logit, as a part of the range of the
            reference's logits over all frames.
        compared: views whose label was compared: those whose two largest logits in the reference
            are further apart than the tolerance.
        differing: how many of those got another label in any way.
    """

    height: int
    width: int
    kernel_views: float
    kernel_logits: float
    graph_views: float | None
    graph_logits: float | None
    compared: int
    differing: int


@dataclass(frozen=True)
class ParityReport:
    """The comparison on all frames.

    Attributes:
        frames: one entry per frame.
        logit_tolerance: what `kernel_logits` and `graph_logits` may be at most.
    """

    frames: tuple[FrameParity, ...]
    logit_tolerance: float

    def failures(self) -> list[str]:
        """What is out of tolerance, in sentences; empty when the guard may be written."""
        found = []
        for frame in self.frames:
            limits = (
                ("the kernel's views", frame.kernel_views, VIEW_TOLERANCE_KERNEL),
                ("the graph's views", frame.graph_views, VIEW_TOLERANCE_GRAPH),
                ("logits from the kernel's views", frame.kernel_logits, self.logit_tolerance),
                ("the graph's logits", frame.graph_logits, self.logit_tolerance),
            )
            size = f"on a frame of {frame.width}x{frame.height} px"
            found += [
                f"{size} {what} are off by {value:.2g} (at most {limit:g})"
                for what, value, limit in limits
                if value is not None and not value <= limit
            ]
            if frame.differing:
                found.append(f"{size} {frame.differing} of {frame.compared} labels differ")
        return found

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the guard's metadata and for JSON."""
        worst = {
            name: max(
                (getattr(frame, name) for frame in self.frames if getattr(frame, name) is not None),
                default=None,
            )
            for name in ("kernel_views", "graph_views", "kernel_logits", "graph_logits")
        }
        return {
            "view_tolerance": {"kernel": VIEW_TOLERANCE_KERNEL, "graph": VIEW_TOLERANCE_GRAPH},
            "logit_tolerance": self.logit_tolerance,
            "worst": worst,
            "labels_compared": sum(frame.compared for frame in self.frames),
            "labels_differing": sum(frame.differing for frame in self.frames),
            "frames": [asdict(frame) for frame in self.frames],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ParityReport:
        """The report that `to_dict` described; one without frames where a guard holds none."""
        frames = tuple(FrameParity(**frame) for frame in values.get("frames", ()))
        return cls(frames, float(values.get("logit_tolerance", 0)))

    def table(self) -> str:
        """The report for people: a line per frame."""
        lines = [
            f"{'frame':>11}  {'views: kernel':>13}  {'graph':>8}  {'logits: kernel':>14}  "
            f"{'graph':>8}  labels"
        ]
        for frame in self.frames:
            size = f"{frame.width}x{frame.height}"
            agreeing = frame.compared - frame.differing
            lines.append(
                f"{size:>11}  {_short(frame.kernel_views):>13}  {_short(frame.graph_views):>8}  "
                f"{_short(frame.kernel_logits):>14}  {_short(frame.graph_logits):>8}  "
                f"{agreeing}/{frame.compared} agree"
            )
        graph = any(frame.graph_views is not None for frame in self.frames)
        graph_limit = _short(VIEW_TOLERANCE_GRAPH) if graph else "-"
        lines.append(
            f"{'at most':>11}  {_short(VIEW_TOLERANCE_KERNEL):>13}  {graph_limit:>8}  "
            f"{_short(self.logit_tolerance):>14}  "
            f"{_short(self.logit_tolerance) if graph else '-':>8}  all"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Answers:
    """Views `(V, 3, h, w)` and logits `(V, C)` of one frame, one way."""

    views: NDArray[Any]
    logits: NDArray[Any]


def check_parity(
    backbone: Backbone, guard: onnx.ModelProto, metadata: GuardMetadata
) -> ParityReport:
    """Compares the three ways.

    Raises:
        ParityError: they differ by more than the tolerances.
    """
    defense = metadata.defense
    frames = draw_frames(defense, metadata.frame_size)
    used = slice(defense.views.start, defense.views.stop)
    builder = ViewBuilder(defense)
    session = Session(guard_graph.backbone_of(guard), "the guard's backbone")
    graph = _Graph(guard, metadata) if metadata.kind == "frames" else None

    references, kernels, graphs = [], [], []
    for frame in frames:
        exact = build_views(defense, frame)[used]
        references.append(_Answers(exact, backbone.reference(exact.astype(np.float32))))
        views = builder.build(frame)[used]
        (logits,) = session.run(views, LOGITS)
        kernels.append(_Answers(views, logits))
        graphs.append(graph(frame) if graph else None)

    everything = np.concatenate([answers.logits for answers in references])
    span = max(float(np.ptp(everything)), 1e-6)
    report = ParityReport(
        tuple(
            _compare(frame.shape, reference, kernel, whole, span, backbone.tolerance)
            for frame, reference, kernel, whole in zip(
                frames, references, kernels, graphs, strict=True
            )
        ),
        backbone.tolerance,
    )
    failures = report.failures()
    if failures:
        more = f" (and {len(failures) - 3} more)" if len(failures) > 3 else ""
        raise ParityError(
            "the guard would not compute what its model computes, so nothing was written: "
            + "; ".join(failures[:3])
            + more
        )
    return report


class _Graph:
    """A `frames` guard, and its views, which it keeps inside."""

    def __init__(self, guard: onnx.ModelProto, metadata: GuardMetadata) -> None:
        views = guard_graph.preprocessing_model(guard, metadata.defense)
        self._views = Session(views, "the guard's preprocessing")
        self._guard = Session(guard, "the guard")

    def __call__(self, frame: NDArray[np.uint8]) -> _Answers:
        (views,) = self._views.run(frame[None])
        (logits,) = self._guard.run(frame[None], LOGITS)
        return _Answers(views, logits[0])


def _compare(
    shape: tuple[int, ...],
    reference: _Answers,
    kernel: _Answers,
    graph: _Answers | None,
    span: float,
    tolerance: float,
) -> FrameParity:
    ordered = np.sort(reference.logits, axis=1)
    clear = ordered[:, -1] - ordered[:, -2] > tolerance * span
    labels = reference.logits.argmax(axis=1)
    ways = [kernel] if graph is None else [kernel, graph]
    differing = np.zeros(len(labels), bool)
    for way in ways:
        differing |= clear & (way.logits.argmax(axis=1) != labels)

    def apart(a: NDArray[Any], b: NDArray[Any]) -> float:
        return float(np.abs(a.astype(np.float64) - b).max())

    return FrameParity(
        height=shape[0],
        width=shape[1],
        kernel_views=apart(kernel.views, reference.views),
        kernel_logits=apart(kernel.logits, reference.logits) / span,
        graph_views=None if graph is None else apart(graph.views, reference.views),
        graph_logits=None if graph is None else apart(graph.logits, reference.logits) / span,
        compared=int(clear.sum()),
        differing=int(differing.sum()),
    )


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
