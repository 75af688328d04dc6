"""What the quiet and the noisy views of an adaptive guard say of pictures, with noise added."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture, read_picture
from blurvote.export.guard_graph import backbone_of
from blurvote.export.ort_session import Session, one_line
from blurvote.runtime.decision import softmax
from blurvote.runtime.defense import Decision, Defense
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import DefenseError, ExportError, GuardError
from blurvote.runtime.metadata import DenoiserEntry, GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["SIGMAS", "SetAnswer", "Shown", "ask"]

SIGMAS = (0.03, 0.06, 0.125, 0.25, 0.375)
"""Of the noise that is added to each picture, in [0, 1] RGB units of the frame."""

_STREAM = 50


@dataclass(frozen=True)
class SetAnswer:
    """What the views of one set say: the majority's label, the mean's, and its confidence."""

    majority: int
    mean: int
    confidence: float

    def label(self, decision: str, threshold: float | None = None) -> int:
        """The label by that decision, -1 for a rejection."""
        if decision != "mean":
            return self.majority
        return self.mean if threshold is None or self.confidence >= threshold else REJECTED


@dataclass(frozen=True)
class Shown:
    """One picture at one noise: the level that was read on the grid, and what both sets say."""

    sigma: float
    level: float
    quiet: SetAnswer
    noisy: SetAnswer
    truth: int

    def label(self, high: float, decision: str, limits: tuple[float | None, float | None]) -> int:
        """That of the set which the switch takes, by its own threshold: quiet, noisy."""
        if self.level >= high:
            return self.noisy.label(decision, limits[1])
        return self.quiet.label(decision, limits[0])


def ask(
    proto: onnx.ModelProto,
    metadata: GuardMetadata,
    pictures: Sequence[Picture],
    decision: Decision,
    labelled: bool,
    seed: int,
    say: Callable[[str], None],
) -> tuple[list[Picture], list[list[Shown]], dict[str, str]]:
    """Every picture without noise and with each of `SIGMAS`, put to both sets of views.

    Args:
        proto, metadata: a guard's.
        pictures: to ask about.
        decision: that the guard will have.
        labelled: whether the truth is the pictures' own; else it is what the quiet views say of
            the picture without noise. A picture that has none either way is skipped.
        seed: of the noise.
        say: called with a line of progress.

    Returns:
        The pictures that were used; for each its `Shown`, the one without noise first; and the
        skipped pictures with the reason.

    Raises:
        ExportError: the guard has no denoiser that could be run apart from its graph, or a broken
            one.
    """
    entry = metadata.denoiser
    if metadata.kind != "views" or entry is None or not metadata.defense.adaptive:
        raise ExportError(
            "only a views guard with a denoiser can have its noise switch fitted: export one with "
            "--denoiser, calibrate it, and pass its --noise-switch, --threshold and "
            "--noisy-threshold to the export of a frames guard"
        )
    asked = _BothSets(replace(metadata.defense, decision=decision), proto, entry)
    used, answers, skipped = [], [], {}
    for number, picture in enumerate(pictures):
        random = np.random.default_rng([_STREAM, seed, number])
        if labelled and picture.truth is None:
            skipped[str(picture.path)] = "has no label"
            continue
        try:
            shown = asked(read_picture(picture.path), picture.truth, random)
        except (DefenseError, ExportError) as error:
            skipped[str(picture.path)] = str(error)
            continue
        if shown:
            used.append(picture)
            answers.append(shown)
        else:
            skipped[str(picture.path)] = "the quiet views do not agree, and it has no label"
        if (number + 1) % 20 == 0 or number + 1 == len(pictures):
            say(f"{number + 1} of {len(pictures)} pictures")
    return used, answers, skipped


class _BothSets:
    """Puts one picture to the quiet and to the noisy views."""

    def __init__(self, defense: Defense, proto: onnx.ModelProto, entry: DenoiserEntry) -> None:
        self._defense = defense
        self._backbone = Session(backbone_of(proto), "the guard's backbone")
        try:
            self._denoiser = Session(onnx.load_from_string(entry.onnx), "the guard's denoiser")
        except Exception as error:  # protobuf's exceptions have no common base
            raise ExportError(
                f"the guard's denoiser cannot be read ({one_line(error)}); export the guard again"
            ) from error
        self._builder = ViewBuilder(defense)
        kinds = defense.denoised_kinds
        count = len(defense.passes)
        noisy = [
            count + kinds.index(kind) if kind.denoised else defense.passes.index(kind.passes)
            for kind in defense.kinds(noisy=True)
        ]
        # Of the quiet views and then the denoised ones, those that the decision looks at.
        self._places = tuple([places[k] for k in defense.views] for places in (range(count), noisy))
        expected = (1, len(kinds), 3, *defense.crop)
        made = self._denoised(np.zeros((1, 4, *defense.crop), np.float32)).shape
        if made != expected:
            raise ExportError(
                f"the guard's denoiser makes views of shape {made}, expected {expected}; export "
                "the guard again"
            )

    def __call__(
        self, pixels: NDArray[np.uint8], truth: int | None, random: np.random.Generator
    ) -> list[Shown]:
        """`pixels` are `(H, W, 3)` uint8 BGR; nothing where there is no truth."""
        shown: list[Shown] = []
        for sigma in (0.0, *SIGMAS):
            level, quiet, noisy = self._answers(add_noise(pixels, sigma, random))
            if truth is None:  # the first frame is the one without noise
                truth = quiet.label(self._defense.decision)
                if truth == REJECTED:
                    return []
            shown.append(Shown(sigma, level, quiet, noisy, truth))
        return shown

    def _answers(self, frame: NDArray[np.uint8]) -> tuple[float, SetAnswer, SetAnswer]:
        defense = self._defense
        views = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
        read = self._builder.build_noise(frame, views, colour="bgr")
        level = (read or 0.0) * self._builder.noise_gain(*frame.shape[:2])
        inputs = np.empty((1, 4, *defense.crop), np.float32)
        inputs[0, :3], inputs[0, 3] = views[0], level
        try:
            batch = np.concatenate([views, self._denoised(inputs)[0]])
            (logits,) = self._backbone.run(batch, LOGITS)
        except ExportError as error:  # of the guard, not of this picture
            raise GuardError(str(error)) from error
        quiet, noisy = (_answer(logits[places]) for places in self._places)
        return level, quiet, noisy

    def _denoised(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(self._denoiser.run(inputs)[0])


def _answer(logits: NDArray[np.float32]) -> SetAnswer:
    votes = majority_vote(np.ascontiguousarray(logits)[None])
    voting = votes.view_labels[0] != REJECTED
    if not voting.any():
        return SetAnswer(REJECTED, REJECTED, -1.0)
    mean = softmax(logits[voting]).mean(axis=0)
    return SetAnswer(int(votes.labels[0]), int(mean.argmax()), float(mean.max()))
