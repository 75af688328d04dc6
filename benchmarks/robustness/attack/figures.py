"""The attack table as pictures, in the style of `blurvote.benchmarks.drawing`.

- `attack.png`: success of each attack on the guard, beside the undefended model accepting as many.
- `epsilon.png`: success against the radius, where more than one was run.
- `steps.png`: success against the number of steps.
- `comparison.png`: several guards, and how far each had to be changed.
- `adversarial.png`: drawn by `blurvote.benchmarks.robustness.attack.examples`.

Each is left out where there is nothing to draw. The table has everything; where it is long, the
pictures show the strongest attack of each threat model, radius and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from blurvote.benchmarks.drawing import (
    COLOURS,
    HATCHES,
    MARKERS,
    house_style,
    legend_below,
    new_figure,
    save_figure,
)
from blurvote.benchmarks.robustness.attack.cases import SWITCH
from blurvote.benchmarks.robustness.attack.choice import strongest
from blurvote.benchmarks.robustness.attack.score import Row
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["draw", "draw_comparison", "last_rows"]

_MOST = 16  # groups of bars in one picture
_MOST_COMPARED = 8
_THREATS = ("control", "grey-box", "transfer", "adaptive", "black-box")
_BARE = "undefended, same coverage"


def draw(folder: Path, rows: Sequence[Row]) -> None:
    """Writes one guard's pictures.

    Raises:
        ProviderError: matplotlib is missing.
        SinkError: a file cannot be written.
    """
    quiet = [row for row in rows if not row.noise and row.attack not in SWITCH]
    with house_style():
        pictures = {
            "attack": _attacks(_shown(last_rows(rows), _MOST)),
            "epsilon": _against_radius(last_rows(quiet)),
            "steps": _against_steps(quiet),
        }
    for name, figure in pictures.items():
        if figure is not None:
            save_figure(figure, folder / f"{name}.png")


def draw_comparison(folder: Path, guards: Mapping[str, Sequence[Row]]) -> None:
    """Writes the picture of several guards.

    Raises:
        ProviderError: matplotlib is missing.
        SinkError: a file cannot be written.
    """
    with house_style():
        figure = _compared(guards)
    if figure is not None:
        save_figure(figure, folder / "comparison.png")


def last_rows(rows: Sequence[Row]) -> list[Row]:
    """Each case after all its steps."""
    found = {row.case: row for row in rows}  # rows come in the order of their steps
    return list(found.values())


def _shown(rows: Sequence[Row], most: int) -> list[Row]:
    """All if they are few, else the strongest of each threat model and radius; by noise."""
    if len(rows) > most:
        rows = strongest(
            rows, lambda row: (row.threat, row.radius, row.noise), lambda row: row.fooled.value
        )
    return sorted(rows, key=lambda row: row.noise)


def _attacks(rows: Sequence[Row]) -> Any:
    """Two bars per case: fooled with the guard, fooled without it."""
    figure, axis = new_figure("Wrong and accepted under attack", max(3.5, 1.6 + 0.45 * len(rows)))
    series = {
        "guard": [row.fooled for row in rows],
        _BARE: [row.confidence_fooled for row in rows],
    }
    _bars(axis, [_name(row) for row in rows], series)
    axis.set_xlabel("per cent of pictures, with 95 % intervals")
    axis.set_xlim(0, 100)
    legend_below(figure, axis, 3)
    return figure


def _bars(axis: Any, names: Sequence[str], series: Mapping[str, Sequence[Share]]) -> None:
    """Horizontal bars in groups, the first group on top."""
    height = 0.8 / len(series)
    for k, (label, values) in enumerate(series.items()):
        places = [n + (k - (len(series) - 1) / 2) * height for n in range(len(names))]
        axis.barh(
            places,
            [100 * value.value for value in values],
            height * 0.9,
            label=label,
            color=COLOURS[k],
            hatch=HATCHES[k],
            edgecolor="white",
            xerr=_whiskers(values),
            error_kw={"elinewidth": 1.0, "ecolor": "#333333"},
        )
    _rows_of(axis, names)


def _rows_of(axis: Any, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(False, axis="y")


def _whiskers(values: Sequence[Share]) -> list[list[float]]:
    return [
        [100 * max(0.0, value.value - value.low) for value in values],
        [100 * max(0.0, value.high - value.value) for value in values],
    ]


def _against_radius(rows: Sequence[Row]) -> Any:
    """Success against epsilon, a line per threat model; L-inf only, one unit on the axis."""
    bounded = [row for row in rows if row.epsilon and row.attack != "pgd-l2"]
    radii = sorted({row.epsilon for row in bounded})
    lines = []
    for k, threat in enumerate(_THREATS):
        mine = [row for row in bounded if row.threat == threat]
        # One attack all along the line, the same for all threat models where it was run.
        attacks = dict.fromkeys(row.attack for row in mine)
        attack = "pgd" if "pgd" in attacks else next(iter(attacks), "")
        of_attack = [row for row in mine if row.attack == attack]
        line = strongest(of_attack, lambda row: row.epsilon, lambda row: row.fooled.value)
        if len(line) > 1:
            line.sort(key=lambda row: row.epsilon)
            lines.append((k, f"{threat} ({attack})", line))
    if not lines:
        return None
    figure, axis = new_figure("Success against epsilon: the guard wrong and accepted", 5.5)
    apart = 0.008 * (radii[-1] - radii[0]) * 255  # so that intervals do not hide each other
    for k, name, line in lines:
        axis.errorbar(
            [255 * row.epsilon + (k - 2) * apart for row in line],
            [100 * row.fooled.value for row in line],
            yerr=_whiskers([row.fooled for row in line]),
            label=name,
            color=COLOURS[k],
            marker=MARKERS[k],
            elinewidth=1,
            capsize=3,
        )
        if line[0].threat == "grey-box":
            axis.plot(
                [255 * row.epsilon for row in line],
                [100 * row.confidence_fooled.value for row in line],
                "--",
                label=f"{name}, {_BARE}",
                color=COLOURS[7],
            )
    axis.set_xticks([255 * radius for radius in radii], [f"{255 * r:g}" for r in radii])
    axis.set_xlabel("epsilon, grey levels of 255 (L-inf)")
    axis.set_ylabel("per cent of pictures")
    axis.set_ylim(-2, 102)
    legend_below(figure, axis, 2)
    return figure


def _against_steps(rows: Sequence[Row]) -> Any:
    """Success against steps: PGD, or whatever was iterated in its place, at two L-inf radii."""
    iterated = [row for row in rows if row.steps and row.epsilon and row.attack != "pgd-l2"]
    attacks = {row.attack for row in iterated}
    attack = next((name for name in ("pgd", "sgd") if name in attacks), "")
    mine = [row for row in iterated if row.attack == attack]
    radii = sorted({row.epsilon for row in mine})
    radii = [radii[0], radii[-1]] if len(radii) > 1 else radii
    lines: dict[str, list[Row]] = {}
    for row in mine:
        if row.epsilon in radii:
            lines.setdefault(row.case, []).append(row)
    lines = {name: line for name, line in lines.items() if len(line) > 1}
    if not lines:
        return None
    figure, axis = new_figure("Success against the number of steps", 5.5)
    for n, (name, line) in enumerate(lines.items()):
        k = _THREATS.index(line[0].threat)
        axis.plot(
            [row.steps for row in line],
            [100 * row.fooled.value for row in line],
            "--" if line[0].epsilon == radii[0] and len(radii) > 1 else "-",
            label=name,
            color=COLOURS[k],
            marker=MARKERS[n % len(MARKERS)],
        )
    axis.set_xscale("log")
    ticks = sorted({row.steps for line in lines.values() for row in line})
    axis.set_xticks(ticks, [str(tick) for tick in ticks])
    axis.minorticks_off()
    axis.set_xlabel("steps")
    axis.set_ylabel("guard wrong and accepted, per cent")
    axis.set_ylim(-2, 102)
    legend_below(figure, axis, 2)
    return figure


def _compared(guards: Mapping[str, Sequence[Row]]) -> Any:
    """A panel per measure: success, change per pixel, pixels beyond each of the two thresholds."""
    last = {guard: {row.case: row for row in last_rows(rows)} for guard, rows in guards.items()}
    every = [row for rows in last.values() for row in rows.values() if row.attack != "none"]
    first = list({row.case: row for row in every}.values())  # a row for each name
    shown = _shown(first, _MOST_COMPARED)
    names = [row.case for row in shown][:_MOST]
    if not names:
        return None
    height = 1.8 + len(names) * (0.15 + 0.17 * len(guards))
    figure, axes = new_figure("Which is harder to fool?", max(4.0, height), 4, sharey=True)
    # The source counts from 10 % on grey pictures, from 1 % on coloured ones.
    panels: tuple[tuple[str, Callable[[Row], float]], ...] = (
        ("wrong, accepted, %", lambda row: 100 * row.fooled.value),
        ("change per pixel", lambda row: row.per_pixel),
        ("pixels > 1 %, %", lambda row: 100 * row.changed_1),
        ("pixels > 10 %, %", lambda row: 100 * row.changed_10),
    )
    bar = 0.8 / len(guards)
    for axis, (title, value) in zip(axes, panels, strict=True):
        for k, (guard, rows) in enumerate(last.items()):
            places = [n + (k - (len(guards) - 1) / 2) * bar for n in range(len(names))]
            axis.barh(
                places,
                [value(rows[name]) if name in rows else 0.0 for name in names],
                bar * 0.9,
                label=guard,
                color=COLOURS[k % len(COLOURS)],
                hatch=HATCHES[k % len(HATCHES)],
                edgecolor="white",
            )
        axis.set_title(title)
        _rows_of(axis, names)
    axes[0].set_xlim(0, 100)
    legend_below(figure, axes[0], min(3, len(guards)))
    return figure


def _name(row: Row) -> str:
    if row.attack != "none":
        return row.case
    return f"no attack {row.variant}" if row.noise else "clean pictures"
