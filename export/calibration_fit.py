"""Fits a guard's thresholds on one half of some pictures, and asks it about the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture, read_picture
from blurvote.export.guard_graph import backbone_of
from blurvote.export.noise_answers import Shown, ask
from blurvote.export.noise_calibration import NoiseReport, fit_noise
from blurvote.export.ort_session import Session
from blurvote.export.thresholds import fit_threshold
from blurvote.runtime.decision import softmax
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError, ExportError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["Fit", "Judged", "Plan"]

FEWEST = 10  # pictures, below which neither half says anything


@dataclass(frozen=True)
class _Answer:
    """Confidence (-1 where no view votes) and label of one picture, and its true index if known."""

    confidence: float
    label: int
    truth: int | None

    def judged(self, threshold: float) -> Judged:
        """What a guard with that threshold says of it."""
        accepted = self.confidence >= threshold
        right = None if self.truth is None else accepted and self.label == self.truth
        return Judged(accepted, right)


@dataclass(frozen=True)
class Judged:
    """Whether a picture was accepted, and whether its label is right, None where unknown."""

    accepted: bool
    right: bool | None


T = TypeVar("T")


@dataclass(frozen=True)
class Fit:
    """What was fitted, and what the guard then says of both halves' pictures."""

    threshold: float | None
    noise: NoiseReport | None
    fitting: list[Judged]
    reporting: list[Judged]
    held_out: list[Picture]
    skipped: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """Fits one guard on one half of the pictures."""

    proto: onnx.ModelProto
    metadata: GuardMetadata
    pictures: list[Picture]
    coverage: float | None
    noisy_coverage: float | None
    seed: int
    say: Callable[[str], None]

    def plain(self) -> Fit:
        """The threshold of a guard whose frames all have the same views."""
        used, answers, skipped = _classify(
            self.proto, self.metadata.defense, self.pictures, self.say
        )
        fitting, reporting, held_out = self._halves(answers, used)
        assert self.coverage is not None  # _check_parts
        threshold = fit_threshold([answer.confidence for answer in fitting], self.coverage)
        first, second = (
            [answer.judged(threshold) for answer in half] for half in (fitting, reporting)
        )
        return Fit(threshold, None, first, second, held_out, skipped)

    def adaptive(self, labelled: bool) -> Fit:
        """The noise switch, and for `mean` the thresholds of quiet and of noisy frames."""
        defense = self.metadata.defense
        decision = defense.decision if self.coverage is None else "mean"
        used, asked, skipped = ask(
            self.proto, self.metadata, self.pictures, decision, labelled, self.seed, self.say
        )
        fitting, reporting, held_out = self._halves(asked, used)
        coverages = None
        if self.coverage is not None:
            coverages = (self.coverage, self.noisy_coverage or self.coverage)
        threshold, noise = fit_noise(
            fitting, reporting, decision, coverages, "labels" if labelled else "quiet verdicts"
        )
        limits = (threshold, noise.noisy_threshold)
        first, second = (
            [_judge(shown[0], noise.noise_switch[1], decision, limits, labelled) for shown in half]
            for half in (fitting, reporting)
        )
        return Fit(threshold, noise, first, second, held_out, skipped)

    def _halves(
        self, answers: list[T], pictures: list[Picture]
    ) -> tuple[list[T], list[T], list[Picture]]:
        """One half to fit on, the other, and the other's pictures."""
        if len(answers) < FEWEST:
            raise ExportError(
                f"only {len(answers)} of {len(self.pictures)} pictures can be used; at least "
                f"{FEWEST} are needed"
            )
        order = np.random.default_rng(self.seed).permutation(len(answers))
        half = len(answers) // 2
        fitting, reporting = order[:half], order[half:]
        return (
            [answers[index] for index in fitting],
            [answers[index] for index in reporting],
            [pictures[index] for index in sorted(reporting)],
        )


def _judge(
    shown: Shown,
    high: float,
    decision: str,
    limits: tuple[float | None, float | None],
    labelled: bool,
) -> Judged:
    """What the guard says of a picture as it is."""
    label = shown.label(high, decision, limits)
    return Judged(label != REJECTED, label == shown.truth if labelled else None)


def _classify(
    proto: onnx.ModelProto, defense: Defense, pictures: list[Picture], say: Callable[[str], None]
) -> tuple[list[Picture], list[_Answer], dict[str, str]]:
    session = Session(backbone_of(proto), "the guard's backbone")
    builder = ViewBuilder(defense)
    used, answers, skipped = [], [], {}
    for number, picture in enumerate(pictures, start=1):
        try:
            views = builder.build(read_picture(picture.path), colour="bgr")
        except (DefenseError, ExportError) as error:
            skipped[str(picture.path)] = str(error)
            continue
        (logits,) = session.run(views, LOGITS)
        used.append(picture)
        answers.append(_answer(logits, picture.truth))
        if number % 50 == 0 or number == len(pictures):
            say(f"{number} of {len(pictures)} pictures")
    return used, answers, skipped


def _answer(logits: NDArray[np.float32], truth: int | None) -> _Answer:
    (votes,) = majority_vote(logits[None]).view_labels
    voting = votes != REJECTED
    if not voting.any():
        return _Answer(-1.0, REJECTED, truth)
    mean = softmax(logits[voting]).mean(axis=0)
    return _Answer(float(mean.max()), int(mean.argmax()), truth)
