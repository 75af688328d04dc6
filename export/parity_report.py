"""The parity report: how far apart the ways from frame to logits are, and what is too far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["FrameParity", "ParityReport"]

VIEW_TOLERANCE_KERNEL = 1e-5  # normalised units; the kernel sums in float32
VIEW_TOLERANCE_GRAPH = 1e-4  # the same, for graphs: runtimes may choose how MatMul sums
VIEW_TOLERANCE_DENOISED = 1e-4  # the same, after a denoiser, either way: it computes in float32
LEVEL_TOLERANCE = 1e-6  # of a noise level; sums of integers, then a few roundings of float32


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
        noise: noise level on the backbone's grid of a frame judged by its noisy views; None where
            its quiet ones judge.
        graph_noise: difference of the graph's noise level from the reference; None where the guard
            has none of its own.
    """

    height: int
    width: int
    kernel_views: float
    kernel_logits: float
    graph_views: float | None
    graph_logits: float | None
    compared: int
    differing: int
    noise: float | None = None
    graph_noise: float | None = None


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
            quiet = frame.noise is None
            kernel_limit = VIEW_TOLERANCE_KERNEL if quiet else VIEW_TOLERANCE_DENOISED
            graph_limit = VIEW_TOLERANCE_GRAPH if quiet else VIEW_TOLERANCE_DENOISED
            limits = (
                ("the kernel's views", frame.kernel_views, kernel_limit),
                ("the graph's views", frame.graph_views, graph_limit),
                ("the graph's noise levels", frame.graph_noise, LEVEL_TOLERANCE),
                ("logits from the kernel's views", frame.kernel_logits, self.logit_tolerance),
                ("the graph's logits", frame.graph_logits, self.logit_tolerance),
            )
            size = f"on a {'' if quiet else 'noisy '}frame of {frame.width}x{frame.height} px"
            found += [
                f"{size} {what} are off by {value:.2g} (at most {limit:g})"
                for what, value, limit in limits
                if value is not None and not value <= limit
            ]
            if frame.differing:
                found.append(f"{size} {frame.differing} of {frame.compared} labels differ")
        return found

    def with_noisy(self, later: ParityReport) -> ParityReport:
        """This report with the noisy frames of a later one in place of its own."""
        kept = [frame for frame in self.frames if frame.noise is None]
        noisy = [frame for frame in later.frames if frame.noise is not None]
        return ParityReport((*kept, *noisy), max(self.logit_tolerance, later.logit_tolerance))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the guard's metadata and for JSON."""
        quiet = [frame for frame in self.frames if frame.noise is None]
        noisy = [frame for frame in self.frames if frame.noise is not None]
        tolerance = {"kernel": VIEW_TOLERANCE_KERNEL, "graph": VIEW_TOLERANCE_GRAPH}
        if noisy:
            tolerance["denoised"] = VIEW_TOLERANCE_DENOISED
        return {
            "view_tolerance": tolerance,
            "logit_tolerance": self.logit_tolerance,
            "worst": _worst(quiet),
            **({"worst_noisy": _worst(noisy)} if noisy else {}),
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
            f"{'frame':>15}  {'views: kernel':>13}  {'graph':>8}  {'logits: kernel':>14}  "
            f"{'graph':>8}  labels"
        ]
        for frame in self.frames:
            size = f"{frame.width}x{frame.height}" + ("" if frame.noise is None else " ~")
            agreeing = frame.compared - frame.differing
            lines.append(
                f"{size:>15}  {_short(frame.kernel_views):>13}  {_short(frame.graph_views):>8}  "
                f"{_short(frame.kernel_logits):>14}  {_short(frame.graph_logits):>8}  "
                f"{agreeing}/{frame.compared} agree"
            )
        graph = any(frame.graph_views is not None for frame in self.frames)
        graph_limit = _short(VIEW_TOLERANCE_GRAPH) if graph else "-"
        lines.append(
            f"{'at most':>15}  {_short(VIEW_TOLERANCE_KERNEL):>13}  {graph_limit:>8}  "
            f"{_short(self.logit_tolerance):>14}  "
            f"{_short(self.logit_tolerance) if graph else '-':>8}  all"
        )
        if any(frame.noise is not None for frame in self.frames):
            lines.append(
                f"{'~':>15}  noisy frames, by their own views: at most "
                f"{_short(VIEW_TOLERANCE_DENOISED)} there"
            )
        return "\n".join(lines)


def _worst(frames: list[FrameParity]) -> dict[str, float | None]:
    found = {}
    for name in ("kernel_views", "graph_views", "kernel_logits", "graph_logits"):
        values = [getattr(frame, name) for frame in frames]
        found[name] = max((value for value in values if value is not None), default=None)
    return found


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.1e}"
