"""One figure per picture and method: rows clean and attacked; columns frame, views, vote.

Strength alone (gradient x input) is shown in `inferno` over a darkened grey frame, evidence for and
against in `RdBu` over a light one: both are even in lightness and told apart by the colour-blind.
What is weak is see-through, so that the frame remains to be seen. Maps are drawn smaller than the
frame and slightly blurred, for single pixels' gradients are mostly noise; figures in `explain.json`
are of the maps as they are. The panels of a signed method share one scale, so that their strengths
compare; gradient x input is normalised map by map, so only its places do.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.explain.cases import Case, name_of
from blurvote.benchmarks.robustness.explain.explaining import VOTE, Explained
from blurvote.benchmarks.robustness.explain.maps import read_window, unsigned
from blurvote.benchmarks.robustness.explain.methods import MethodName, Window
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import SinkError
from blurvote.runtime.vote import REJECTED
from blurvote.runtime.whole_file import write_whole

__all__ = ["draw"]

_ACCEPTED, _REJECTED = "#0072B2", "#D55E00"  # Okabe and Ito's blue and vermilion
_DPI = 150
_HEIGHT = 2.35  # of a panel, in inches
_DRAWN = 400  # pixels that the short side of a drawn panel has at most; 350 fit
_NARROW, _WIDE = 0.95, 1.9  # widths over heights of columns: room for titles, and for the others
_SMOOTH = 0.012  # standard deviation, as a share of the short side
_CLIP = 99.7  # percentile that is full colour; the few above it would leave all else faint
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "figure.titlesize": 14,
    "text.parse_math": False,
}


def draw(
    file: Path,
    title: str,
    method: MethodName,
    rows: Sequence[Explained],
    labels: Sequence[str],
    defense: Defense,
    note: str,
) -> None:
    """Writes the figure of one frame and method as PNG.

    Args:
        file: where.
        title: what the picture is called.
        method: which maps these are.
        rows: clean first.
        labels: class names; may be empty.
        defense: names the views.
        note: what a reader must know, written below.

    Raises:
        ProviderError: matplotlib is missing.
        SinkError: the file cannot be written.
    """
    (matplotlib,) = require("drawing", ("matplotlib",), "matplotlib")
    image = io.BytesIO()
    with matplotlib.rc_context(_STYLE):
        figure = _figure(title, method, rows, labels, defense, note)
        figure.savefig(image, format="png", dpi=_DPI)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, image.getvalue())
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error


def _figure(
    title: str,
    method: MethodName,
    rows: Sequence[Explained],
    labels: Sequence[str],
    defense: Defense,
    note: str,
) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    window = read_window(defense, *rows[0].case.pixels.shape[:2])
    cut = slice(window.top, window.bottom), slice(window.left, window.right)
    height, width = rows[0].case.pixels.shape[:2]
    inner = (window.right - window.left) / (window.bottom - window.top)
    shapes = [width / height] + [inner] * len(rows[0].planes)
    ratios = [min(max(shape, _NARROW), _WIDE) for shape in shapes]
    size = _HEIGHT * sum(ratios) + 1.4, len(rows) * (_HEIGHT + 0.5) + 1.2
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.05))
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.012, ha="left", weight="bold")
    axes = figure.subplots(
        len(rows), len(ratios), squeeze=False, gridspec_kw={"width_ratios": ratios}
    )
    small = [{view: _reduce(values[cut]) for view, values in row.planes.items()} for row in rows]
    shared = _limit(method, [values for maps in small for values in maps.values()])
    for line, row, maps in zip(axes, rows, small, strict=True):
        frame = row.case.pixels
        changed = row.case.outcome.label != rows[0].case.outcome.label
        text = _frame_title(row.case, labels, changed)
        _panel(line[0], _shrink(frame), text, _verdict_colour(row.case))
        _outline(line[0], window, frame.shape[0], frame.shape[1])
        grey = _grey(_shrink(frame[cut]))
        for axis, (view, values) in zip(line[1:], maps.items(), strict=True):
            text, colour = _view_title(row, view, labels, defense)
            limit = _limit(method, [values]) if unsigned(method) else shared
            _panel(axis, _overlay(method, grey, values / limit), text, colour)
    _colour_bar(figure, axes, method, shared)
    figure.supxlabel(textwrap.fill(note, int(14.5 * size[0])), x=0.012, ha="left", size=9)
    return figure


def _limit(method: MethodName, maps: Sequence[NDArray[np.float32]]) -> float:
    """What is full colour. Occlusion's steps are few and large, so its largest is no outlier."""
    values = np.concatenate([np.abs(one).ravel() for one in maps])
    return float(np.percentile(values, 100 if method == "occlusion" else _CLIP)) or 1.0


def _outline(axis: Any, window: Window, height: int, width: int) -> None:
    """Marks the part that the views read on a frame that is drawn in another size."""
    from matplotlib.patches import Rectangle

    if (window.bottom - window.top, window.right - window.left) == (height, width):
        return
    (left, right), (bottom, top) = axis.get_xlim(), axis.get_ylim()
    x, y = (right - left) / width, (bottom - top) / height
    corner = left + window.left * x, top + window.top * y
    sides = (window.right - window.left) * x, (window.bottom - window.top) * y
    for style in ({"color": "black"}, {"color": "white", "linestyle": (0, (4, 4))}):
        axis.add_patch(Rectangle(corner, *sides, fill=False, linewidth=1.2, **style))


def _panel(axis: Any, picture: NDArray[Any], title: str, colour: str) -> None:
    axis.imshow(picture, interpolation="nearest")
    axis.set_title(title, color=colour)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set(color=colour, linewidth=1.5)


def _overlay(
    method: MethodName, grey: NDArray[np.float32], values: NDArray[np.float32]
) -> NDArray[np.float32]:
    """`(h, w, 3)` colours in [0, 1]; `values` within [-1, 1] span the colour map."""
    strength = np.clip(np.abs(values), 0, 1)[..., None]
    if unsigned(method):
        under, colours = 0.55 * grey, _colour_map(method)(strength[..., 0])[..., :3]
        alpha = strength**0.5
    else:
        under = 0.35 + 0.6 * grey
        colours = _colour_map(method)(np.clip(values, -1, 1) / 2 + 0.5)[..., :3]
        alpha = 0.9 * strength**0.6
    mixed: NDArray[np.float32] = (1 - alpha) * under[..., None] + alpha * colours
    return np.clip(mixed, 0, 1)


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    grey: Any = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    levels: NDArray[np.float32] = grey.astype(np.float32) / np.float32(255)
    return levels


def _colour_map(method: MethodName) -> Any:
    from matplotlib import colormaps

    return colormaps["inferno" if unsigned(method) else "RdBu"]


def _colour_bar(figure: Any, axes: Any, method: MethodName, limit: float) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    limit = 1.0 if unsigned(method) else limit
    low = 0.0 if unsigned(method) else -limit
    mappable = ScalarMappable(Normalize(low, limit), _colour_map(method))
    bar = figure.colorbar(mappable, ax=axes, fraction=0.02, pad=0.012, aspect=30)
    bar.outline.set_visible(False)
    if method == "integrated-gradients":  # per pixel, so the number itself says little
        bar.set_ticks([-limit, 0, limit], labels=["against", "0", "for"])
    elif method == "gradient-x-input":
        bar.set_ticks([0, 1], labels=["0", "strong"])
    else:
        bar.set_label("fall of the score when covered")


def _frame_title(case: Case, labels: Sequence[str], changed: bool) -> str:
    outcome = case.outcome
    if outcome.label == REJECTED:
        verdict = f"rejected ({(outcome.reason or '').replace('_', ' ')})"
    else:
        sure = "" if outcome.confidence is None else f" {outcome.confidence:.0%}"
        verdict = _short(name_of(outcome.label, labels), 22) + sure
    return f"{case.row} frame; {'new ' if changed else ''}verdict:\n{verdict}"


def _view_title(
    row: Explained, view: str, labels: Sequence[str], defense: Defense
) -> tuple[str, str]:
    target = row.case.target
    if view == VOTE:
        voted = any(row.case.view_labels[k] == target for k in defense.views)
        what = "the vote" if voted else "no vote"
        views = f"{len(row.counted)} of {len(defense.views)}" if voted else "mean of all"
        colour = _ACCEPTED if row.case.outcome.label == target else _REJECTED
        explained = _short(name_of(target, labels), 26)
        return f"{what} ({views} views),\nfor {explained}", colour
    index = [defense.view_name(k) for k in range(len(defense.passes))].index(view)
    label, confidence = row.case.view_labels[index], row.case.confidences[index]
    sure = "" if confidence is None else f" {confidence:.0%}"
    colour = _ACCEPTED if label == target else _REJECTED
    return f"{view} says\n{_short(name_of(label, labels), 22)}{sure}", colour


def _verdict_colour(case: Case) -> str:
    return _REJECTED if case.outcome.label == REJECTED else _ACCEPTED


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip() + "\u2026"


def _reduce(values: NDArray[np.float32]) -> NDArray[np.float32]:
    small: Any = _shrink(values)
    sigma = _SMOOTH * min(small.shape)
    if sigma > 0.3:  # no kernel to speak of below
        small = cv2.GaussianBlur(small, (0, 0), sigma)
    smooth: NDArray[np.float32] = small
    return smooth


def _shrink(picture: NDArray[Any]) -> NDArray[Any]:
    """A short side of at most `_DRAWN` pixels; averages, so that no pixel is left out."""
    height, width = picture.shape[:2]
    scale = min(1.0, _DRAWN / min(height, width))
    if scale == 1.0:
        return picture
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small: NDArray[Any] = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small
