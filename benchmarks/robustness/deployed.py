"""The deployed guard as the lab asks it: logits of every view, then the guard's own decision.

The same engine, view kernel, denoiser, vote and decision as `blurvote.runtime.Guard` (a test
compares the two), but what a verdict hides stays visible: the logits, the views that a decision
ignores, and of noisy frames also what their quiet views would have said. Frames are judged one by
one, as stills: there is no stream whose last frame could keep the next one noisy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.defenses import noisy_places
from blurvote.benchmarks.robustness.quantised import has_quantised_operators
from blurvote.runtime.decision import (
    Ballot,
    Outcome,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.defense import Defense
from blurvote.runtime.denoising import Denoiser, open_denoiser_engine
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import GuardError
from blurvote.runtime.frame import check_pixels
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import majority_vote

__all__ = ["Answer", "Deployed", "has_quantised_operators"]

Logits = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the views of one frame said.

    Attributes:
        logits: `(V, C)` of the views that judge the frame.
        noise: level read at the frame, in [0, 1] RGB units; None where there is no estimate, or
            all frames have the same views.
        denoised: whether those are the views of noisy frames.
        quiet: `(V, C)` of the views of quiet frames, where they were asked for.
    """

    logits: Logits
    noise: float | None = None
    denoised: bool = False
    quiet: Logits | None = None


class Deployed:
    """A guard file, loaded for measurement.

    Args:
        path: a guard of either kind.
        settings: how it runs, see `EngineSettings`; None takes the defaults.
        threshold: of the decision `mean`, in [0, 1]; None takes the guard's own.

    Attributes:
        path, metadata, defense, labels: what was loaded.
        classes: number of classes.
        provider, compute: what runs, and in which arithmetic.
        quantised: whether the backbone has quantised operators, which have no gradients.

    Raises:
        GuardError: not a guard; or it decides by `mean` and there is no threshold, or by another
            decision and there is one.
        ProviderError: the provider is not there.
    """

    def __init__(
        self,
        path: str | Path,
        settings: EngineSettings | None = None,
        threshold: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._engine = open_engine(path, settings)
        self.provider = self._engine.provider
        self.compute = self._engine.compute
        self.metadata = GuardMetadata.from_map(self._engine.metadata, str(path))
        self.defense = self.metadata.defense
        self.labels = self.metadata.labels
        self.threshold = threshold_in_force(self.defense, threshold, path)
        self.noisy_threshold = (
            threshold_in_force(self.defense, threshold, path, noisy=True)
            if self.defense.adaptive
            else None
        )
        self._builders: dict[Defense, ViewBuilder] = {}
        self._denoiser: Denoiser | None = None
        if engine := open_denoiser_engine(
            path, self.metadata, settings or EngineSettings(), self.provider
        ):
            self._denoiser = Denoiser(engine, self.defense)
        self.classes = self._count_classes()

    def _count_classes(self) -> int:
        crop = self.defense.crop
        if self.metadata.kind == "views":
            return int(self.view_logits(np.zeros((1, 3, *crop), np.float32)).shape[1])
        # Of the crop's shape, so that it can be cut, and no smaller than the widest kernel.
        scale = -(-64 // min(crop))
        height, width = self.metadata.frame_size or (scale * crop[0], scale * crop[1])
        return int(self.logits(np.full((height, width, 3), 128, np.uint8)).shape[1])

    def logits(self, pixels: NDArray[np.uint8], defense: Defense | None = None) -> Logits:
        """Logits `(V, C)` of the views of a `(H, W, 3)` uint8 RGB frame.

        All views, even where the decision uses one; but a `frames` guard that decides by `single`
        only has that one. Of an adaptive guard those of the views that the frame's noise chooses.

        Args:
            pixels: the frame.
            defense: other views than the guard's own, which are those of its `passes` for every
                frame; only a `views` guard can have them.

        Raises:
            FrameError, DefenseError, GuardError: as `Guard.classify`.
        """
        if defense in (None, self.defense):
            return self.answer(pixels).logits
        check_pixels(pixels)
        if self.metadata.kind == "frames":
            self.refuse_other_views()
        return self.view_logits(self._builder(defense).build(pixels))

    def answer(self, pixels: NDArray[np.uint8], quiet: bool = False) -> Answer:
        """What the guard's own views say of a `(H, W, 3)` uint8 RGB frame.

        Args:
            pixels: the frame.
            quiet: also what the views of quiet frames say. A view that both sets have is inferred
                once. Only a `views` guard can say it of all frames.

        Raises:
            FrameError, DefenseError, GuardError: as `Guard.classify`.
        """
        check_pixels(pixels)
        height, width = pixels.shape[:2]
        if self.metadata.kind == "frames":
            return self._answer_whole(pixels, quiet)
        builder = self._builder(self.defense)
        if not self.defense.adaptive:
            logits = self.view_logits(builder.build(pixels))
            return Answer(logits, quiet=logits if quiet else None)
        views = np.empty((len(self.defense.passes), 3, *self.defense.crop), np.float32)
        noise = builder.build_noise(pixels, views)
        return self.judge(views, noise, height, width, quiet)

    def read_noise(self, pixels: NDArray[np.uint8]) -> tuple[float | None, bool]:
        """The noise level read at the frame, see `Answer`, and whether the frame counts as noisy.

        Raises:
            FrameError, DefenseError: as `Guard.classify`.
        """
        check_pixels(pixels)
        builder = self._builder(self.defense)
        noise = builder.build_noise(
            pixels, np.empty((len(self.defense.passes), 3, *self.defense.crop), np.float32)
        )
        return noise, self._is_noisy(noise, *pixels.shape[:2])

    def judge(
        self,
        views: NDArray[np.float32],
        noise: float | None,
        height: int,
        width: int,
        quiet: bool = False,
    ) -> Answer:
        """What an adaptive guard says of the quiet views `(V, 3, h, w)` of a frame.

        Args:
            views: normalised, in the order of `Defense.passes`.
            noise: level at the frame, or None.
            height, width: of the frame, in pixels.
            quiet: as for `answer`.

        Raises:
            GuardError: the guard is not adaptive, or builds its views itself.
        """
        if not self._is_noisy(noise, height, width):
            logits = self.view_logits(views)
            return Answer(logits, noise, False, logits if quiet else None)
        assert noise is not None  # else it were quiet
        if self._denoiser is None:
            self.refuse_other_views()
        given = self._denoiser.inputs(1)
        given[0, :3] = views[0]  # clean: the first of an adaptive defence
        given[0, 3] = noise * self._builder(self.defense).noise_gain(height, width)
        stack = np.concatenate([views, self._denoiser.run(given)[0]])
        chosen = noisy_places(self.defense)
        if not quiet:
            return Answer(self.view_logits(stack[chosen]), noise, True)
        logits = self.view_logits(stack)
        return Answer(logits[chosen], noise, True, logits[: len(views)])

    def _answer_whole(self, pixels: NDArray[np.uint8], quiet: bool) -> Answer:
        height, width = pixels.shape[:2]
        self._check_size(height, width)
        batch = np.ascontiguousarray(pixels)[None]
        if not self.defense.adaptive:
            logits = np.asarray(self._engine.run(batch, ["logits"])[0][0], np.float32)
            return Answer(logits, quiet=logits if quiet else None)
        found, levels = self._engine.run(batch, ["logits", "noise"])
        noise = None if math.isnan(levels[0]) else float(levels[0])
        denoised = self._is_noisy(noise, height, width)
        if quiet and denoised:
            self.refuse_other_views()
        logits = np.asarray(found[0], np.float32)
        return Answer(logits, noise, denoised, logits if quiet else None)

    def _is_noisy(self, noise: float | None, height: int, width: int) -> bool:
        if noise is None:
            return False
        gain = self._builder(self.defense).noise_gain(height, width)
        return noise * gain >= self.defense.noise_switch[1]

    def _check_size(self, height: int, width: int) -> None:
        size = self.metadata.frame_size or (height, width)
        if (height, width) != size:
            raise GuardError(
                f"a frame of {width}x{height} px does not fit: this frames guard takes frames of "
                f"{size[1]}x{size[0]} px. Export with --input views for any size"
            )
        # A dynamic graph makes invalid views of a frame that it cannot serve; the planner says why.
        self._builder(self.defense).plan(height, width)

    def view_logits(self, views: NDArray[np.float32]) -> Logits:
        """Logits `(B, C)` of normalised views `(B, 3, h, w)` that were built elsewhere.

        Raises:
            GuardError: the guard builds its views itself.
        """
        if self.metadata.kind == "frames":
            self.refuse_other_views()
        return np.asarray(self._engine.run(views, ["logits"])[0], np.float32)

    def refuse_other_views(self) -> NoReturn:
        """Says why a `frames` guard cannot be given views.

        Raises:
            GuardError: always.
        """
        raise GuardError(
            f"{self.path} builds its views in its graph, so it only takes 8-bit frames and its own "
            f"views; export the same model with --input views for this measurement"
        )

    def _builder(self, defense: Defense) -> ViewBuilder:
        if defense not in self._builders:
            self._builders[defense] = ViewBuilder(defense)
        return self._builders[defense]

    def decide(self, logits: Logits, denoised: bool = False) -> Outcome:
        """The guard's verdict on the logits of a frame, as `logits` gives them.

        Args:
            logits: `(V, C)`.
            denoised: whether they are of the views of noisy frames, which may have a threshold of
                their own.
        """
        views = self.defense.views
        used = logits if len(logits) == len(views) else logits[list(views)]
        votes = majority_vote(used[None])
        labels = tuple(int(label) for label in votes.view_labels[0])
        ballot = Ballot(used, labels, int(votes.labels[0]), int(votes.counts[0]), len(labels))
        if self.defense.decision == "mean":
            threshold = self.noisy_threshold if denoised else self.threshold
            assert threshold is not None  # checked on loading
            return decide_mean(ballot, threshold)
        return decide_majority(ballot)

    @property
    def quantised(self) -> bool:
        """Whether the graph holds quantised operators.

        Raises:
            ProviderError: onnx is missing.
        """
        return has_quantised_operators(self.path)

    def close(self) -> None:
        """Releases the sessions."""
        self._engine.close()
        if self._denoiser is not None:
            self._denoiser.engine.close()
