"""The results of `blurvote bench` as pictures, in the style of `blurvote.benchmarks.drawing`.

Bars begin at zero. Without data there is no picture.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blurvote.benchmarks.drawing import (
    COLOURS,
    HATCHES,
    house_style,
    legend_below,
    new_figure,
    save_figure,
    styled,
)
from blurvote.benchmarks.latency.formatting import number
from blurvote.benchmarks.latency.report_tables import STAGES
from blurvote.benchmarks.results import Results, Row

__all__ = ["draw", "figures"]

_FLOOR = "reading the frame once"
TICKS = (0, 50, 75, 90, 95, 99, 99.9)  # percentiles that are marked and named


def draw(results: Results, folder: str | Path) -> dict[str, str]:
    """Writes one PNG of 1600 pixels' width per picture that has data.

    Returns:
        The name of each picture to its file's name in `folder`.

    Raises:
        ProviderError: matplotlib is not installed.
        SinkError: a file cannot be written.
    """
    drawn = {}
    for name, figure in figures(results).items():
        file = Path(folder) / f"{name}.png"
        save_figure(figure, file)
        drawn[name] = file.name
    return drawn


def figures(results: Results) -> dict[str, Any]:
    """The `matplotlib.figure.Figure` of each picture that has data, by name.

    Raises:
        ProviderError: matplotlib is not installed.
    """
    pictures: dict[str, Callable[[Results], Any]] = {
        "stages": _stages,
        "distribution": _distribution,
        "cameras": _cameras,
        "sizes": _sizes,
        "peers": _peers,
    }
    with house_style():
        found = {name: picture(results) for name, picture in pictures.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _stages(results: Results) -> Any:
    case, rows = _first_case([r for r in results.section("verdict") if r.detail.get("stage_ms")])
    if not rows:
        return None
    figure, axes = new_figure(
        f"Where the time of a verdict goes, {case}", 2.2 + 0.55 * len(rows), 2, sharey=True
    )
    panels = (
        ("all stages", STAGES),
        ("without inference", [s for s in STAGES if s != "inference"]),
    )
    for axis, (title, stages) in zip(axes, panels, strict=True):
        left = [0.0] * len(rows)
        for stage in stages:
            k = STAGES.index(stage)
            widths = [row.detail["stage_ms"].get(stage, 0.0) for row in rows]
            if not any(widths):  # on the CPU nothing is copied
                continue
            axis.barh(
                range(len(rows)), widths, 0.62, left, color=COLOURS[k], hatch=HATCHES[k],
                edgecolor="white", linewidth=0.5, label=stage,
            )  # fmt: skip
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for y, total in enumerate(left):
            _label(axis, total, y, f"{number(total)} ms")
        axis.set(title=title, xlabel="median, ms", xlim=(0, 1.4 * max(left) or 1))
        axis.grid(visible=False, axis="y")
    axes[0].set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes[0].invert_yaxis()
    legend_below(figure, axes[0])
    return figure


def _distribution(results: Results) -> Any:
    """Percentiles on an axis that stretches the tail tenfold with each nine."""
    found = results.section("tail") or results.section("verdict")
    rows = [row for row in found if row.detail.get("distribution") and not row.detail.get("peer")]
    case, rows = _first_case(rows)
    if not rows:
        return None
    figure, axis = new_figure(f"How long the slowest calls take, {case}", 6.2)
    for row, style in styled(rows):
        values = row.detail["distribution"]
        shares = [p for p in range(100) if row.timing.calls * (100 - p) >= 100]
        x = [-math.log10(1 - p / 100) for p in shares]
        y = [values[p] for p in shares]
        marks = [k for k, p in enumerate(shares) if p in TICKS]
        if row.timing.p999 is not None:
            marks.append(len(x))
            x.append(3.0)
            y.append(row.timing.p999)
        axis.plot(x, y, markevery=marks, label=_name(row), **style)
    ticks = [p for p in TICKS if -math.log10(1 - p / 100) <= axis.get_xlim()[1]]
    axis.set_xticks([-math.log10(1 - p / 100) for p in ticks], [f"{p} %" for p in ticks])
    axis.set(
        xlabel="share of calls that took at most this long", ylabel="latency, ms", ylim=(0, None)
    )
    legend_below(figure, axis)
    return figure


def _cameras(results: Results) -> Any:
    # What the session does alone is counted in views, so it has no place beside frames.
    rows = [row for row in results.section("cameras") if not row.case.startswith("session")]
    if not rows:
        return None
    figure, (rate, delay) = new_figure("Several cameras on one machine", 5.6, 2)
    for case, style in styled(dict.fromkeys(row.case for row in rows)):
        of_case = sorted((row for row in rows if row.case == case), key=_cameras_of)
        counts = [_cameras_of(row) for row in of_case]
        rate.plot(counts, [row.frames_per_second for row in of_case], label=case, **style)
        delay.plot(counts, [row.timing.median for row in of_case], **style)
        hollow = {**style, "linestyle": "--", "linewidth": 1, "markerfacecolor": "white"}
        delay.plot(counts, [row.timing.p90 for row in of_case], markersize=5, **hollow)
    for axis, title, label in (
        (rate, "frames classified", "frames per second"),
        (delay, "latency: median, and p90 dashed", "ms until every camera has a verdict"),
    ):
        axis.set(title=title, xlabel="cameras", ylabel=label, ylim=(0, None))
        axis.set_xticks(sorted({_cameras_of(row) for row in rows}))
    legend_below(figure, rate)
    return figure


def _sizes(results: Results) -> Any:
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in results.section("sizes"):
        lines.setdefault(row.case, []).append((_megapixels(row.way), row.timing.median))
    if not lines:
        return None
    floor = results.facts.get("growth", {}).get("pixels", {}).get("floor_points")
    if floor:
        lines[_FLOOR] = [(pixels / 1e6, ms) for pixels, ms in floor]
    figure, axis = new_figure("Time against frame size", 6.2)
    for (name, points), style in styled(lines.items()):
        if name == _FLOOR:
            style |= {"linestyle": ":", "color": "black"}
        axis.plot(*zip(*sorted(points), strict=True), label=name, **style)
    ways = dict.fromkeys(row.way for row in results.section("sizes"))
    axis.set(xscale="log", yscale="log", xlabel="frame, width x height in pixels (megapixels)")
    values = [ms for points in lines.values() for _, ms in points]
    decades = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)) + 1e-9)
    axis.set(ylabel="median, ms", ylim=(10.0 ** decades[0], 10.0 ** decades[1]))
    axis.set_xticks([_megapixels(w) for w in ways], [f"{w}\n({_megapixels(w):.2g})" for w in ways])
    axis.tick_params(axis="x", labelsize=10)  # small frames lie close together
    axis.minorticks_off()
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    legend_below(figure, axis)
    return figure


def _peers(results: Results) -> Any:
    rows = results.section("verdict")
    case, _ = _first_case([row for row in rows if row.detail.get("peer")])
    if not case:
        return None
    rows = sorted((row for row in rows if row.case == case), key=lambda row: row.timing.median)
    figure, axis = new_figure(f"A verdict beside its peers, {case}", 1.8 + 0.55 * len(rows))
    named = set()
    for y, row in enumerate(rows):
        time, (kind, name) = row.timing, _kind(row)
        whisker = [[time.median - time.p25], [time.p75 - time.median]]
        axis.barh(
            y, time.median, 0.62, xerr=whisker, capsize=4, edgecolor="white",
            color=COLOURS[kind], hatch=HATCHES[kind], label=None if name in named else name,
        )  # fmt: skip
        named.add(name)
        times = f"  ({number(row.ratio.median)}x)" if row.ratio else ""
        _label(axis, time.p75, y, f"{number(time.median)} ms{times}")
    baseline = next((row.baseline for row in rows if row.baseline), "the baseline")
    axis.set_yticks(range(len(rows)), [_name(row) for row in rows])
    axis.set(
        xlabel=f"median, ms; whiskers p25 to p75; in brackets: times {baseline}",
        xlim=(0, 1.36 * max(row.timing.p75 for row in rows)),
    )
    axis.invert_yaxis()
    axis.grid(visible=False, axis="y")
    legend_below(figure, axis)
    return figure


def _kind(row: Row) -> tuple[int, str]:
    """The index of a bar's colour and hatch, and what they stand for."""
    if row.detail.get("peer"):
        return 1, "peer"
    return (2, "baseline") if row.way == row.baseline else (0, "blurvote")


def _name(row: Row) -> str:
    name = row.way if row.timing.stable else f"{row.way} (unstable)"
    return textwrap.fill(name, 32)


def _label(axis: Any, x: float, y: float, text: str) -> None:
    """Beside the end of a bar, on white, so that no grid line crosses it."""
    box = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"}
    axis.annotate(text, (x, y), (10, 0), textcoords="offset points", va="center", bbox=box)


def _first_case(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """The rows of the case that comes first, which is the one a run was made for."""
    case = rows[0].case if rows else ""
    return case, [row for row in rows if row.case == case]


def _cameras_of(row: Row) -> int:
    return int(row.way.split()[0])


def _megapixels(size: str) -> float:
    width, height = size.split("x")
    return int(width) * int(height) / 1e6
