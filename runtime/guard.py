"""A loaded guard: frames in, verdicts out."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from blurvote.runtime.boxes import Border, cut
from blurvote.runtime.defense import Defense, Fit
from blurvote.runtime.denoising import Denoiser, open_denoiser_engine
from blurvote.runtime.engines.protocol import (
    Compute,
    Engine,
    EngineSettings,
    OptionValue,
    Provider,
)
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import FrameError, GuardError, PlanError
from blurvote.runtime.frame import Colour, Frame, as_frame
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.noise_switch import Judge, alone, by_source
from blurvote.runtime.overlap import classify_stream
from blurvote.runtime.plans import AutoPlan, Plan, PlanName, ViewRunner, needed_more, why_no_cascade
from blurvote.runtime.ruling import Rules
from blurvote.runtime.times import Times
from blurvote.runtime.tuning import load_tuning
from blurvote.runtime.verdict import Verdict
from blurvote.runtime.views import ViewBuilder
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
        threshold: smallest mean softmax that the decision `mean` accepts, in [0, 1], of quiet
            frames and of noisy ones; None takes those calibrated into the guard.
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
        threshold, noisy_threshold: the thresholds in force, or None.

    Raises:
        GuardError: the file is missing, broken or not a guard, `mean` has no threshold, or views
            of noisy frames have no denoiser that makes them.
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
        self._denoiser: Engine | None = None
        self._runner: ViewRunner | WholeGraphRunner | None = None
        self._refitted: ViewRunner | None = None
        self._looked_at: ViewRunner | None = None
        self._auto: AutoPlan | None = None
        self._plan: PlanName = "batched"
        try:
            self._make_ready(settings, threshold)
            self._choose(plan)
        except BaseException:
            self.close()
            raise

    def _make_ready(self, settings: EngineSettings, threshold: float | None) -> None:
        path = self.path
        self.provider = self._engine.provider
        self.compute = self._engine.compute
        self.threads = self._engine.threads
        self.metadata = GuardMetadata.from_map(self._engine.metadata, str(path))
        self.defense = self.metadata.defense
        self.labels = self.metadata.labels
        self._rules = Rules.in_force(self.defense, self.labels, threshold, path)
        self.threshold, self.noisy_threshold = self._rules.threshold, self._rules.noisy_threshold
        self._denoiser = open_denoiser_engine(path, self.metadata, settings, self.provider)
        if self.metadata.kind == "views":
            self._runner = self._view_runner(self.defense)
        else:
            self._runner = WholeGraphRunner(self._engine, self.metadata)

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
        why_not = why_no_cascade(self.metadata)
        if plan == "cascade" and why_not:
            raise PlanError(f"{self.path} cannot run as a cascade: {why_not}; use plan='batched'")
        if plan == "auto" and not why_not:
            self._auto = AutoPlan.measured(self._engine, self.defense)
        elif plan != "auto":
            self._plan = plan

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

        A guard with views of their own for noisy frames (`Defense.noisy_views`) judges each frame
        by one of its two sets of views, and each box by its own pixels. Between the two levels of
        `Defense.noise_switch` a frame is judged as the one before it of its `Frame.source` was; a
        bare array, a box and all frames of a `frames` guard are judged by the higher level alone
        (bare arrays of `classify_stream` are a stream).

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
            # A box here and one there are no stream, though they have their frame's source.
            made = iter(self._verdicts([crop.frame for crop in some if crop.frame], runner, alone))
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

        Where noise decides the views, a frame is judged after the one before it whatever `depth`
        is, and frames without a source are those of one source, for this call.

        Raises:
            PlanError: `depth` is not an integer from 1 to 16.
            FrameError, DefenseError, GuardError: as `classify`, at the frame's place; then it ends.
        """

        def classify(frame: Frame | Pixels, judge: Judge) -> Verdict:
            return self._verdicts([as_frame(frame, colour)], self._open_runner(), judge)[0]

        return classify_stream(classify, frames, depth)

    def views_of(
        self, frame: Frame | Pixels, denoised: bool = False, colour: Colour = "rgb"
    ) -> NDArray[np.float32]:
        """The views of one frame as the backbone is given them, for people to look at.

        Args:
            frame, colour: as `classify`.
            denoised: those of a noisy frame, see `Verdict.denoised`.

        Returns:
            `(V, 3, h, w)` float32, normalised, of the V views that the decision uses.

        Raises:
            FrameError, DefenseError: as `classify`.
            GuardError: views of a noisy frame are asked of a guard that has none, or of a `frames`
                guard, whose graph keeps them to itself; or the guard was closed.
        """
        self._open_runner()
        if denoised and self._denoiser is None:
            why = "keeps them in its graph" if self.defense.adaptive else "has none"
            raise GuardError(f"views of a noisy frame are asked for, but {self.path} {why}")
        if self._looked_at is None:  # a builder of its own: verdicts do not wait for onlookers
            defense = replace(self.defense, noisy_views=(), noisy_threshold=None)
            if self._denoiser:
                defense = self.defense
            self._looked_at = self._view_runner(defense, threads=1)
        return self._looked_at.shown(as_frame(frame, colour), denoised)

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
            self._refitted = self._view_runner(defense)
        return self._refitted

    def _view_runner(self, defense: Defense, threads: int | None = None) -> ViewRunner:
        builder = ViewBuilder(defense, threads=threads or self.threads)
        denoiser = Denoiser(self._denoiser, defense) if self._denoiser else None
        return ViewRunner(builder, self._engine, defense.views, denoiser)

    def _verdicts(
        self,
        checked: Sequence[Frame],
        runner: ViewRunner | WholeGraphRunner,
        judge: Judge = by_source,
    ) -> list[Verdict]:
        """The verdicts on checked frames, in one batch; `judge` tells which of them are noisy."""
        if not checked:
            return []
        plan = self.plan
        times = Times()
        try:
            if isinstance(runner, WholeGraphRunner):
                ballots = runner.batched(checked, times)
            elif plan == "cascade":
                ballots = runner.cascade(checked, times, judge)
            else:
                ballots = runner.batched(checked, times, judge)
        except Exception:
            self._open_runner()  # closed by another thread meanwhile: says so
            raise
        if self._auto:
            for ballot in ballots:
                self._auto.learn(needed_more(ballot))
        return self._rules.verdicts(checked, ballots, plan, times)

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
        self._runner = self._refitted = self._looked_at = None
        self._engine.close()
        if self._denoiser:
            self._denoiser.close()
