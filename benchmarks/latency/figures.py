"""The results of `blurvote bench` as pictures, each readable at the width of a README.

Colours are Okabe and Ito's, which the colour-blind tell apart; a hatch, a marker or a label says
the same a second time, for a print in grey. Bars begin at zero. Without data there is no picture.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from blurvote.benchmarks.latency.formatting import number
from blurvote.benchmarks.latency.report_tables import STAGES
from blurvote.benchmarks.results import Results, Row
from blurvote.runtime.errors import ProviderError, SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = ["draw", "figures"]

_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_HATCHES = ("", "//", "\\\\", "xx", "..", "--")
_FLOOR = "reading the frame once"
_DPI = 150
_WIDTH = 1600 / _DPI  # inches
_STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so a picture is the same everywhere
    "font.size": 13,
    "axes.titlesize": 13,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "figure.titlesize": 16,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "lines.linewidth": 2.0,
    "lines.markersize": 7,
}


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
        _save(figure, file)
        drawn[name] = file.name
    return drawn


def figures(results: Results) -> dict[str, Any]:
    """The `matplotlib.figure.Figure` of each picture that has data, by name.

    Raises:
        ProviderError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ProviderError(f"figures need matplotlib ({error}): pip install matplotlib") from error
    pictures: dict[str, Callable[[Results], Any]] = {
        "stages": _stages,
        "distribution": _distribution,
        "cameras": _cameras,
        "sizes": _sizes,
        "peers": _peers,
    }
    with matplotlib.rc_context(_STYLE):
        found = {name: picture(results) for name, picture in pictures.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def _save(figure: Any, file: Path) -> None:
    import matplotlib

    image = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure.savefig(image, format="png", dpi=_DPI)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, image.getvalue())
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error


def _new(title: str, height: float, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """A figure with its axes in a row; its canvas needs neither a screen nor pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(_WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", weight="bold")
    return figure, figure.subplots(1, columns, **options)


def _stages(results: Results) -> Any:
    case, rows = _first_case([r for r in results.section("verdict") if r.detail.get("stage_ms")])
    if not rows:
        return None
    figure, axes = _new(
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
                range(len(rows)), widths, 0.62, left, color=_COLOURS[k], hatch=_HATCHES[k],
                edgecolor="white", linewidth=0.5, label=stage,
            )  # fmt: skip
            left = [a + b for a, b in zip(left, widths, strict=True)]
        for y, total in enumerate(left):
            _label(axis, total, y, f"{number(total)} ms")
        axis.set(title=title, xlabel="median, ms", xlim=(0, 1.4 * max(left) or 1))
        axis.grid(visible=False, axis="y")
    axes[0].set_yticks(range(len(rows)), [_name(row) for row in rows])
    axes[0].invert_yaxis()
    _legend(figure, axes[0])
    return figure


def _distribution(results: Results) -> Any:
    """Percentiles on an axis that stretches the tail tenfold with each nine."""
    found = results.section("tail") or results.section("verdict")
    rows = [row for row in found if row.detail.get("distribution") and not row.detail.get("peer")]
    case, rows = _first_case(rows)
    if not rows:
        return None
    figure, axis = _new(f"How long the slowest calls take, {case}", 6.2)
    for row, style in _styled(rows):
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
    _legend(figure, axis)
    return figure


def _cameras(results: Results) -> Any:
    # What the session does alone is counted in views, so it has no place beside frames.
    rows = [row for row in results.section("cameras") if not row.case.startswith("session")]
    if not rows:
        return None
    figure, (rate, delay) = _new("Several cameras on one machine", 5.6, 2)
    for case, style in _styled(dict.fromkeys(row.case for row in rows)):
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
    _legend(figure, rate)
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
    figure, axis = _new("Time against frame size", 6.2)
    for (name, points), style in _styled(lines.items()):
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
    _legend(figure, axis)
    return figure


def _peers(results: Results) -> Any:
    rows = results.section("verdict")
    case, _ = _first_case([row for row in rows if row.detail.get("peer")])
    if not case:
        return None
    rows = sorted((row for row in rows if row.case == case), key=lambda row: row.timing.median)
    figure, axis = _new(f"A verdict beside its peers, {case}", 1.8 + 0.55 * len(rows))
    named = set()
    for y, row in enumerate(rows):
        time, (kind, name) = row.timing, _kind(row)
        whisker = [[time.median - time.p25], [time.p75 - time.median]]
        axis.barh(
            y, time.median, 0.62, xerr=whisker, capsize=4, edgecolor="white",
            color=_COLOURS[kind], hatch=_HATCHES[kind], label=None if name in named else name,
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
    _legend(figure, axis)
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


def _legend(figure: Any, axis: Any) -> None:
    """Below the axes, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=3 if len(labels) != 4 else 4)


def _styled(items: Any) -> Iterator[tuple[Any, dict[str, Any]]]:
    for k, item in enumerate(items):
        yield item, {"color": _COLOURS[k % 8], "marker": _MARKERS[k % 8]}


def _first_case(rows: Sequence[Row]) -> tuple[str, list[Row]]:
    """The rows of the case that comes first, which is the one a run was made for."""
    case = rows[0].case if rows else ""
    return case, [row for row in rows if row.case == case]


def _cameras_of(row: Row) -> int:
    return int(row.way.split()[0])


def _megapixels(size: str) -> float:
    width, height = size.split("x")
    return int(width) * int(height) / 1e6
