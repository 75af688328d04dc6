"""From the logits of a frame's views to its label or rejection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import _kernels
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import GuardError
from blurvote.runtime.verdict import Reason
from blurvote.runtime.vote import REJECTED

__all__ = [
    "Ballot",
    "Outcome",
    "can_still_change",
    "decide_majority",
    "decide_mean",
    "softmax",
    "threshold_in_force",
]


@dataclass(frozen=True, eq=False)
class Ballot:
    """The answers of one frame's views.

    Attributes:
        logits: `(R, C)` float32, of the R views that ran.
        view_labels: R votes; -1 where a view cast none.
        label: the label with a majority of all `views`, or -1.
        count: votes for the label that got most.
        views: number of the defence's views, run or not.
        noise: the frame's noise level in [0, 1] RGB units; None where there is no estimate.
        denoised: whether these are the views of a noisy frame.
    """

    logits: NDArray[np.float32]
    view_labels: tuple[int, ...]
    label: int
    count: int
    views: int
    noise: float | None = None
    denoised: bool = False

    @property
    def complete(self) -> bool:
        """Whether all views ran."""
        return len(self.view_labels) == self.views

    @property
    def voters(self) -> int:
        """How many of the views that ran cast a vote."""
        return sum(label != REJECTED for label in self.view_labels)


@dataclass(frozen=True)
class Outcome:
    """A decision: `label` (-1 when rejected), the reason of a rejection, and the confidence."""

    label: int
    reason: Reason | None
    confidence: float | None


def threshold_in_force(
    defense: Defense, threshold: float | None, origin: str | Path, noisy: bool = False
) -> float | None:
    """The smallest mean softmax accepted: `threshold`, or else the one calibrated into the guard.

    Args:
        defense: of the guard.
        threshold: in [0, 1], or None.
        origin: names the guard's file in errors.
        noisy: whether it is for noisy frames, which an adaptive defence judges by another one.

    Returns:
        None where the decision has no threshold.

    Raises:
        GuardError: the decision needs a threshold and has none, has one that it does not need, or
            it is out of range.
    """
    if defense.decision != "mean":
        if threshold is not None:
            raise GuardError(
                f"threshold is {threshold!r}, but {origin} decides by "
                f"{defense.decision!r}; only the decision 'mean' has a threshold"
            )
        return None
    noisy = noisy and defense.adaptive
    fitted = defense.noisy_threshold if noisy else defense.threshold
    chosen = fitted if threshold is None else threshold
    if chosen is None:
        whom = " for noisy frames" if noisy else ""
        raise GuardError(
            f"{origin} decides by 'mean' but has no threshold{whom}; fit one with "
            f"blurvote calibrate {origin} IMAGES --coverage 0.9, or pass threshold="
        )
    if not 0 <= chosen <= 1:
        raise GuardError(f"threshold is {chosen!r}; expected a number from 0 to 1")
    return chosen


def can_still_change(ballot: Ballot) -> bool:
    """Whether the views not run yet could alter the label, the rejection or its reason."""
    if ballot.label != REJECTED:
        return False
    rest = ballot.views - len(ballot.view_labels)
    if rest and 2 * (ballot.count + rest) > ballot.views:
        return True
    # Rejected whatever comes; but is it for want of agreement, or of views that vote at all?
    voters = ballot.voters
    return 2 * voters <= ballot.views < 2 * (voters + rest)


def decide_majority(ballot: Ballot) -> Outcome:
    """The majority's label.

    The confidence averages over the first two views that voted for it, so that a cascade, which
    may have run no others, reports the same number as a batch.
    """
    if ballot.label == REJECTED:
        few = 2 * ballot.voters <= ballot.views
        return Outcome(REJECTED, "invalid_views" if few else "no_majority", None)
    voted = [k for k, label in enumerate(ballot.view_labels) if label == ballot.label][:2]
    # In C++: right after an inference, with cold caches, NumPy's softmax takes 0.15 ms.
    logits = np.ascontiguousarray(ballot.logits, np.float32)
    shares = [_kernels.softmax_at(logits, k, ballot.label) for k in voted]
    return Outcome(ballot.label, None, sum(shares) / len(shares))


def decide_mean(ballot: Ballot, threshold: float) -> Outcome:
    """The label of the largest mean softmax over the views that vote, if it reaches `threshold`."""
    valid = [k for k, label in enumerate(ballot.view_labels) if label != REJECTED]
    if not valid:
        return Outcome(REJECTED, "invalid_views", None)
    mean = softmax(ballot.logits[valid]).mean(axis=0)
    label = int(mean.argmax())
    confidence = float(mean[label])
    if confidence < threshold:
        return Outcome(REJECTED, "low_confidence", confidence)
    return Outcome(label, None, confidence)


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Softmax over the last axis of `(R, C)` logits.

    Logits of +inf share the whole mass, which is the limit of the formula.
    """
    largest = logits.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        shifted = np.where(logits == largest, np.float32(0), logits - largest)
    weights = np.exp(shifted)
    normalised: NDArray[np.float32] = weights / weights.sum(axis=-1, keepdims=True)
    return normalised
