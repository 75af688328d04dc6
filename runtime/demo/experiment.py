"""The blog's experiment on the drawn clip: undefended and guarded, at each level of noise."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.demo import guard_path
from blurvote.runtime.demo.scenes import ClipFrame, add_noise
from blurvote.runtime.guard import Guard
from blurvote.runtime.undefended import Undefended

__all__ = ["SIGMAS", "Level", "Row", "latencies", "run_level"]

SIGMAS = (0.0, 0.125, 0.25, 0.375)
_NOISE_STREAM = 3


@dataclass(frozen=True)
class Row:
    """One row of the blog's table; shares in [0, 1].

    Attributes:
        sigma: standard deviation of the noise, in units of the full pixel range.
        clean, single, double: accuracy of each view alone; clean is the undefended classifier.
        majority_accepted: accuracy of the vote on the frames it accepts.
        majority_all: right verdicts over all frames.
        rejected: share of frames without a majority.
    """

    sigma: float
    clean: float
    single: float
    double: float
    majority_accepted: float
    majority_all: float
    rejected: float


@dataclass(frozen=True, eq=False)
class Level:
    """What was said about every frame of the clip at one level of noise.

    Attributes:
        sigma: the level.
        truth: `(N,)` the drawn labels.
        votes: `(N, 3)` labels of the clean, single-blur and double-blur view.
        verdicts: `(N,)` the guard's labels, -1 where it rejects.
    """

    sigma: float
    truth: NDArray[np.int64]
    votes: NDArray[np.int64]
    verdicts: NDArray[np.int64]

    def row(self) -> Row:
        """The level's row of the table."""
        right = self.verdicts == self.truth
        accepted = self.verdicts >= 0
        clean, single, double = (self.votes == self.truth[:, None]).mean(axis=0).tolist()
        return Row(
            self.sigma,
            clean,
            single,
            double,
            float(right[accepted].mean()) if accepted.any() else float("nan"),
            float(right.mean()),
            float(1 - accepted.mean()),
        )


def noisy(frame: ClipFrame, number: int, sigma: float) -> NDArray[np.uint8]:
    """Frame `number` of the clip with noise of `sigma`; always the same noise."""
    if sigma == 0:
        return frame.pixels
    random = np.random.default_rng([_NOISE_STREAM, number, round(sigma * 1000)])
    return add_noise(frame.pixels, sigma, random)


def run_level(guard: Guard, clip: Sequence[ClipFrame], sigma: float) -> Level:
    """Classifies the whole clip at one level of noise; `guard` must run batched."""
    verdicts = [guard.classify(noisy(frame, n, sigma)) for n, frame in enumerate(clip)]
    return Level(
        sigma,
        np.array([frame.label for frame in clip]),
        np.array([verdict.view_labels for verdict in verdicts], np.int64),
        np.array([verdict.label for verdict in verdicts]),
    )


def latencies(clip: Sequence[ClipFrame], frames: int = 120) -> dict[str, float]:
    """Median milliseconds from frame to answer, the three ways interleaved frame by frame."""
    path = guard_path("views")
    undefended = Undefended(path)
    ways: dict[str, Callable[[NDArray[np.uint8]], object]] = {
        "undefended": undefended.classify,
        "guarded, cascade": Guard(path, "cpu", "cascade").classify,
        "guarded, batched": Guard(path, "cpu", "batched").classify,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    step = max(1, len(clip) // frames)
    for frame in clip[::step]:
        for name, classify in ways.items():
            classify(
                frame.pixels
            )  # not counted: it pays for what the way before left in the caches
            started = time.perf_counter()
            classify(frame.pixels)
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: float(np.median(values)) for name, values in times.items()}
