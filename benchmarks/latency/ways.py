"""Ways to classify a frame with a guard's own parts, and where their time goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.pictures import noisy
from blurvote.benchmarks.timing import Timing
from blurvote.runtime.engine import Engine
from blurvote.runtime.guard import Guard
from blurvote.runtime.undefended import Undefended
from blurvote.runtime.verdict import Verdict
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import majority_vote

__all__ = ["OneByOne", "Recorded", "copies_ms", "percentiles", "pick_pair"]

Pixels = NDArray[np.uint8]


class Recorded:
    """A guard on one frame, keeping the stage times of every verdict."""

    def __init__(self, guard: Guard, frame: Pixels) -> None:
        self.guard, self.frame = guard, frame
        self.stages: list[tuple[float, float, float]] = []

    def __call__(self) -> Verdict:
        verdict = self.guard.classify(self.frame)
        stage = verdict.stage_ms
        self.stages.append((stage.views, stage.inference, stage.vote))
        return verdict

    def stage_ms(self, timing: Timing, copy_in: float, copy_out: float) -> dict[str, float]:
        """Median milliseconds of each stage; `rest` is what no stage accounts for."""
        views, inference, vote = np.median(self.stages, axis=0).tolist()
        return {
            "views": views,
            "copy in": copy_in,
            "inference": inference - copy_in - copy_out,
            "copy out": copy_out,
            "vote": vote,
            "rest": max(0.0, timing.median - views - inference - vote),
        }


class OneByOne:
    """All views of a frame, one inference after the other: the defence without a batch."""

    def __init__(self, undefended: Undefended, views: range, threads: int | None = None) -> None:
        self.engine = undefended.engine
        self.builder = undefended.builder
        self.views = views
        self._view = np.empty((1, 3, *self.builder.defense.crop), np.float32)

    def classify(self, frame: Pixels) -> int:
        """The majority label of an `(H, W, 3)` uint8 RGB frame, or -1."""
        logits = []
        for view in self.views:
            self.builder.build(frame, self._view, "rgb", range(view, view + 1))
            logits.append(self.engine.run(self._view)[0])
        return int(majority_vote(np.concatenate(logits)[None]).labels[0])


def copies_ms(bench: Bench, frame: Pixels) -> tuple[float, float]:
    """Median milliseconds to bring one verdict's input to the device and its logits back."""
    engine = Engine(bench.guard, bench.provider, bench.threads)
    if bench.metadata.kind == "views":
        views = bench.metadata.defense.views
        batch: NDArray[Any] = ViewBuilder(bench.metadata.defense).build(frame, views=views)
    else:
        batch = frame[None]
    steps = [engine.run_in_steps(batch)[1] for _ in range(10)]
    engine.close()
    return (
        float(np.median([step.copy_in for step in steps])),
        float(np.median([step.copy_out for step in steps])),
    )


def percentiles(milliseconds: list[float]) -> list[float]:
    """The 0th to the 100th, for drawing a distribution."""
    return [float(value) for value in np.percentile(milliseconds, range(101))]


def pick_pair(guards: Sequence[Guard], frames: list[Pixels]) -> tuple[Pixels, Pixels | None]:
    """A frame whose first two views agree, and one where they differ; None where none was found.

    Agreement is of every guard given, disagreement of the first.

    Differing frames are made of the same pictures by adding noise: a large frame's resize averages
    noise away, so it takes more of it there.
    """

    def all_agree(frame: Pixels) -> bool:
        return all(guard.classify(frame).disagreement is False for guard in guards)

    agree = next(filter(all_agree, frames), frames[0])
    for sigma in (0.0, 0.25, 0.5, 1.0):
        for seed, frame in enumerate(frames):
            candidate = noisy(frame, sigma, seed) if sigma else frame
            if guards[0].classify(candidate).disagreement:
                return agree, candidate
    return agree, None
