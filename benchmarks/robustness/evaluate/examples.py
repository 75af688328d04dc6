"""A few pictures under a few faults, with what every view and the vote say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.drawing import COLOURS, WIDTH, new_figure
from blurvote.benchmarks.robustness.dataset import Sample, is_grey
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.measure import (
    Plan,
    all_logits,
    frame_of,
    passes_measured,
)
from blurvote.benchmarks.robustness.evaluate.measure import answer as adaptive_answer
from blurvote.runtime.demo.pen import to_u8
from blurvote.runtime.errors import DefenseError, SourceError
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["Example", "answer", "examples"]

_PICTURES = 4
_COLUMNS = 5
_SIDE = 160  # pixels of a thumbnail; few and of 6 bits, since noise does not compress
_LEFT, _TOP, _GAP, _LINE = 0.45, 0.8, 0.12, 0.2  # inches: margins, between pictures, of text
_VIEWS = {0: "clean", 1: "single", 2: "double"}
_RIGHT, _WRONG, _NONE = "✓", "✗", "○"  # with the colours, for who cannot tell them apart


@dataclass(frozen=True, eq=False)
class Example:
    """One frame and what was said of it.

    Attributes:
        pixels: `(H, W, 3)` uint8 RGB, degraded.
        views: label of each view measured, or of an adaptive guard of each that judged the frame,
            by name; -1 where it has none.
        label: the majority's, or -1.
    """

    pixels: NDArray[np.uint8]
    views: dict[str, int]
    label: int


def answer(guard: Deployed, sample: Sample, degradation: Degradation, plan: Plan) -> Example:
    """The same frame as was measured, and the guard's answer to it.

    Raises:
        SourceError: it cannot be read.
        DefenseError: it is too small.
    """
    random = degradation.generator(plan.seed, sample.index)
    frame = degradation.apply(frame_of(sample, plan), random)
    if guard.defense.adaptive:
        said = adaptive_answer(guard, frame)
        logits = used = said.logits
        names = [kind.name for kind in guard.defense.kinds(said.denoised)]
    else:
        passes = passes_measured(guard.defense)
        logits = all_logits(guard, frame, guard.defense)
        used = logits[[passes.index(count) for count in guard.defense.passes]]
        names = [_VIEWS.get(count, f"{count}-blur") for count in passes]
    each = majority_vote(logits[None]).view_labels[0]
    pixels = frame if frame.dtype == np.uint8 else to_u8(frame * np.float32(255))
    return Example(
        np.asarray(pixels, np.uint8),
        {name: int(label) for name, label in zip(names, each, strict=True)},
        int(majority_vote(used[None]).labels[0]),
    )


def examples(
    guard: Deployed, samples: Sequence[Sample], plan: Plan, degradations: Sequence[Degradation]
) -> Any:
    """A grid of pictures, drawn by the plan's seed, by degradations; None without pictures."""
    degradations = _spread(degradations)
    rows = []
    for n in np.random.default_rng([plan.seed, 5]).permutation(len(samples)):
        sample = samples[n]
        try:
            if plan.colour_only and is_grey(frame_of(sample, plan)):
                continue
            rows.append((sample, [answer(guard, sample, one, plan) for one in degradations]))
        except (SourceError, DefenseError):  # listed in the report
            continue
        if len(rows) == _PICTURES:
            break
    if not rows or not degradations:
        return None
    side = min(3.0, (WIDTH - _LEFT) / len(degradations) - _GAP)
    line = side + _LINE * (len(rows[0][1][0].views) + 1) + 2 * _GAP
    height = _TOP + line * len(rows)
    figure, axes = new_figure(
        f"What {guard.path.stem} says of {len(rows)} pictures, drawn by the seed",
        height,
        len(degradations),
        len(rows),
        squeeze=False,
    )
    # Placed by hand: an engine would make room for the longest label by shrinking the pictures.
    figure.set_layout_engine("none")
    longest = max(len(name) for _, shown in rows for one in shown for name in one.views)
    letters = max(6, int(side * 72 / 5.6) - len("x : ") - longest)
    for k, (sample, shown) in enumerate(rows):
        for n, (degradation, example) in enumerate(zip(degradations, shown, strict=True)):
            left, bottom = _LEFT + n * (side + _GAP), height - _TOP - side - k * line
            box = (left / WIDTH, bottom / height, side / WIDTH, side / height)
            axes[k, n].set_position(box)
            _panel(axes[k, n], example, sample.label, guard.labels, letters)
            if k == 0:
                axes[k, n].set_title(str(degradation))
        axes[k, 0].set_ylabel(f"is: {_text(sample.label, guard.labels, 30)}", fontsize=11)
    return figure


def _spread(degradations: Sequence[Degradation]) -> list[Degradation]:
    """At most `_COLUMNS`, evenly from the first to the last."""
    if len(degradations) <= _COLUMNS:
        return list(degradations)
    last = len(degradations) - 1
    return [degradations[round(k * last / (_COLUMNS - 1))] for k in range(_COLUMNS)]


def _panel(axis: Any, example: Example, truth: int, labels: Sequence[str], letters: int) -> None:
    height, width = example.pixels.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = example.pixels[top : top + side, left : left + side]
    thumbnail = cv2.resize(square, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    axis.imshow(np.asarray(thumbnail, np.uint8) & 0xFC, interpolation="nearest")
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set(visible=True, color=_colour(example.label, truth), linewidth=3)
        # The frame says it without colour, too: whole, dashed where wrong, dotted where rejected.
        if example.label != truth:
            spine.set_linestyle(":" if example.label == REJECTED else "--")
    for k, (name, label) in enumerate([*example.views.items(), ("vote", example.label)]):
        rejected = "rejected" if name == "vote" else "no vote"
        said = rejected if label == REJECTED else _text(label, labels, letters)
        axis.annotate(
            f"{_mark(label, truth)} {name}: {said}", (0, 0), (0, -6 - 72 * _LINE * k),
            xycoords="axes fraction", textcoords="offset points", va="top", fontsize=10,
            color=_colour(label, truth), weight="bold" if name == "vote" else "normal",
        )  # fmt: skip


def _mark(label: int, truth: int) -> str:
    if label == REJECTED:
        return _NONE
    return _RIGHT if label == truth else _WRONG


def _colour(label: int, truth: int) -> str:
    if label == REJECTED:
        return COLOURS[7]
    return "#00684B" if label == truth else "#B04A00"  # palette's green and red, darker for text


def _text(label: int, labels: Sequence[str], letters: int) -> str:
    text = labels[label] if labels else f"class {label}"
    return text if len(text) <= letters else text[: letters - 1] + "…"
