"""How the views of a batch of frames are run: all at once, or only as many as the vote needs."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.decision import Ballot, can_still_change
from blurvote.runtime.defense import Defense
from blurvote.runtime.denoising import Denoiser
from blurvote.runtime.engines.protocol import Engine
from blurvote.runtime.frame import Frame
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.noise_switch import Judge, by_source
from blurvote.runtime.times import Times
from blurvote.runtime.view_supply import SeenFrame, ViewSupply
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["AutoPlan", "Plan", "PlanName", "ViewRunner", "needed_more", "why_no_cascade"]

PlanName = Literal["batched", "cascade"]
Plan = Literal["auto", "batched", "cascade"]


class ViewRunner:
    """Runs the views of frames through a `views` guard's session.

    Args:
        builder: makes the views.
        engine: `(B, 3, h, w)` float32 views in, `(B, C)` float32 logits out.
        views: which of the defence's views the decision uses, of quiet frames and of noisy ones.
        denoiser: of an adaptive defence.
    """

    def __init__(
        self,
        builder: ViewBuilder,
        engine: Engine,
        views: range,
        denoiser: Denoiser | None = None,
    ) -> None:
        self.builder = builder
        self.engine = engine
        self.views = views
        self._supply = ViewSupply(builder, engine, denoiser)

    def batched(
        self, frames: Sequence[Frame], times: Times, judge: Judge = by_source
    ) -> list[Ballot]:
        """All views of all frames in one inference.

        Args:
            frames: checked; quiet and noisy ones may be mixed.
            times: to add to.
            judge: tells which frames are noisy.
        """
        seen, batch = self._supply.first(frames, self.views, times, judge)
        return self._count(self._infer(batch, len(seen), times), seen, times)

    def cascade(
        self, frames: Sequence[Frame], times: Times, judge: Judge = by_source
    ) -> list[Ballot]:
        """As many views of each frame as its majority needs; arguments as `batched`.

        The fewest views that can make a majority run first, for all frames in one inference; then
        one more view at a time, for the frames where it can still change the outcome.
        """
        total = len(self.views)
        ran = total // 2 + 1
        seen, batch = self._supply.first(frames, self.views[:ran], times, judge)
        first = self._infer(batch, len(seen), times)
        ballots = self._count(first, seen, times)
        logits = list(first)
        while rest := [n for n, ballot in enumerate(ballots) if can_still_change(ballot)]:
            still_open = [seen[n] for n in rest]
            batch = self._supply.more(still_open, self.views[ran : ran + 1], times)
            ran += 1
            joined = []
            for n, extra in zip(rest, self._infer(batch, len(rest), times), strict=True):
                logits[n] = np.concatenate([logits[n], extra])
                joined.append(logits[n])
            counted = self._count(np.stack(joined), still_open, times)
            for n, ballot in zip(rest, counted, strict=True):
                ballots[n] = ballot
        return ballots

    def shown(self, frame: Frame, noisy: bool) -> NDArray[np.float32]:
        """The views that the decision uses, of one of the two sets; see `ViewSupply.shown`."""
        return self._supply.shown(frame, self.views, noisy)

    def _infer(self, batch: NDArray[np.float32], frames: int, times: Times) -> NDArray[np.float32]:
        """Logits `(frames, views of each, C)` of their views, frame by frame."""
        started = time.perf_counter()
        (logits,) = self.engine.run(batch, ["logits"])
        times.inference += (time.perf_counter() - started) * 1e3
        return logits.reshape(frames, len(batch) // frames, -1)

    def _count(
        self, logits: NDArray[np.float32], seen: Sequence[SeenFrame], times: Times
    ) -> list[Ballot]:
        started = time.perf_counter()
        total = len(self.views)
        votes = majority_vote(logits, of=total)
        ballots = [
            Ballot(frame_logits, tuple(view_labels), label, count, total, one.noise, one.noisy)
            for frame_logits, view_labels, label, count, one in zip(
                logits,
                votes.view_labels.tolist(),
                votes.labels.tolist(),
                votes.counts.tolist(),
                seen,
                strict=True,
            )
        ]
        times.vote += (time.perf_counter() - started) * 1e3
        return ballots


def why_no_cascade(metadata: GuardMetadata) -> str | None:
    """Why a guard cannot run as a cascade; None where it can."""
    if metadata.kind == "frames":
        return "its graph builds and runs all views at once"
    if metadata.defense.decision == "mean":
        return "the decision 'mean' averages over all views"
    if len(metadata.defense.views) < 3:
        return "with fewer than three views none can be left out"
    return None


def needed_more(ballot: Ballot) -> bool:
    """Whether the first views of a cascade would have left this ballot open."""
    first = ballot.views // 2 + 1
    if not ballot.complete:
        return len(ballot.view_labels) > first
    labels = majority_vote(ballot.logits[None, :first], of=ballot.views).labels
    return bool(labels[0] == REJECTED)


class AutoPlan:
    """Chooses between `batched` and `cascade` by what they cost here.

    A batch costs `all_ms`. A cascade costs `first_ms` for the views that always run and, at the
    running rate of frames that those do not decide, `one_ms` for each of the rest. The rate is
    learned from the verdicts themselves, whichever plan made them. What both plans pay alike is
    left out: a noisy frame's denoiser runs once in either, before its first views.

    Args:
        first_ms, one_ms, all_ms: measured milliseconds of the first views, of a single view and of
            all views.
        rest: views beyond the first ones.
    """

    PRIOR_RATE = 0.2  # about the share of clean stills whose first two views differ
    MEMORY = 200  # frames over which the rate is averaged

    # Of the measurement: untimed turns, timed ones at least and at most, and the seconds after
    # which the least will do.
    WARM_UP, FEWEST_TURNS, TURNS, ENOUGH_S = 2, 3, 12, 0.2

    def __init__(self, first_ms: float, one_ms: float, all_ms: float, rest: int) -> None:
        self.first_ms, self.one_ms, self.all_ms = first_ms, one_ms, all_ms
        self.rest = rest
        self.rate = self.PRIOR_RATE

    @classmethod
    def measured(cls, engine: Engine, defense: Defense) -> AutoPlan:
        """Times the engine on the batch sizes of both plans.

        Each size first runs untimed: engines compile, choose kernels or grow their memory when
        they meet a new shape. Then the sizes take turns, so that a busy moment of the machine is
        shared by all, and the quickest run of each counts.
        """
        total = len(defense.views)
        first = total // 2 + 1
        # Not zeros: what a network is fed can change its speed (denormals, power).
        views = engine.host_buffer((total, 3, *defense.crop), np.float32)
        np.random.default_rng(0).standard_normal(out=views, dtype=np.float32)
        quickest = dict.fromkeys((first, 1, total), math.inf)

        def milliseconds(count: int) -> float:
            started = time.perf_counter()
            engine.run(views[:count], ["logits"])
            return (time.perf_counter() - started) * 1e3

        for _ in range(cls.WARM_UP):
            for count in quickest:
                milliseconds(count)
        enough = time.perf_counter() + cls.ENOUGH_S
        for turn in range(1, cls.TURNS + 1):
            for count in quickest:
                quickest[count] = min(quickest[count], milliseconds(count))
            if turn >= cls.FEWEST_TURNS and time.perf_counter() > enough:
                break
        return cls(quickest[first], quickest[1], quickest[total], total - first)

    @property
    def cascade_ms(self) -> float:
        """Expected milliseconds of a cascade at the present rate."""
        return self.first_ms + self.rate * self.rest * self.one_ms

    @property
    def choice(self) -> PlanName:
        """The cheaper plan at the present rate."""
        return "cascade" if self.cascade_ms < self.all_ms else "batched"

    @property
    def facts(self) -> dict[str, float | str]:
        """What was measured and what follows from it, as plain values."""
        return {
            "first_ms": self.first_ms,
            "one_ms": self.one_ms,
            "all_ms": self.all_ms,
            "rate": self.rate,
            "cascade_ms": self.cascade_ms,
            "choice": self.choice,
        }

    def learn(self, undecided: bool) -> None:
        """Takes in whether a frame's first views left its verdict open."""
        self.rate += (undecided - self.rate) / self.MEMORY
