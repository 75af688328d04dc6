"""The tables of an adaptive guard: its decisions beside the blog's, degradation by degradation."""

from __future__ import annotations

import math
from collections.abc import Sequence

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.evaluate.adaptive_score import (
    BLOGS_MAJORITY,
    DEPLOYED,
    UNDEFENDED,
    AdaptiveRow,
    Judged,
)
from blurvote.benchmarks.robustness.evaluate.report import text_of
from blurvote.benchmarks.robustness.statistics import Difference, Share
from blurvote.runtime.defense import Defense

__all__ = ["decisions_table", "legend", "noise_table", "own_views_table"]


def legend(defense: Defense) -> str:
    """What the names in the tables mean, for one guard."""
    quiet, noisy = (
        ", ".join(kind.name for kind in defense.kinds(noisy)) for noisy in (False, True)
    )
    return (
        f"Quiet frames are judged by {quiet}; frames whose noise on the backbone's grid reads "
        f"{defense.noise_switch[1]:g} or more by {noisy}. 'Own' is of these views; the blog's "
        "majority is that of the quiet views on every frame. 'No defence, same coverage' keeps as "
        "many frames as the decision accepts, those of largest clean softmax, and 'gain' is the "
        "decision's accuracy on accepted frames minus that. 'Over the blog' is the difference to "
        "the blog's majority, paired. ± is the longer arm of an interval; evaluate.json has both "
        "ends."
    )


def noise_table(rows: Sequence[AdaptiveRow]) -> str:
    """The noise levels read, and the share of frames judged by the views of noisy frames."""
    lines = [
        [row.degradation, *_levels(row), text_of(row.denoised), str(row.noise.unread or "-")]
        for row in rows
    ]
    headers = ["degradation", "noise read, mean", "5 to 95 % of frames", "noisy, per cent"]
    return table([*headers, "without an estimate"], lines)


def _levels(row: AdaptiveRow) -> list[str]:
    noise = row.noise
    if math.isnan(noise.mean):
        return ["-", "-"]
    return [f"{noise.mean:.3f}", f"{noise.low:.3f} to {noise.high:.3f}"]


def decisions_table(rows: Sequence[AdaptiveRow], deployed: bool) -> str:
    """Accuracy and rejections of every decision in per cent, a line for each.

    Args:
        rows: of one variant.
        deployed: add the guard's own decision, where that is not the majority.
    """
    lines = []
    for row in rows:
        shown = [name for name in row.decisions if deployed or name != DEPLOYED]
        for name in shown:
            first = row.degradation if name == shown[0] else ""
            lines.append([first, name, *_cells(name, row.decisions[name])])
    headers = ["degradation", "decision", "accepted", "over all", "rejected"]
    headers += ["no defence, same coverage", "gain"]
    return table([*headers, "over the blog, accepted", "over the blog, over all"], lines)


def _cells(name: str, judged: Judged) -> list[str]:
    values: list[Share | Difference | None] = [judged.accepted, judged.over_all, judged.rejected]
    # Neither of the two that are compared with says anything beside itself.
    values += [judged.confidence, judged.gain] if name != UNDEFENDED else [None, None]
    over = [judged.accepted_over_blog, judged.over_all_over_blog]
    values += over if name != BLOGS_MAJORITY else [None, None]
    return ["-" if value is None else text_of(value) for value in values]


def own_views_table(rows: Sequence[AdaptiveRow], defense: Defense) -> str:
    """Accuracy of each view on its own: the quiet ones on all frames, then those that judged."""
    quiet = [kind.name for kind in defense.kinds()]
    names = [
        calm.name if calm == loud else f"{calm.name} or {loud.name}"
        for calm, loud in zip(defense.kinds(), defense.kinds(noisy=True), strict=True)
    ]
    lines = [
        [row.degradation, *map(text_of, row.views.values()), *map(text_of, row.own_views)]
        for row in rows
    ]
    return table(["degradation", *quiet, *(f"own: {name}" for name in names)], lines)
