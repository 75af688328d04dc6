"""The style of every figure that the benchmarks draw.

Colours are Okabe and Ito's, which the colour-blind tell apart; a hatch, a marker or a label says
the same a second time, for a print in grey. Files are PNG of 1600 pixels' width, readable at the
width of a README. Nothing here needs a screen or pyplot.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from blurvote.runtime.errors import ProviderError, SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = [
    "COLOURS",
    "DPI",
    "HATCHES",
    "MARKERS",
    "WIDTH",
    "house_style",
    "legend_below",
    "new_figure",
    "save_figure",
    "styled",
]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#666666")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "\\\\", "xx", "..", "--", "++")
DPI = 150
WIDTH = 1600 / DPI  # inches
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

T = TypeVar("T")


def house_style() -> AbstractContextManager[None]:
    """The style, for as long as the context lasts; figures are made and saved inside it.

    Raises:
        ProviderError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ProviderError(f"figures need matplotlib ({error}): pip install matplotlib") from error
    context: AbstractContextManager[None] = matplotlib.rc_context(_STYLE)
    return context


def new_figure(
    title: str, height: float, columns: int = 1, rows: int = 1, **options: Any
) -> tuple[Any, Any]:
    """A figure of `height` inches and `WIDTH`, and its axes, as `Figure.subplots` returns them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(figsize=(WIDTH, height), layout=ConstrainedLayoutEngine(w_pad=0.12))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", weight="bold")
    return figure, figure.subplots(rows, columns, **options)


def save_figure(figure: Any, file: Path) -> None:
    """Writes a figure as PNG, whole or not at all, its folder made.

    Raises:
        SinkError: the file cannot be written.
    """
    image = io.BytesIO()
    with house_style():
        figure.savefig(image, format="png", dpi=DPI)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, image.getvalue())
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error


def legend_below(figure: Any, axis: Any, columns: int | None = None) -> None:
    """The legend of `axis` below all axes, where it covers nothing."""
    handles, labels = axis.get_legend_handles_labels()
    wanted = columns or (3 if len(labels) != 4 else 4)
    figure.legend(handles, labels, loc="outside lower left", ncols=wanted)


def styled(items: Iterable[T]) -> Iterator[tuple[T, dict[str, Any]]]:
    """Each item with a colour and a marker of its own."""
    for k, item in enumerate(items):
        yield item, {"color": COLOURS[k % 8], "marker": MARKERS[k % 8]}
