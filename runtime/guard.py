"""A loaded guard: frames in, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.decision import (
    Ballot,
    Outcome,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.engine import Engine, Provider
from blurvote.runtime.errors import GuardError, PlanError
from blurvote.runtime.frame import Colour, Frame, check_colour, check_pixels
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.plans import AutoPlan, Plan, PlanName, Times, ViewRunner
from blurvote.runtime.tuning import load_tuning
from blurvote.runtime.verdict import StageTimes, Verdict
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote
from blurvote.runtime.whole_graph import WholeGraphRunner

__all__ = ["Guard"]

Pixels = NDArray[np.uint8]


class Guard:
    """A guard file, ready to classify frames. May be shared by several threads.

    Args:
        path: a guard of either kind, written by `blurvote export`.
        provider: `"cpu"`, `"cuda"`, `"tensorrt"`, or `"auto"`: CUDA where it works, else CPU.
        plan: `"batched"`, `"cascade"`, or `"auto"`, which measures both now and keeps weighing
            them against the disagreement rate it sees.
        threads: threads of one inference and of view building; None takes the usable cores.
        threshold: smallest mean softmax that the decision `mean` accepts, in [0, 1]; None takes
            the one calibrated into the guard.
        spin: whether inference threads spin inside a run; False costs a few percent of latency
            and leaves the cores to others.

    Attributes:
        path, metadata, defense, labels: what was loaded.
        provider: what runs, `"cpu"`, `"cuda"` or `"tensorrt"`.
        threads: threads of one inference.
        threshold: the threshold in force, or None.

    Raises:
        GuardError: the file is missing, broken or not a guard, or `mean` has no threshold.
        ProviderError: the provider is not there, or is not what would run.
        PlanError: the guard cannot run that plan.
    """

    def __init__(
        self,
        path: str | Path,
        provider: Provider = "auto",
        plan: Plan = "auto",
        threads: int | None = None,
        threshold: float | None = None,
        spin: bool = True,
    ) -> None:
        self.path = Path(path)
        self._engine = Engine(path, provider, threads, spin)
        self.provider = self._engine.provider
        self.threads = self._engine.threads
        self.metadata = GuardMetadata.from_map(self._engine.metadata, str(path))
        self.defense = self.metadata.defense
        self.labels = self.metadata.labels
        self.threshold = threshold_in_force(self.defense, threshold, path)
        self._runner: ViewRunner | WholeGraphRunner | None
        if self.metadata.kind == "views":
            builder = ViewBuilder(self.defense, threads=self._engine.threads)
            self._runner = ViewRunner(builder, self._engine, self.defense.views)
        else:
            self._runner = WholeGraphRunner(self._engine, self.metadata)
        self._auto: AutoPlan | None = None
        self._plan: PlanName = "batched"
        self._choose(plan)

    @classmethod
    def tuned(cls, path: str | Path, threshold: float | None = None) -> Guard:
        """A guard with the settings that `blurvote bench --tune` found fastest on this machine.

        Raises:
            GuardError: there are none, or they were measured on another machine; see `__init__`
                for the rest.
        """
        return cls(path, threshold=threshold, **load_tuning(path).settings)

    def _choose(self, plan: Plan) -> None:
        if plan not in ("auto", "batched", "cascade"):
            raise PlanError(f"plan is {plan!r}; expected 'auto', 'batched' or 'cascade'")
        why_not = self._why_no_cascade()
        if plan == "cascade" and why_not:
            raise PlanError(f"{self.path} cannot run as a cascade: {why_not}; use plan='batched'")
        if plan == "auto" and not why_not:
            self._auto = self._measure()
        elif plan != "auto":
            self._plan = plan

    def _why_no_cascade(self) -> str | None:
        if self.metadata.kind == "frames":
            return "its graph builds and runs all views at once"
        if self.defense.decision == "mean":
            return "the decision 'mean' averages over all views"
        if len(self.defense.views) < 3:
            return "with fewer than three views none can be left out"
        return None

    def _measure(self) -> AutoPlan:
        """Times the session on the batch sizes of both plans."""
        total = len(self.defense.views)
        first = total // 2 + 1
        # Not zeros: what a network is fed can change its speed (denormals, power).
        random = np.random.default_rng(0)
        views = random.standard_normal((total, 3, *self.defense.crop), np.float32)

        def best_of_three(count: int) -> float:
            times = []
            for repeat in range(4):  # the first warms up
                started = time.perf_counter()
                self._engine.run(views[:count], ["logits"])
                if repeat:
                    times.append((time.perf_counter() - started) * 1e3)
            return min(times)

        return AutoPlan(best_of_three(first), best_of_three(1), best_of_three(total), total - first)

    @property
    def plan(self) -> PlanName:
        """The plan that the next frame will take."""
        return self._auto.choice if self._auto else self._plan

    @property
    def auto_plan(self) -> AutoPlan | None:
        """The measurements behind `plan="auto"`; None where there is nothing to choose."""
        return self._auto

    def effective_sigma(self, height: int, width: int) -> tuple[tuple[float, float], ...]:
        """See `ViewBuilder.effective_sigma`."""
        return ViewBuilder(self.defense).effective_sigma(height, width)

    def classify(self, frame: Frame | Pixels, colour: Colour = "rgb") -> Verdict:
        """The verdict on one frame.

        Args:
            frame: a `Frame`, or `(H, W, 3)` uint8 pixels.
            colour: order of the channels of bare pixels; a `Frame` knows its own.

        Raises:
            FrameError: wrong shape, dtype or layout.
            DefenseError: a frame size that the defence cannot serve.
            GuardError: a frame size that this `frames` guard was not built for.
        """
        return self.classify_batch([frame], colour)[0]

    def classify_batch(
        self, frames: Sequence[Frame | Pixels], colour: Colour = "rgb"
    ) -> list[Verdict]:
        """The verdicts on several frames, run together; their sizes may differ on a `views` guard.

        Raises:
            FrameError, DefenseError, GuardError: as `classify`; no frame is classified then.
        """
        if not frames:
            return []
        runner = self._runner
        if runner is None:
            raise GuardError(f"the guard {self.path} was closed; load it again to classify")
        checked = [_as_frame(frame, colour) for frame in frames]
        plan = self.plan
        times = Times()
        if plan == "cascade" and isinstance(runner, ViewRunner):
            ballots = runner.cascade(checked, times)
        else:
            ballots = runner.batched(checked, times)
        started = time.perf_counter()
        outcomes = [self._decide(ballot) for ballot in ballots]
        if self._auto:
            for ballot in ballots:
                self._auto.learn(_needed_more(ballot))
        now = time.monotonic()
        stages = StageTimes(
            times.views, times.inference, times.vote + (time.perf_counter() - started) * 1e3
        )
        return [
            self._verdict(frame, ballot, outcome, plan, stages, now)
            for frame, ballot, outcome in zip(checked, ballots, outcomes, strict=True)
        ]

    def _decide(self, ballot: Ballot) -> Outcome:
        if self.threshold is not None:
            return decide_mean(ballot, self.threshold)
        return decide_majority(ballot)

    def _verdict(
        self,
        frame: Frame,
        ballot: Ballot,
        outcome: Outcome,
        plan: Literal["batched", "cascade"],
        stages: StageTimes,
        now: float,
    ) -> Verdict:
        named = outcome.label != REJECTED and outcome.label < len(self.labels)
        count: int | None = None
        if ballot.complete:
            accepted = outcome.label != REJECTED
            count = ballot.view_labels.count(outcome.label) if accepted else ballot.count
        return Verdict(
            label=outcome.label,
            name=self.labels[outcome.label] if named else None,
            reason=outcome.reason,
            confidence=outcome.confidence,
            count=count,
            view_labels=ballot.view_labels + (None,) * (ballot.views - len(ballot.view_labels)),
            plan=plan,
            stage_ms=stages,
            source=frame.source,
            sequence=frame.sequence,
            age_ms=(now - frame.captured_at) * 1e3,
        )

    def __enter__(self) -> Guard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Releases the session and its threads; the guard cannot classify afterwards."""
        self._runner = None
        self._engine.close()


def _as_frame(frame: Any, colour: Colour) -> Frame:
    if isinstance(frame, Frame):
        check_pixels(frame.pixels)
        check_colour(frame.colour)
        return frame
    check_pixels(frame)
    check_colour(colour)
    return Frame(frame, colour)


def _needed_more(ballot: Ballot) -> bool:
    """Whether the first views of a cascade would have left this ballot open."""
    first = ballot.views // 2 + 1
    if not ballot.complete:
        return len(ballot.view_labels) > first
    labels = majority_vote(ballot.logits[None, :first], of=ballot.views).labels
    return bool(labels[0] == REJECTED)
