"""The lines of the charts: what is drawn of a row, with its colour and marker."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from blurvote.benchmarks.robustness.evaluate.adaptive_score import (
    AT_BLOGS_COVERAGE,
    OWN_MAJORITY,
    AdaptiveRow,
)
from blurvote.benchmarks.robustness.evaluate.score import Row
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["FAULTS", "LINES", "NOISE", "Line", "line_names"]

Line = tuple[int, Callable[[Row], Share | None]]
"""Place in the palette, and the share of a row."""

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
NOISE = [name for name in _SAME if name != _REJECTED]
FAULTS = ["clean view", "majority, accepted frames", "no defence, same coverage"]


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
    "own, rejected": (4, _decided(OWN_MAJORITY, "rejected")),
}
LINES = _SAME | _ADAPTIVE
"""By name; the same in every picture."""


def line_names(row: Row, accuracies: list[str]) -> tuple[list[str], list[str]]:
    """Lines of accuracy and lines of rejections of charts of rows like this one.

    Args:
        row: any of them.
        accuracies: what is drawn where all frames have the same views.
    """
    if not isinstance(row, AdaptiveRow):
        return accuracies, [_REJECTED]
    rejections = [name for name in _ADAPTIVE if name.endswith("rejected")]
    return [name for name in _ADAPTIVE if name not in rejections], rejections
