"""What a lower precision costs and gains: answers, noise, latency, size."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture
from blurvote.export.ort_session import Session
from blurvote.export.precision.noise import SIGMAS, Answers, NoiseRow, noise_row
from blurvote.export.precision.samples import Samples
from blurvote.runtime.defense import Defense
from blurvote.runtime.machine import cpu_name, usable_cores

__all__ = ["Agreement", "Cost", "Latency", "measure_agreement", "measure_cost", "plain"]

ROUNDS = 15  # of timing, both precisions in turn


@dataclass(frozen=True)
class Agreement:
    """Views of one kind, without noise, and how many get fp32's label."""

    view: str
    agreeing: int
    views: int


@dataclass(frozen=True)
class Latency:
    """Median milliseconds of one inference in ONNX Runtime here; batches of 1 and of all views."""

    views: int
    fp32_ms: float
    low_ms: float


@dataclass(frozen=True)
class Cost:
    """The report of one conversion.

    Attributes:
        agreement: per view, on pictures or (without any) on drawn frames.
        noise: a row per strength of noise; empty without pictures.
        latency: see `Latency`.
        machine: where the latency was measured.
        threads: of one inference.
        bytes_fp32, bytes_low: of the guard files.
    """

    agreement: tuple[Agreement, ...]
    noise: tuple[NoiseRow, ...]
    latency: tuple[Latency, ...]
    machine: str
    threads: int
    bytes_fp32: int
    bytes_low: int

    @property
    def loss(self) -> float:
        """Percentage points of clean accuracy lost.

        Without truth, of clean verdicts lost: those that contradict fp32's, and rejections that
        fp32 has not. On drawn frames, which have neither: of views whose label changes.
        """
        if not self.noise:
            changed = [1 - entry.agreeing / entry.views for entry in self.agreement]
            return 100 * max(changed)
        clean = self.noise[0]
        if clean.first_view_gap is None:
            return 100 * (clean.contradicted + max(clean.rejected_gap.value, 0.0))
        return -100 * clean.first_view_gap.value


def measure_agreement(
    full: onnx.ModelProto,
    low: onnx.ModelProto,
    batches: Sequence[NDArray[np.float32]],
    defense: Defense,
) -> tuple[Agreement, ...]:
    """The labels of both on `(V, 3, h, w)` batches, compared view by view."""
    sessions = Session(full, "the fp32 backbone"), Session(low, "the converted backbone")
    labels = [
        np.stack([session.run(batch, LOGITS)[0].argmax(axis=1) for batch in batches])
        for session in sessions
    ]
    return _agreement(labels[0], labels[1], defense)


def measure_cost(
    full: onnx.ModelProto,
    low: onnx.ModelProto,
    samples: Samples | None,
    pictures: Sequence[Picture],
    drawn: Sequence[NDArray[np.float32]],
    defense: Defense,
    sizes: tuple[int, int],
    seed: int,
    say: Callable[[str], None],
) -> Cost:
    """Runs both backbones.

    Args:
        full, low: the backbone in fp32 and in the lower precision.
        samples, pictures: pictures to report on; None and empty where there are none.
        drawn: `(V, 3, h, w)` views of drawn frames, which serve without pictures.
        sizes: bytes of both guards.
    """
    rows: list[NoiseRow] = []
    if samples is None:
        agreement = measure_agreement(full, low, drawn, defense)
    else:
        sessions = Session(full, "the fp32 backbone"), Session(low, "the converted backbone")
        for sigma in SIGMAS:
            answers = _answers(sessions, samples, pictures, defense, sigma, say)
            truth = [picture.truth for picture in pictures]
            rows.append(noise_row(sigma, truth, *answers, seed))
            if not sigma:
                agreement = _agreement(answers[0].view_labels, answers[1].view_labels, defense)
    return Cost(
        agreement,
        tuple(rows),
        _latency(full, low, drawn[0], say),
        cpu_name(),
        usable_cores(),
        *sizes,
    )


def _answers(
    sessions: tuple[Session, Session],
    samples: Samples,
    pictures: Sequence[Picture],
    defense: Defense,
    sigma: float,
    say: Callable[[str], None],
) -> tuple[Answers, Answers]:
    logits: tuple[list[NDArray[np.float32]], ...] = ([], [])
    for number, views in enumerate(samples.views(pictures, sigma), start=1):
        for session, kept in zip(sessions, logits, strict=True):
            kept.append(session.run(views, LOGITS)[0])
        if number % 50 == 0 or number == len(pictures):
            say(f"noise {sigma:g}: {number} of {len(pictures)} pictures")
    full, low = (Answers.of(np.stack(each), defense) for each in logits)
    return full, low


def _agreement(
    full: NDArray[np.int64], low: NDArray[np.int64], defense: Defense
) -> tuple[Agreement, ...]:
    """Of `(N, V)` labels each."""
    same = (full == low).sum(axis=0)
    return tuple(
        Agreement(defense.view_name(view), int(count), len(full))
        for view, count in zip(defense.views, same, strict=True)
    )


def _latency(
    full: onnx.ModelProto,
    low: onnx.ModelProto,
    views: NDArray[np.float32],
    say: Callable[[str], None],
) -> tuple[Latency, ...]:
    say("timing both")
    sessions = Session(full, "the fp32 backbone"), Session(low, "the converted backbone")
    found = []
    for count in sorted({1, len(views)}):
        batch = np.ascontiguousarray(views[:count])
        times: tuple[list[float], ...] = ([], [])
        for turn in range(ROUNDS + 2):
            for session, kept in zip(sessions, times, strict=True):
                session.run(batch, LOGITS)  # the other one's data have left the caches
                started = time.perf_counter()
                session.run(batch, LOGITS)
                if turn >= 2:
                    kept.append((time.perf_counter() - started) * 1e3)
        found.append(Latency(count, float(np.median(times[0])), float(np.median(times[1]))))
    return tuple(found)


def plain(value: Any) -> Any:
    """As JSON gives it back: tuples as lists, six decimals, what is not a number as None."""
    if isinstance(value, Mapping):
        return {name: plain(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value
