"""The results of `blurvote evaluate` as pictures, in the style of `blurvote.benchmarks.drawing`.

- `noise.png`: accuracy and rejections against the sigma of Gaussian noise.
- `faults.png`: the same against the severity of every other fault, one panel each.
- `risk-coverage.png`: error rate among the accepted against the share accepted.
- `examples.png`: drawn by `blurvote.benchmarks.robustness.evaluate.examples`.

All are of the guard's own views. Without data there is no picture.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blurvote.benchmarks.drawing import (
    COLOURS,
    MARKERS,
    house_style,
    legend_below,
    new_figure,
    save_figure,
)
from blurvote.benchmarks.robustness.dataset import Sample
from blurvote.benchmarks.robustness.degradations import NAMES
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.adaptive_score import (
    BLOGS_MAJORITY,
    OWN_MAJORITY,
    OWN_MEAN,
)
from blurvote.benchmarks.robustness.evaluate.examples import examples
from blurvote.benchmarks.robustness.evaluate.lines import BLOG, LINES, line_names
from blurvote.benchmarks.robustness.evaluate.measure import Plan
from blurvote.benchmarks.robustness.evaluate.report import PUBLISHED
from blurvote.benchmarks.robustness.evaluate.score import Row

__all__ = ["draw", "figures", "representative"]

_PALETTE = (*COLOURS[:6], "black", COLOURS[7], "#7F4A1E")  # yellow is too pale for lines
_MARKS = (*MARKERS, "<")
_CURVES = {"majority": 0, "mean": 1, "undefended confidence": 3, "single": 4}
_DASHES = {"majority": "-", "mean": "--", "undefended confidence": "-.", "single": ":"}
_CURVES |= {BLOGS_MAJORITY: 0, OWN_MAJORITY: 4, OWN_MEAN: 1}
_DASHES |= {BLOGS_MAJORITY: "-", OWN_MAJORITY: "-", OWN_MEAN: "--"}
_PANELS = 8
_WIDEST = 0.36  # of a severity, that lines side by side take


def draw(
    folder: Path, rows: Sequence[Row], guard: Deployed, samples: Sequence[Sample], plan: Plan
) -> list[Path]:
    """Writes one PNG of 1600 pixels' width per picture that has data.

    Args:
        folder: where to.
        rows: of any variants; the guard's own are drawn.
        guard: answers the examples.
        samples: the pictures that were measured; four of them are shown.
        plan: that the rows were measured by.

    Returns:
        The files written.

    Raises:
        ProviderError: matplotlib is not installed.
        SinkError: a file cannot be written.
    """
    files = []
    for name, figure in figures(rows, guard, samples, plan).items():
        files.append(folder / f"{name}.png")
        save_figure(figure, files[-1])
    return files


def figures(
    rows: Sequence[Row], guard: Deployed, samples: Sequence[Sample], plan: Plan
) -> dict[str, Any]:
    """The `matplotlib.figure.Figure` of each picture that has data, by name.

    Raises:
        ProviderError: matplotlib is not installed.
    """
    own = [row for row in rows if row.variant == "own"]
    shown = [row.degradation for row in representative(own)]
    degradations = [entry for entry in plan.degradations if str(entry) in shown]
    with house_style():
        found = {
            "noise": _noise([row for row in own if _name(row) == "gaussian"], guard),
            "faults": _faults([row for row in own if _name(row) in NAMES[1:]], guard),
            "risk-coverage": _risk_coverage(representative(own), guard),
            "examples": examples(guard, samples, plan, degradations),
        }
    return {name: figure for name, figure in found.items() if figure is not None}


def representative(rows: Sequence[Row], most: int = _PANELS) -> list[Row]:
    """At most `most` rows: every fault at its middle severity, and noise at as many as fit."""
    noise = [row for row in rows if _name(row) == "gaussian"]
    faults = []
    for name in dict.fromkeys(_name(row) for row in rows if _name(row) != "gaussian"):
        of_name = sorted((row for row in rows if _name(row) == name), key=_level)
        faults.append(of_name[len(of_name) // 2])
    faults = faults[:most]
    room = min(len(noise), most - len(faults))
    if room:
        last = len(noise) - 1
        noise = [noise[round(k * last / max(1, room - 1))] for k in range(room)]
    chosen = [*(noise if room else []), *faults]
    return [row for row in rows if row in chosen]


def _name(row: Row) -> str:
    return row.degradation.partition(":")[0]


def _level(row: Row) -> float:
    return float(row.degradation.partition(":")[2])


def _noise(rows: list[Row], guard: Deployed) -> Any:
    if len(rows) < 2:
        return None
    rows = sorted(rows, key=_level)
    figure, (left, right) = new_figure(
        f"Gaussian noise, {guard.path.stem}: {rows[0].images} pictures",
        7.4,
        2,
        width_ratios=(2, 1),
    )
    levels = [_level(row) for row in rows]
    # Side by side within a level, so that no interval hides another.
    step = min(b - a for a, b in itertools.pairwise(levels)) / 18
    accuracies, rejections = line_names(rows[0], "noise")
    for name, shift in _side_by_side(accuracies, step):
        _whiskers(left, rows, name, [x + shift for x in levels])
        _blog(left, rows, name, shift)
    for name in rejections:
        _whiskers(right, rows, name, levels)
        _blog(right, rows, name, 0.0)
    for axis, title in ((left, "accuracy"), (right, "frames that the majority rejects")):
        axis.set(title=title, xlabel="sigma of the noise, frames in [0, 1]")
        axis.set_ylabel("per cent, 95 % interval")
        axis.set_xticks(levels, [f"{level:g}" for level in levels])
        axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))
        axis.grid(visible=False, axis="x")
    handles, labels = left.get_legend_handles_labels()
    for handle, label in zip(*right.get_legend_handles_labels(), strict=True):
        if label not in labels:
            handles.append(handle)
            labels.append(label)
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


def _side_by_side(names: Sequence[str], step: float) -> list[tuple[str, float]]:
    return [(name, (k - (len(names) - 1) / 2) * step) for k, name in enumerate(names)]


def _whiskers(axis: Any, rows: list[Row], name: str, places: list[float]) -> None:
    place, share_of = LINES[name]
    found = [(x, value) for x, row in zip(places, rows, strict=True) if (value := share_of(row))]
    points = [(x, value) for x, value in found if not math.isnan(value.value)]
    if not points:
        return
    values = [100 * value.value for _, value in points]
    arms = [
        [100 * (value.value - value.low) for _, value in points],
        [100 * (value.high - value.value) for _, value in points],
    ]
    axis.errorbar(
        [x for x, _ in points], values, arms, label=name, color=_PALETTE[place],
        marker=_MARKS[place], elinewidth=1.2, capsize=2.5, linewidth=1.6,
        markeredgecolor="#333333", markeredgewidth=0.5,
    )  # fmt: skip


def _blog(axis: Any, rows: list[Row], name: str, shift: float) -> None:
    """The published figures of a line as hollow marks."""
    if name not in BLOG:
        return
    at = BLOG[name]
    points = [
        (_level(row) + shift, 100 * PUBLISHED[row.degradation][at])
        for row in rows
        if row.degradation in PUBLISHED
    ]
    if not points:
        return
    place = LINES[name][0]
    axis.plot(
        *zip(*points, strict=True), linestyle="", marker=_MARKS[place], markersize=10,
        markerfacecolor="none", markeredgecolor=_PALETTE[place], markeredgewidth=1.6,
    )  # fmt: skip
    label = "hollow: Sethi (2023), ResNet50"
    if label not in axis.get_legend_handles_labels()[1]:
        axis.plot(
            [], [], linestyle="", marker="o", markersize=10, label=label,
            markerfacecolor="none", markeredgecolor="#333333", markeredgewidth=1.6,
        )  # fmt: skip


def _faults(rows: list[Row], guard: Deployed) -> Any:
    names = list(dict.fromkeys(_name(row) for row in rows))
    if not names:
        return None
    columns = min(4, len(names))
    lines = -(-len(names) // columns)
    figure, axes = new_figure(
        f"Other faults, {guard.path.stem}: {rows[0].images} pictures",
        1.9 + 3.2 * lines,
        columns,
        lines,
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, name in zip(axes.flat, names, strict=False):
        of_name = sorted((row for row in rows if _name(row) == name), key=_level)
        severities = [_level(row) for row in of_name]
        accuracies, rejections = line_names(rows[0], "faults")
        shown = [*accuracies, *rejections]
        for line, shift in _side_by_side(shown, _WIDEST / len(shown)):
            _whiskers(axis, of_name, line, [x + shift for x in severities])
        axis.set(title=name, ylim=(0, 100), xlim=(0.5, 5.5))
        axis.set_xticks(range(1, 6))
        axis.grid(visible=False, axis="x")
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    for place, axis in enumerate(axes.flat):
        if place < len(names) and place + columns >= len(names):
            axis.set_xlabel("severity")
            axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("per cent, 95 % interval")
    legend_below(figure, axes[0, 0], columns=2)
    return figure


def _risk_coverage(rows: list[Row], guard: Deployed) -> Any:
    if not rows:
        return None
    columns = min(4, len(rows)) if len(rows) != 3 else 3
    lines = -(-len(rows) // columns)
    figure, axes = new_figure(
        f"Error rate among accepted frames, {guard.path.stem}: {rows[0].images} pictures",
        2.0 + 3.6 * lines,
        columns,
        lines,
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for axis, row in zip(axes.flat, rows, strict=False):
        for name, curve in row.curves.items():
            if not len(curve.coverage):
                continue
            dash, colour = _DASHES.get(name, "-"), COLOURS[_CURVES.get(name, 7)]
            axis.plot(
                100 * curve.coverage, 100 * curve.risk, dash, color=colour, label=name,
                linewidth=1.8,
            )  # fmt: skip
            if name.endswith("majority"):  # it ends where the vote rejects the rest
                axis.plot(
                    100 * curve.coverage[-1:],
                    100 * curve.risk[-1:],
                    "o",
                    color=colour,
                    zorder=5,
                    clip_on=False,
                )
        # The label above the panel, where no curve runs.
        areas = [f"{1e3 * curve.area:.0f}" for curve in row.curves.values()]
        axis.set_title(f"{row.degradation}\narea {' / '.join(areas)}", fontsize=11.5)
        axis.set_xlim(0, 101)
    for axis in list(axes.flat)[len(rows) :]:
        axis.set_axis_off()
    for place, axis in enumerate(axes.flat):
        if place < len(rows) and place + columns >= len(rows):
            axis.set_xlabel("frames accepted, per cent")
            axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("wrong among them, per cent")
        axis.set_ylim(0, min(103.0, max(1.0, axis.get_ylim()[1])))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    title = "areas x 1000 in this order, smaller is better; the dot is the majority's own coverage"
    figure.legend(handles, labels, loc="outside lower left", ncols=4, title=title, alignment="left")
    return figure
