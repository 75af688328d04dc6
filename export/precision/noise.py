"""The verdicts of two precisions on the same noisy pictures, and how they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.export.precision.statistics import Gap, paired_gap
from blurvote.runtime.decision import Ballot, decide_mean
from blurvote.runtime.defense import Defense
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["SIGMAS", "Answers", "NoiseRow", "noise_row"]

SIGMAS = (0.0, 0.125, 0.25, 0.375)
"""Standard deviations of the noise, of values in [0, 1]; frames are rounded back to 8 bits."""

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Answers:
    """What one precision says about N pictures: `(N,)` labels, -1 where rejected, and `(N, V)`."""

    labels: NDArray[np.int64]
    view_labels: NDArray[np.int64]

    @classmethod
    def of(cls, logits: NDArray[np.float32], defense: Defense) -> Answers:
        """What the defence decides on `(N, V, C)` logits; `mean` without a threshold takes all."""
        votes = majority_vote(logits)
        if defense.decision != "mean":
            return cls(votes.labels, votes.view_labels)
        ballots = [
            Ballot(each, tuple(map(int, labels)), REJECTED, 0, len(labels))
            for each, labels in zip(logits, votes.view_labels, strict=True)
        ]
        decided = [decide_mean(ballot, defense.threshold or 0.0).label for ballot in ballots]
        return cls(np.array(decided, np.int64), votes.view_labels)


@dataclass(frozen=True)
class NoiseRow:
    """Both precisions at one strength of noise; parts in [0, 1], gaps with 95 % intervals.

    Accuracies are None where the classes of the pictures are not known.

    Attributes:
        sigma: of the noise.
        pictures, known: number of pictures, and of those whose class is known.
        accuracy: of the accepted, fp32 and the lower precision.
        accuracy_gap: the second minus the first.
        first_view, first_view_gap: the same of the first view alone, over all pictures.
        rejected, rejected_gap: parts rejected, over all pictures.
        contradicted: pictures that both accept, but as different labels.
    """

    sigma: float
    pictures: int
    known: int
    accuracy: tuple[float, float] | None
    accuracy_gap: Gap | None
    first_view: tuple[float, float] | None
    first_view_gap: Gap | None
    rejected: tuple[float, float]
    rejected_gap: Gap
    contradicted: float


def noise_row(
    sigma: float, truth: Sequence[int | None], full: Answers, low: Answers, seed: int
) -> NoiseRow:
    """The row of one strength of noise."""
    everything = np.ones(len(truth), bool)
    kept = [answers.labels != REJECTED for answers in (full, low)]
    rejected_gap = paired_gap(~kept[1], everything, ~kept[0], everything, seed)
    known = np.array([label is not None for label in truth])
    accuracy: dict[str, Any] = dict.fromkeys(
        ("accuracy", "accuracy_gap", "first_view", "first_view_gap")
    )
    if known.any():
        classes = np.array([-2 if label is None else label for label in truth])
        right = [answers.labels == classes for answers in (full, low)]
        first = [answers.view_labels[:, 0] == classes for answers in (full, low)]
        accepted = [known & keeps for keeps in kept]
        accuracy = {
            "accuracy": tuple(_part(r, a) for r, a in zip(right, accepted, strict=True)),
            "accuracy_gap": paired_gap(right[1], accepted[1], right[0], accepted[0], seed),
            "first_view": tuple(_part(values, known) for values in first),
            "first_view_gap": paired_gap(first[1], known, first[0], known, seed),
        }
    return NoiseRow(
        sigma=sigma,
        pictures=len(truth),
        known=int(known.sum()),
        rejected=(_part(~kept[0], everything), _part(~kept[1], everything)),
        rejected_gap=rejected_gap,
        contradicted=float(np.mean(kept[0] & kept[1] & (full.labels != low.labels))),
        **accuracy,
    )


def _part(values: Bools, among: Bools) -> float:
    return float(values[among].mean()) if among.any() else float("nan")
