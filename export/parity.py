"""Whether a guard computes what its model computes: the report that lets a guard be written.

Three ways from frame to logits are compared on frames drawn for the purpose:

- reference: the views in NumPy float64, then the model as it came (its torch module, or the
  original ONNX file);
- kernel: the views of the C++ kernel, then the guard's backbone in ONNX Runtime;
- graph (`frames` guards): the frame straight into the guard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export import guard_graph
from blurvote.export.backbone import LOGITS, Backbone
from blurvote.export.denoiser.loading import DenoiserModel
from blurvote.export.denoiser.reference import noise_estimate, noise_gain, noisy_views
from blurvote.export.denoiser.views_graph import denoised_views_model
from blurvote.export.noise_graph import NOISE as NOISE_OUTPUT
from blurvote.export.noise_graph import SWITCH
from blurvote.export.ort_session import Session
from blurvote.export.parity_frames import draw_frames
from blurvote.export.parity_report import FrameParity, ParityReport
from blurvote.export.reference import build_views
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import ParityError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["FrameParity", "ParityReport", "check_parity"]

NOISE = 0.2  # of the drawn frames that noisy views are compared on, in [0, 1] RGB units

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class _Case:
    """A frame, the level of its noise there and on the backbone's grid, and whether it is noisy."""

    frame: Pixels
    level: float = np.nan
    grid_level: float = np.nan
    noisy: bool = False
    switch: float = 0.0  # the level on the grid from which a `frames` guard is to take it as noisy


@dataclass(frozen=True)
class _Answers:
    """Views `(V, 3, h, w)`, logits `(V, C)` and the noise level of one frame, one way."""

    views: NDArray[Any]
    logits: NDArray[Any]
    level: float = np.nan


def check_parity(
    backbone: Backbone,
    guard: onnx.ModelProto,
    metadata: GuardMetadata,
    denoiser: DenoiserModel | None = None,
) -> ParityReport:
    """Compares the three ways.

    Args:
        denoiser: of a defence that has views of noisy frames, which are then compared too, on the
            same frames with noise.

    Raises:
        ParityError: they differ by more than the tolerances.
    """
    defense = metadata.defense
    used = list(defense.views)
    kernel = _Kernel(guard, metadata, denoiser)
    graph = _Graph(guard, metadata) if metadata.kind == "frames" else None

    cases, references, kernels, graphs = [], [], [], []
    for case in _cases(metadata):
        exact = build_views(defense, case.frame)
        if case.noisy:
            assert denoiser is not None
            exact = noisy_views(defense, denoiser.reference, exact, case.grid_level, used)
        else:
            exact = exact[used]
        cases.append(case)
        logits = backbone.reference(exact.astype(np.float32))
        references.append(_Answers(exact, logits))
        kernels.append(kernel(case))
        graphs.append(graph(case) if graph else None)

    everything = np.concatenate([answers.logits for answers in references])
    span = max(float(np.ptp(everything)), 1e-6)
    report = ParityReport(
        tuple(
            _compare(case, reference, kernel, whole, span, backbone.tolerance)
            for case, reference, kernel, whole in zip(
                cases, references, kernels, graphs, strict=True
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


def _cases(metadata: GuardMetadata) -> Iterator[_Case]:
    """Drawn frames, and where noisy ones have views of their own, the same ones with noise."""
    defense = metadata.defense
    for seed, frame in enumerate(draw_frames(defense, metadata.frame_size)):
        yield _case(metadata, frame, None)
        if defense.adaptive:
            yield _case(metadata, add_noise(frame, NOISE, np.random.default_rng(seed)), NOISE)


def _case(metadata: GuardMetadata, frame: Pixels, noise: float | None) -> _Case:
    """A `frames` guard finds the level out for itself; a `views` guard is told one.

    Frames with noise count as noisy, whatever the switch: a resize may leave little of it.
    """
    defense = metadata.defense
    if not defense.adaptive:
        return _Case(frame)
    gain = noise_gain(defense, *frame.shape[:2])
    if metadata.kind == "views":
        return _Case(frame) if noise is None else _Case(frame, noise, noise * gain, noisy=True)
    level, switch = noise_estimate(defense, frame), 0.0 if noise else defense.noise_switch[1]
    return _Case(frame, level, level * gain, level * gain >= switch, switch)


class _Kernel:
    """The C++ kernel's views, and the guard's backbone in ONNX Runtime."""

    def __init__(
        self, guard: onnx.ModelProto, metadata: GuardMetadata, denoiser: DenoiserModel | None
    ) -> None:
        self._defense = metadata.defense
        self._builder = ViewBuilder(metadata.defense)
        self._backbone = Session(guard_graph.backbone_of(guard), "the guard's backbone")
        self._denoiser: Session | None = None
        if denoiser is not None:
            entry = metadata.denoiser
            proto = (
                onnx.load_model_from_string(entry.onnx)
                if entry is not None and entry.onnx
                else denoised_views_model(denoiser, metadata.defense)
            )
            self._denoiser = Session(proto, "the guard's denoiser")

    def __call__(self, case: _Case) -> _Answers:
        defense = self._defense
        views = self._builder.build(case.frame)
        if case.noisy:
            assert self._denoiser is not None
            level = np.full((1, *defense.crop), case.grid_level, np.float32)
            (denoised,) = self._denoiser.run(np.concatenate([views[0], level])[None])
            kinds = [defense.kinds(noisy=True)[index] for index in defense.views]
            views = np.stack(
                [
                    denoised[0, defense.denoised_kinds.index(kind)]
                    if kind.denoised
                    else views[defense.passes.index(kind.passes)]
                    for kind in kinds
                ]
            )
        else:
            views = views[list(defense.views)]
        (logits,) = self._backbone.run(views, LOGITS)
        return _Answers(views, logits)


class _Graph:
    """A `frames` guard, and its views, which it keeps inside."""

    def __init__(self, guard: onnx.ModelProto, metadata: GuardMetadata) -> None:
        views = guard_graph.preprocessing_model(guard, metadata.defense)
        self._adaptive = metadata.defense.adaptive
        if self._adaptive:
            views, guard = (
                guard_graph.with_switch_input(views),
                guard_graph.with_switch_input(guard),
            )
        self._views = Session(views, "the guard's preprocessing")
        self._guard = Session(guard, "the guard")

    def __call__(self, case: _Case) -> _Answers:
        feeds: dict[str, NDArray[Any]] = {self._guard.input_name: case.frame[None]}
        if not self._adaptive:
            (views,), (logits,) = self._views.feed(feeds), self._guard.feed(feeds, LOGITS)
            return _Answers(views, logits[0])
        feeds[SWITCH] = np.array(case.switch, np.float32)
        (views,), (logits, level) = (
            self._views.feed(feeds),
            self._guard.feed(feeds, LOGITS, NOISE_OUTPUT),
        )
        return _Answers(views, logits[0], float(level[0]))


def _compare(
    case: _Case,
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
        height=case.frame.shape[0],
        width=case.frame.shape[1],
        kernel_views=apart(kernel.views, reference.views),
        kernel_logits=apart(kernel.logits, reference.logits) / span,
        graph_views=None if graph is None else apart(graph.views, reference.views),
        graph_logits=None if graph is None else apart(graph.logits, reference.logits) / span,
        compared=int(clear.sum()),
        differing=int(differing.sum()),
        noise=case.grid_level if case.noisy else None,
        graph_noise=None if graph is None else _levels_apart(graph.level, case.level),
    )


def _levels_apart(found: float, expected: float) -> float | None:
    """None where neither has a level; infinite where one has."""
    if np.isnan(found) and np.isnan(expected):
        return None
    return abs(found - expected) if found == found and expected == expected else np.inf
