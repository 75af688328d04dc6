"""The frames that are explained, with what the deployed guard says of them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.decision import Outcome, softmax
from blurvote.runtime.errors import GuardError
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["Case", "class_index", "name_of", "open_case"]

RowName = Literal["clean", "attacked"]


@dataclass(frozen=True, eq=False)
class Case:
    """One frame and the guard's answer to it.

    Attributes:
        row: `"clean"` or `"attacked"`.
        pixels: `(H, W, 3)` uint8 RGB.
        view_labels: label of each view; -1 where a view casts none.
        confidences: softmax of that label in each view; None where there is none.
        outcome: the verdict.
        answer: the verdict's label; of a rejected frame the first view's, which is the clean one.
        target: the class that is explained.
    """

    row: RowName
    pixels: NDArray[np.uint8]
    view_labels: tuple[int, ...]
    confidences: tuple[float | None, ...]
    outcome: Outcome
    answer: int
    target: int

    @property
    def planes(self) -> NDArray[np.float32]:
        """The frame as `(3, H, W)` float32 in [0, 1]."""
        planes = np.ascontiguousarray(self.pixels.transpose(2, 0, 1), np.float32)
        return np.asarray(planes / np.float32(255), np.float32)


def open_case(
    row: RowName, pixels: NDArray[np.uint8], deployed: Deployed, target: int | None
) -> Case:
    """Asks the guard about a frame.

    Args:
        row: what it is called.
        pixels: `(H, W, 3)` uint8 RGB.
        deployed: the guard.
        target: the class to explain; None takes the answer, see `Case.answer`.

    Raises:
        DefenseError: the defence cannot serve the frame's size.
        GuardError: the guard gives no label to explain (its logits are not numbers).
    """
    logits = deployed.logits(pixels)
    labels = tuple(int(label) for label in majority_vote(logits[None]).view_labels[0])
    shares = softmax(logits)
    confidences = tuple(
        None if label == REJECTED else float(shares[view, label])
        for view, label in enumerate(labels)
    )
    outcome = deployed.decide(logits)
    answer = outcome.label if outcome.label != REJECTED else labels[0]
    if target is None and answer == REJECTED:
        raise GuardError(
            f"{deployed.path} gives no label to this frame, neither as verdict nor in the "
            f"{deployed.defense.view_name(0)} view; choose a class with --target"
        )
    explained = answer if target is None else target
    return Case(row, pixels, labels, confidences, outcome, answer, explained)


def name_of(label: int, labels: Sequence[str]) -> str:
    """A class for a reader: its name, or its index where the guard has no names."""
    if label == REJECTED:
        return "none"
    return labels[label] if labels else f"class {label}"


def class_index(text: str, labels: Sequence[str], classes: int) -> int:
    """The class that a user named, by index or by name.

    Raises:
        GuardError: there is no such class, or several of that name.
    """
    if text.strip().lstrip("-").isdecimal():
        index = int(text)
        if 0 <= index < classes:
            return index
        raise GuardError(
            f"there is no class {index}: the guard has {classes} classes, 0 to {classes - 1}"
        )
    wanted = text.strip().casefold()
    found = [index for index, label in enumerate(labels) if label.casefold() == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        raise GuardError(
            f"{len(found)} classes are called {text!r}; give the index: "
            f"{', '.join(map(str, found))}"
        )
    if not labels:
        raise GuardError(
            f"there is no class {text!r}: the guard has no class names; give an index from 0 to "
            f"{classes - 1}"
        )
    near = difflib.get_close_matches(wanted, [label.casefold() for label in labels], 3, 0.6)
    names = [next(label for label in labels if label.casefold() == name) for name in near]
    hint = f"did you mean {', '.join(map(repr, names))}?" if names else f"such as {labels[0]!r}"
    raise GuardError(f"there is no class {text!r} among the guard's {classes}; {hint}")
