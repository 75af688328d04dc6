"""Whether a twin answers as its guard does; an attack or explanation of another model says nothing.

Labels are compared wherever the guard is sure of them: in a near tie, rounding alone may decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.runtime.errors import GuardError

__all__ = ["LIKENESS", "TOLERANCE", "TwinCheck", "check_twin", "require_likeness"]

# Of the range of a view's logits. Float32 sums in another order differ by 1e-6 of it, a whole
# network's by 1e-5; another model differs by tenths.
TOLERANCE = 1e-3
LIKENESS = 0.8  # of labels: what rounding to int8 may cost, and another model does not reach


@dataclass(frozen=True)
class TwinCheck:
    """How a twin's answers compare with the deployed guard's.

    Attributes:
        frames: frames that both were asked.
        views: views of all those frames.
        compared: of them, views whose two largest logits lie further apart than the tolerance.
        agreeing: of those compared, views with the same label.
        largest_logit_difference: largest absolute difference of any logit.
        logit_range: largest logit less smallest, of the view where it is largest.
        quantised: the guard computes in integers, so that its float twin may differ.
    """

    frames: int
    views: int
    compared: int
    agreeing: int
    largest_logit_difference: float
    logit_range: float
    quantised: bool

    def __add__(self, other: TwinCheck) -> TwinCheck:
        """Both checks as one, of frames that were asked in turn."""
        return TwinCheck(
            self.frames + other.frames,
            self.views + other.views,
            self.compared + other.compared,
            self.agreeing + other.agreeing,
            max(self.largest_logit_difference, other.largest_logit_difference),
            max(self.logit_range, other.logit_range),
            self.quantised or other.quantised,
        )

    def in_words(self) -> str:
        """One sentence for a reader."""
        sentence = (
            f"the twin's label equals the guard's in {self.agreeing} of {self.compared} views; "
            f"largest difference of a logit {self.largest_logit_difference:.2g}"
        )
        if self.quantised:
            sentence += "; the guard is quantised, so its float twin only approximates it"
        return sentence


def check_twin(
    twin: Twin,
    deployed: Deployed,
    frames: Iterable[NDArray[np.uint8]],
    tolerance: float = TOLERANCE,
) -> TwinCheck:
    """Asks both about the same frames.

    Args:
        twin: what gradients are taken of.
        deployed: the guard itself.
        frames: `(H, W, 3)` uint8 RGB each, of any sizes.
        tolerance: a view is compared when its two largest logits differ by more than this share
            of the range of its logits.

    Raises:
        GuardError: the numbers of classes differ, or a label of a float guard differs.
        DefenseError: the defence cannot serve a frame's size.
    """
    import torch

    if twin.classes != deployed.classes:
        raise GuardError(
            f"{twin.path} has {twin.classes} classes and {deployed.path} has {deployed.classes}; "
            f"the twin must be the same model as the guard, exported with --input views in float32"
        )
    check = TwinCheck(0, 0, 0, 0, 0.0, 0.0, deployed.quantised)
    for pixels in frames:
        planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]
        with torch.no_grad():
            logits = twin.logits(planes.to(twin.device).float() / 255.0)[0].cpu().numpy()
        check += _compare(logits, deployed.logits(pixels), tolerance, check.quantised)
    if check.agreeing < check.compared and not check.quantised:
        raise GuardError(
            f"{twin.path} is no twin of {deployed.path}: it names another class in "
            f"{check.compared - check.agreeing} of {check.compared} views of {check.frames} frames "
            f"(largest difference of a logit {check.largest_logit_difference:.3g}, tolerance "
            f"{tolerance:g} of their range); export the same model with --input views and pass it "
            f"as --twin"
        )
    return check


def require_likeness(check: TwinCheck, twin: Twin, deployed: Deployed) -> list[str]:
    """Refuses to attack through a twin that cannot stand in; returns what is to be known of it.

    A float twin has passed `check_twin` label by label. A quantised guard's need not answer alike
    everywhere, but the fp32 export of another model must not pass for it either.

    Raises:
        GuardError: no view could be compared, or fewer than four in five labels agree.
    """
    if not check.compared:
        raise GuardError(
            f"{deployed.path} and its twin {twin.path} could not be compared on any picture; check "
            "that the pictures can be read and are no smaller than the guard takes"
        )
    share = check.agreeing / check.compared
    if share < LIKENESS:
        raise GuardError(
            f"{twin.path} is no twin of {deployed.path}: it gives the same label in "
            f"{check.agreeing} of {check.compared} views; pass the fp32 export of the same model"
        )
    if share < 0.95:
        return [
            f"The twin {twin.path.name} gives the guard's label in only {check.agreeing} of "
            f"{check.compared} views: an attack through it is weaker than one on the guard itself."
        ]
    return []


def _compare(
    twin: NDArray[np.float32], guard: NDArray[np.float32], tolerance: float, quantised: bool
) -> TwinCheck:
    """One frame's logits `(V, C)`."""
    top = np.sort(guard, axis=1)
    spread = top[:, -1] - top[:, 0]
    margin = top[:, -1] - top[:, -2] if guard.shape[1] > 1 else spread
    sure = margin > tolerance * spread
    same = twin.argmax(axis=1) == guard.argmax(axis=1)
    return TwinCheck(
        frames=1,
        views=len(guard),
        compared=int(sure.sum()),
        agreeing=int((sure & same).sum()),
        largest_logit_difference=float(np.abs(twin - guard).max()),
        logit_range=float(spread.max()),
        quantised=quantised,
    )
