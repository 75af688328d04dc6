"""Ways to classify a frame with a guard's own parts, and where their time goes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.pictures import noisy
from blurvote.runtime.engines.protocol import ON_CPU, Engine
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.guard import Guard
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.undefended import Undefended
from blurvote.runtime.verdict import Verdict
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import majority_vote

__all__ = [
    "OneByOne",
    "Recorded",
    "agreeing_frame",
    "copies_ms",
    "differing_frame",
    "engine_copies_ms",
    "percentiles",
]

Pixels = NDArray[np.uint8]


class Recorded:
    """A guard on one frame, keeping the stage times of every verdict.

    `rest` is what a call took beyond its stages, call by call.
    """

    def __init__(self, guard: Guard, frame: Pixels) -> None:
        self.guard, self.frame = guard, frame
        self.stages: list[tuple[float, ...]] = []
        self.ran: list[int] = []  # batch sizes of the last verdict's inferences

    def __call__(self) -> Verdict:
        started = time.perf_counter()
        verdict = self.guard.classify(self.frame)
        wall = (time.perf_counter() - started) * 1e3
        stage = verdict.stage_ms
        parts = (stage.views, stage.denoise, stage.inference, stage.vote)
        self.stages.append((*parts, wall - stage.total))
        ran = sum(label is not None for label in verdict.view_labels)
        first = ran if verdict.plan == "batched" else len(verdict.view_labels) // 2 + 1
        self.ran = [first] + [1] * (ran - first)
        return verdict

    def stage_ms(self, copies: Mapping[int, tuple[float, float]]) -> dict[str, float]:
        """Median milliseconds of each stage over all calls but the first ten.

        Args:
            copies: batch size to milliseconds of its copies in and out, which the runtime counts
                as inference; nothing is copied where the session reads arrays in place.
        """
        kept = np.median(self.stages[10:] or self.stages, axis=0).tolist()
        views, denoise, inference, vote, rest = kept
        copied = [copies.get(count, (0.0, 0.0)) for count in self.ran]
        copy_in, copy_out = (sum(pair[k] for pair in copied) for k in (0, 1))
        return {
            "views": views,
            "denoise": denoise,
            "copy in": copy_in,
            "inference": inference - copy_in - copy_out,
            "copy out": copy_out,
            "vote": vote,
            "rest": rest,
        }


class OneByOne:
    """The same views, inferred one after the other: the defence without a batch."""

    def __init__(self, undefended: Undefended, views: range) -> None:
        self.engine = undefended.engine
        self.builder = undefended.builder
        self.views = views
        self._built = np.empty((len(views), 3, *self.builder.defense.crop), np.float32)

    def classify(self, frame: Pixels) -> int:
        """The majority label of an `(H, W, 3)` uint8 RGB frame, or -1."""
        self.builder.build(frame, self._built, "rgb", self.views)
        logits = [self.engine.run(view[None])[0] for view in self._built]
        return int(majority_vote(np.concatenate(logits)[None]).labels[0])


def copies_ms(bench: Bench, frame: Pixels) -> dict[int, tuple[float, float]]:
    """`engine_copies_ms` of the guard under test; empty on the CPU, which reads arrays in place."""
    if bench.provider in ON_CPU:
        return {}
    engine = open_engine(bench.guard, bench.engine)
    try:
        return engine_copies_ms(engine, bench.metadata, frame)
    finally:
        engine.close()


def engine_copies_ms(
    engine: Engine, metadata: GuardMetadata, frame: Pixels
) -> dict[int, tuple[float, float]]:
    """Batch size to median milliseconds of bringing it to the device and its logits back.

    For a `frames` guard's batch of one frame the key is its number of views.
    """
    views = metadata.defense.views
    if metadata.kind == "views":
        built = ViewBuilder(metadata.defense).build(frame, views=views)
        batches: dict[int, NDArray[Any]] = {n: built[:n] for n in range(1, len(views) + 1)}
    else:
        batches = {len(views): frame[None]}
    found = {}
    for count, batch in batches.items():
        steps = [engine.run_in_steps(batch)[1] for _ in range(20)][5:]
        copied = [(step.copy_in, step.copy_out) for step in steps]
        copy_in, copy_out = np.median(copied, axis=0).tolist()
        found[count] = copy_in, copy_out
    return found


def percentiles(milliseconds: list[float]) -> list[float]:
    """The 0th to the 100th, for drawing a distribution."""
    return [float(value) for value in np.percentile(milliseconds, range(101))]


def agreeing_frame(guards: Sequence[Guard], frames: Sequence[Pixels]) -> Pixels:
    """The first frame whose first two views agree for every guard; the first of all without one.

    A cascade's cost depends on it, so that whatever is compared must not differ in it by accident.
    """

    def all_agree(frame: Pixels) -> bool:
        return all(guard.classify(frame).disagreement is False for guard in guards)

    return next(filter(all_agree, frames), frames[0])


def differing_frame(guard: Guard, frames: Sequence[Pixels]) -> Pixels | None:
    """A frame whose first two views differ, or None where none was found.

    Made of the same pictures by adding noise where they agree on all: a large frame's resize
    averages noise away, so it takes more of it there.
    """
    for sigma in (0.0, 0.25, 0.5, 1.0):
        for seed, frame in enumerate(frames):
            candidate = noisy(frame, sigma, seed) if sigma else frame
            if guard.classify(candidate).disagreement:
                return candidate
    return None
