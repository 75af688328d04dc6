"""The lines of the charts: what is drawn of a row, with its colour and marker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from blurvote.benchmarks.robustness.evaluate.adaptive_score import (
    AT_BLOGS_COVERAGE,
    OWN_MAJORITY,
    AdaptiveRow,
)
from blurvote.benchmarks.robustness.evaluate.score import Row
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["BLOG", "LINES", "Chart", "Line", "line_names"]

Line = tuple[int, Callable[[Row], Share | None]]
"""Place in the palette, and the share of a row."""
Chart = Literal["noise", "faults"]

_REJECTED = "rejected by the majority"
_SAME: dict[str, Line] = {
    "clean view": (7, lambda row: row.views.get(0)),
    "single-blur view": (4, lambda row: row.views.get(1)),
    "double-blur view": (5, lambda row: row.views.get(2)),
    "majority, accepted frames": (0, lambda row: row.accepted),
    "majority, all frames": (2, lambda row: row.over_all),
    "no defence, same coverage": (3, lambda row: row.confidence),
    "mean softmax, same coverage": (1, lambda row: row.mean),
    _REJECTED: (6, lambda row: row.rejected),
}


def _decided(name: str, part: str) -> Callable[[Row], Share | None]:
    def found(row: Row) -> Share | None:
        assert isinstance(row, AdaptiveRow)  # none of the others has these lines
        return cast(Share, getattr(row.decisions[name], part))

    return found


# Of an adaptive guard, whose own decisions stand beside the blog's.
_ADAPTIVE: dict[str, Line] = {
    "clean view": _SAME["clean view"],
    "blog, accepted frames": (0, lambda row: row.accepted),
    "blog, all frames": (2, lambda row: row.over_all),
    "own, accepted frames": (4, _decided(OWN_MAJORITY, "accepted")),
    "own, all frames": (5, _decided(OWN_MAJORITY, "over_all")),
    "own mean, blog's coverage": (1, _decided(AT_BLOGS_COVERAGE, "accepted")),
    "clean, blog's coverage": (3, lambda row: row.confidence),
    "blog, rejected": (6, lambda row: row.rejected),
    "own, rejected": (8, _decided(OWN_MAJORITY, "rejected")),
}
LINES = _SAME | _ADAPTIVE
"""By name; the same in every picture."""

BLOG = {
    "clean view": 0,
    "single-blur view": 1,
    "double-blur view": 2,
    "majority, accepted frames": 3,
    "blog, accepted frames": 3,
    _REJECTED: 4,
    "blog, rejected": 4,
}
"""Of the lines that the blog has figures for, their place among its five."""

# Panels are small: of faults only what decides is drawn.
_FAULTS = ("clean view", "majority, accepted frames", "no defence, same coverage")
_ADAPTIVE_FAULTS = (
    "clean view",
    "blog, accepted frames",
    "own, accepted frames",
    "clean, blog's coverage",
)


def line_names(row: Row, chart: Chart) -> tuple[list[str], list[str]]:
    """Lines of accuracy and lines of rejections of a chart of rows like this one."""
    adaptive = isinstance(row, AdaptiveRow)
    lines, few = (_ADAPTIVE, _ADAPTIVE_FAULTS) if adaptive else (_SAME, _FAULTS)
    rejections = [name for name in lines if "rejected" in name]
    return [
        name for name in (lines if chart == "noise" else few) if name not in rejections
    ], rejections
