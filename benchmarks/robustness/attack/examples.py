"""Adversarial frames beside what was changed, for a person to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.drawing import COLOURS, house_style, new_figure, save_figure
from blurvote.benchmarks.robustness.attack.cases import Case
from blurvote.benchmarks.robustness.attack.measure import picture_file, start_frame
from blurvote.benchmarks.robustness.dataset import Sample
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import read_image
from blurvote.runtime.vote import REJECTED

__all__ = ["draw"]

_COLUMNS = 5
_AMPLIFIED = 16  # of the change, to be seen; less where it is large
_SIDE = 180  # pixels of a thumbnail
_LETTERS = 18  # of a label

Pixels = NDArray[np.uint8]
Row = tuple[Sample, list[Pixels], list[NDArray[np.int16]]]  # frames, and what changed them


def draw(
    folder: Path, guard: Deployed, samples: Sequence[Sample], cases: Sequence[Case], seed: int
) -> None:
    """Writes `adversarial.png`: a row of frames and a row of changes per picture.

    Args:
        folder: of the guard's results, which holds the frames that were kept.
        guard: asked what it makes of them.
        samples: those pictures.
        cases: the attacks; those of the largest radius are shown, as many as fit.
        seed: of the run, which drew the noise that frames were under before they were attacked.

    Raises:
        ProviderError: matplotlib is missing.
        SinkError: the file cannot be written.
    """
    chosen = _chosen(cases)
    rows = []
    for sample in samples:
        try:
            frames = [_kept(folder, case, sample) for case in chosen]
            changes = [
                frame.astype(np.int16) - start_frame(seed, case, sample)
                for case, frame in zip(chosen, frames, strict=True)
            ]
        except SourceError:  # a picture that could not be attacked; the report lists it
            continue
        rows.append((sample, frames, changes))
    if not rows:
        return
    with house_style():
        figure = _grid(guard, chosen, rows)
    save_figure(figure, folder / "adversarial.png")


def _kept(folder: Path, case: Case, sample: Sample) -> Pixels:
    pixels = read_image(str(picture_file(folder / "adversarial", case, sample)))
    return np.ascontiguousarray(pixels[..., ::-1])


def _chosen(cases: Sequence[Case]) -> list[Case]:
    """The untouched frame, then one case per attack and threat, of the largest radius."""
    largest: dict[tuple[str, str], Case] = {}
    for case in cases:
        before = largest.get((case.attack, case.threat))
        if before is None or case.epsilon > before.epsilon:
            largest[case.attack, case.threat] = case
    found = list(largest.values())
    # Control, grey-box and adaptive runs of the strongest attacks say most.
    order = ["none", "pgd", "random", "until-confident", "square", "fgsm", "pgd-l2"]
    rank = {attack: n for n, attack in enumerate(order)}
    return sorted(found, key=lambda case: rank.get(case.attack, 9))[:_COLUMNS]


def _grid(guard: Deployed, cases: Sequence[Case], rows: Sequence[Row]) -> Any:
    # As much as leaves the largest change of all inside of black and white.
    changes = [change for _, _, each in rows for change in each]
    largest = max(int(np.abs(change).max()) for change in changes)
    times = max(1, min(_AMPLIFIED, 127 // max(1, largest)))
    figure, axes = new_figure(
        "✓ right   ✗ wrong and accepted   ○ rejected",
        1.1 + 5.0 * len(rows),
        len(cases),
        rows=2 * len(rows),
        squeeze=False,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for n, (sample, frames, changes) in enumerate(rows):
        for k, frame in enumerate(frames):
            upper, lower = axes[2 * n][k], axes[2 * n + 1][k]
            upper.imshow(_small(frame))
            text, colour = _verdict(guard, frame, sample.label)
            upper.set_title(text, fontsize=9, color=colour, loc="left")
            if n == 0:
                upper.annotate(
                    _heading(cases[k]),
                    (0, 1.42),
                    xycoords="axes fraction",
                    fontsize=11,
                    weight="bold",
                )
            if k:
                shown = (128 + times * changes[k]).clip(0, 255).astype(np.uint8)
                lower.imshow(_small(shown))
            else:
                said = f"truth:\n{_name(guard, sample.label)}\n\nbeside it:\nthe change,\n"
                # An image of the frames' size keeps the columns in line.
                lower.imshow(np.full_like(_small(frame), 255))
                lower.text(0.02, 0.95, f"{said}{times} times", va="top", transform=lower.transAxes)
    return figure


def _heading(case: Case) -> str:
    if case.attack == "none":
        return "clean"
    return "\n".join(
        [case.attack, f"{case.threat} {case.radius.strip('-')}".strip(), *case.variant]
    )


def _verdict(guard: Deployed, frame: NDArray[np.uint8], truth: int) -> tuple[str, str]:
    """What the guard and its views said, and a colour for it."""
    answer = guard.answer(frame)
    label = guard.decide(answer.logits, answer.denoised).label
    kinds = guard.defense.kinds(answer.denoised)
    adaptive = guard.defense.adaptive
    views = "\n".join(
        f"{kinds[n].name if adaptive else f'{kinds[n].passes} blurs'}: {_name(guard, int(each))}"
        for n, each in enumerate(answer.logits.argmax(axis=1)[:3])
    )
    if label == REJECTED:
        return f"○ rejected\n{views}", COLOURS[7]
    mark, colour = ("✓", COLOURS[2]) if label == truth else ("✗", COLOURS[3])
    return f"{mark} {_name(guard, label)}\n{views}", colour


def _name(guard: Deployed, label: int) -> str:
    name = guard.labels[label] if label < len(guard.labels) else f"class {label}"
    first = name.split(",")[0]
    return first if len(first) <= _LETTERS else first[: _LETTERS - 1] + "…"


def _small(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A square from the centre, as a thumbnail; the views of most guards are cut there too."""
    side = min(pixels.shape[:2])
    top, left = ((length - side) // 2 for length in pixels.shape[:2])
    pixels = pixels[top : top + side, left : left + side]
    scale = _SIDE / side
    if scale > 1:
        scale = float(int(scale))  # small pictures in whole steps, so that pixels stay pixels
    length = round(side * scale)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(pixels, (length, length), interpolation=way), np.uint8)
