"""The tables of `blurvote evaluate`, for the terminal and for Markdown."""

from __future__ import annotations

import math

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.evaluate.score import Row
from blurvote.benchmarks.robustness.statistics import Difference, Share

__all__ = ["PUBLISHED", "areas_table", "main_table", "published_table", "text_of"]

# Sethi, "Dealing with Adversarial Inputs for Image Classification" (2023), torchvision's ResNet50
# on 975 colour images: clean, single, double, majority on accepted frames, rejected.
PUBLISHED = {
    "gaussian:0": (0.8820, 0.8605, 0.8153, 0.8697, 0.0153),
    "gaussian:0.125": (0.6523, 0.7148, 0.6912, 0.7541, 0.0656),
    "gaussian:0.25": (0.3425, 0.5005, 0.4923, 0.5682, 0.1589),
    "gaussian:0.375": (0.0902, 0.3097, 0.3220, 0.4118, 0.3076),
}
_VIEWS = {0: "clean", 1: "single", 2: "double"}


def text_of(value: Share | Difference) -> str:
    """Per cent, with the longer arm of the 95 % interval."""
    if math.isnan(value.value):
        return "-"
    arm = max(value.high - value.value, value.value - value.low)
    sign = "+" if isinstance(value, Difference) else ""
    return f"{100 * value.value:{sign}.1f} ±{100 * arm:.1f}"


def main_table(rows: list[Row], own: bool = False) -> str:
    """Accuracy in per cent, one row per degradation.

    Args:
        rows: of one variant.
        own: add the guard's own decision, where that is not the majority.
    """
    passes = list(rows[0].views)
    headers = [
        "degradation",
        *(_VIEWS.get(count, f"{count}-blur") for count in passes),
        "majority, accepted",
        "majority, all",
        "rejected",
        "no defence, same coverage",
        "gain",
        "mean, same coverage",
    ]
    if own:
        headers += ["guard, accepted", "guard, rejected", "no defence, guard's coverage", "gain"]
    lines = []
    for row in rows:
        cells = [row.degradation, *(text_of(row.views[count]) for count in passes)]
        cells += [
            text_of(value)
            for value in (
                row.accepted,
                row.over_all,
                row.rejected,
                row.confidence,
                row.gain,
                row.mean,
            )
        ]
        if own:
            cells += [text_of(row.own_accepted), text_of(row.own_rejected)]
            cells += [text_of(row.own_confidence), text_of(row.own_gain)]
        lines.append(cells)
    return table(headers, lines)


def areas_table(rows: list[Row]) -> str:
    """Area under risk against coverage (x 1000; smaller is better), with 95 % intervals."""
    names = list(rows[0].curves)
    lines = [
        [
            row.degradation,
            *(
                f"{1e3 * curve.area:.0f} ({1e3 * curve.low:.0f} to {1e3 * curve.high:.0f})"
                for curve in (row.curves[name] for name in names)
            ),
        ]
        for row in rows
    ]
    return table(["degradation", *names], lines)


def published_table(rows: list[Row]) -> str | None:
    """The blog's figures for the noise levels measured, or None where there are none."""
    lines = [
        [row.degradation, *(f"{100 * value:.1f}" for value in PUBLISHED[row.degradation])]
        for row in rows
        if row.degradation in PUBLISHED
    ]
    headers = ["published", "clean", "single", "double", "majority, accepted", "rejected"]
    return table(headers, lines) if lines else None
