"""Maps of one number per pixel, and what can be said of them in figures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.explain.methods import MethodName, Window
from blurvote.runtime.defense import Defense

__all__ = ["plane", "read_window", "spearman", "top_share", "unsigned"]

Map = NDArray[np.float32]


def unsigned(method: MethodName) -> bool:
    """Whether a method's map tells strength alone, not evidence for from evidence against."""
    return method == "gradient-x-input"


def plane(method: MethodName, values: Map) -> Map:
    """The `(H, W)` map of signed attributions `(3, H, W)`.

    Gradient x input is |gradient| x input, summed over channels and divided by its largest value
    (frames are not negative, so that is the absolute value of what captum returns). Integrated
    gradients are summed over channels. Occlusion is the same in each channel.
    """
    if method == "occlusion":
        first: Map = values[0]
        return first
    if not unsigned(method):
        summed: Map = values.sum(axis=0)
        return summed
    strength: Map = np.abs(values).sum(axis=0)
    largest = strength.max()
    return strength / largest if largest > 0 else strength


def read_window(defense: Defense, height: int, width: int) -> Window:
    """The part of frames of `height` x `width` pixels that any view reads.

    Raises:
        DefenseError: such frames cannot be served.
    """
    from blurvote.export.reference import view_matrices

    matrices = view_matrices(defense, height, width)
    rows = np.flatnonzero(matrices.rows.any(axis=(0, 1)))
    cols = np.flatnonzero(matrices.cols.any(axis=(0, 1)))
    return Window(int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1)


def top_share(values: Map, window: Window, share: float = 0.1) -> float | None:
    """How much of the absolute attribution the strongest `share` of the pixels hold.

    From `share` (spread evenly) to 1 (all in few pixels); None where there is none at all.
    """
    strength = np.sort(np.abs(_inside(values, window)), axis=None)[::-1].astype(np.float64)
    total = strength.sum()
    if not total > 0:
        return None
    return float(strength[: max(1, round(share * strength.size))].sum() / total)


def spearman(a: Map, b: Map, window: Window) -> float | None:
    """Spearman's rank correlation of two maps over the pixels that the views read.

    -1 to 1; None where a map is the same everywhere. Neighbouring pixels are not independent, so no
    p-value is given.
    """
    (stats,) = require("comparing maps", ("scipy.stats",), "scipy")
    x, y = _inside(a, window).ravel(), _inside(b, window).ravel()
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    return float(stats.spearmanr(x, y).statistic)


def _inside(values: Map, window: Window) -> Map:
    return values[window.top : window.bottom, window.left : window.right]
