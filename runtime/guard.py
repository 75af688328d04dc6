"""A loaded guard: frames in, verdicts out."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blurvote.runtime.boxes import Border, cut
from blurvote.runtime.decision import (
    Ballot,
    Outcome,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.defense import Fit
from blurvote.runtime.engines.protocol import Compute, EngineSettings, OptionValue, Provider
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import FrameError, GuardError, PlanError
from blurvote.runtime.frame import Colour, Frame, as_frame
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.overlap import classify_stream
from blurvote.runtime.plans import (
    AutoPlan,
    Plan,
    PlanName,
    Times,
    ViewRunner,
    needed_more,
)
from blurvote.runtime.tuning import load_tuning
from blurvote.runtime.verdict import StageTimes, Verdict
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED
from blurvote.runtime.whole_graph import WholeGraphRunner

__all__ = ["Guard"]

Pixels = NDArray[np.uint8]

_BOXES_AT_ONCE = 32  # in one inference: 96 views of 224x224 take 58 MB


class Guard:
    """A guard file, ready to classify frames. May be shared by several threads.

    Args:
        path: a guard of either kind, written by `blurvote export`.
        provider: what runs the graph: `"cpu"`, `"cuda"` or `"tensorrt"` (ONNX Runtime),
            `"openvino"`, or `"auto"`: CUDA where it works, else ONNX Runtime's CPU.
        plan: `"batched"`, `"cascade"`, or `"auto"`, which measures both now and keeps weighing
            them against the disagreement rate it sees.
        threads: threads of one inference and of view building; None takes the usable cores.
        threshold: smallest mean softmax that the decision `mean` accepts, in [0, 1]; None takes
            the one calibrated into the guard.
        spin: whether inference threads spin inside a run; False costs a few percent of latency
            and leaves the cores to others.
        compute: arithmetic of the file's float32 operators: `"fp32"`, or what the provider has
            that is faster and less exact.
        options: the provider's own settings by name; see the engine.

    Attributes:
        path, metadata, defense, labels: what was loaded.
        provider: what runs; never `"auto"`.
        compute: the arithmetic of the file's float32 operators.
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
        compute: Compute = "fp32",
        options: Mapping[str, OptionValue] | None = None,
    ) -> None:
        self.path = Path(path)
        settings = EngineSettings(provider, compute, threads, spin, options or {})
        self._engine = open_engine(path, settings)
        self.provider = self._engine.provider
        self.compute = self._engine.compute
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
        self._refitted: ViewRunner | None = None
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
            self._auto = AutoPlan.measured(self._engine, self.defense)
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

    @overload
    def classify(self, frame: Frame | Pixels, colour: Colour = ...) -> Verdict: ...

    @overload
    def classify(
        self,
        frame: Frame | Pixels,
        colour: Colour = ...,
        *,
        boxes: ArrayLike,
        border: Border = ...,
        fit: Fit | None = ...,
    ) -> list[Verdict]: ...

    def classify(
        self,
        frame: Frame | Pixels,
        colour: Colour = "rgb",
        *,
        boxes: ArrayLike | None = None,
        border: Border = "refuse",
        fit: Fit | None = None,
    ) -> Verdict | list[Verdict]:
        """The verdict on one frame, or on each box of it.

        A box's verdict is that of `classify(frame[y0:y1, x0:x1])`, without copying its pixels. A
        `views` guard reads every format of `Colour` as it is; for a `frames` guard, whose graph
        takes RGB, other formats are converted, each in a pass over the whole frame.

        Args:
            frame: a `Frame`, or uint8 pixels: `(H, W, 3)`, or the shape that `colour` has.
            colour: what bare pixels are: `"rgb"`, `"bgr"`, `"gray"`, `"nv12"` or `"yuyv"`; a
                `Frame` knows its own, and its colour matrix, range and window.
            boxes: `(K, 4)` integers x0, y0, x1, y1 in pixels, half open.
            border: `"refuse"` raises for a box that is empty, reaches beyond the frame or is too
                small; `"clip"` cuts boxes at the frame's border and rejects as `bad_box` those of
                which too little is left.
            fit: how boxes become views, `"crop"` or `"stretch"` (see `Defense`); None as frames do.

        Returns:
            One verdict; with `boxes` a list of K, in their order.

        Raises:
            FrameError: wrong shape, dtype or layout of frame or boxes, or a box beyond the frame.
            DefenseError: a size that the defence cannot serve, or an unknown fit.
            GuardError: a frame size that this `frames` guard was not built for, or boxes for it.
        """
        if boxes is None:
            if fit is not None or border != "refuse":
                raise FrameError("border and fit are of boxes; give boxes, or leave them out")
            return self.classify_batch([frame], colour)[0]
        whole = as_frame(frame, colour)
        runner = self._runner_for(fit)
        crops = cut(whole, boxes, border, runner.builder)
        rejected = Verdict.without_inference(whole, "bad_box", len(self.defense.views), self.plan)
        verdicts: list[Verdict] = []
        for start in range(0, len(crops), _BOXES_AT_ONCE):
            some = crops[start : start + _BOXES_AT_ONCE]
            made = iter(self._verdicts([crop.frame for crop in some if crop.frame], runner))
            verdicts += [
                replace(next(made) if crop.frame else rejected, box=crop.box) for crop in some
            ]
        return verdicts

    def classify_batch(
        self, frames: Sequence[Frame | Pixels], colour: Colour = "rgb"
    ) -> list[Verdict]:
        """The verdicts on several frames, run together; their sizes may differ on a `views` guard.

        Raises:
            FrameError, DefenseError, GuardError: as `classify`; no frame is classified then.
        """
        return self._verdicts([as_frame(frame, colour) for frame in frames], self._open_runner())

    def classify_stream(
        self, frames: Iterable[Frame | Pixels], depth: int = 2, colour: Colour = "rgb"
    ) -> Generator[Verdict, None, None]:
        """The verdicts on frames as they come, in their order, `depth` frames in flight at most:
        while one is inferred the views of the next are built. `frames` is read in other threads;
        closing the generator waits for the frame that is being read.

        Raises:
            PlanError: `depth` is not an integer from 1 to 16.
            FrameError, DefenseError, GuardError: as `classify`, at the frame's place; then it ends.
        """
        return classify_stream(self, frames, depth, colour)

    def _open_runner(self) -> ViewRunner | WholeGraphRunner:
        if self._runner is None:
            raise GuardError(f"the guard {self.path} was closed; load it again to classify")
        return self._runner

    def _runner_for(self, fit: Fit | None) -> ViewRunner:
        """The runner of boxes: the guard's own, or one whose views are fitted the other way."""
        runner = self._open_runner()
        if not isinstance(runner, ViewRunner):
            raise GuardError(
                f"{self.path} is a frames guard, whose graph takes whole frames; for boxes export "
                "the model with --input views"
            )
        if fit is None or fit == self.defense.fit:
            return runner
        defense = replace(self.defense, fit=fit)
        if self._refitted is None:
            builder = ViewBuilder(defense, threads=self.threads)
            self._refitted = ViewRunner(builder, self._engine, defense.views)
        return self._refitted

    def _verdicts(
        self, checked: Sequence[Frame], runner: ViewRunner | WholeGraphRunner
    ) -> list[Verdict]:
        """The verdicts on frames that were checked, in one batch."""
        if not checked:
            return []
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
                self._auto.learn(needed_more(ballot))
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

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._runner is None

    def close(self) -> None:
        """Releases the session and its threads; the guard cannot classify afterwards."""
        self._runner = self._refitted = None
        self._engine.close()
