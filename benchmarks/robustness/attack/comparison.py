"""Several guards side by side: which is harder to fool, and how far must a frame be changed?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.attack.report import percent
from blurvote.benchmarks.robustness.attack.score import Row

__all__ = ["comparison"]

_PARTS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("Wrong and accepted by the guard, per cent", lambda row: percent(row.fooled)),
    ("Right, undefended, per cent", lambda row: percent(row.undefended_right)),
    ("Right, guard, per cent", lambda row: percent(row.right)),
    ("Average change per pixel", lambda row: f"{row.per_pixel:.4f}"),
    ("Pixels changed by more than 1 % (colour)", lambda row: f"{100 * row.changed_1:.1f} %"),
    ("Pixels changed by more than 10 % (grey)", lambda row: f"{100 * row.changed_10:.1f} %"),
)


def comparison(guards: Mapping[str, Sequence[Row]], measures: int | None = None) -> str:
    """A table per measure, in Markdown: a line per attack after all its steps, a column per guard.

    Args:
        guards: rows by the guard's name; those of one attack are in the order of their steps.
        measures: how many of the tables; None means all. The first is of success.
    """
    last = {guard: {row.case: row for row in rows} for guard, rows in guards.items()}
    names = list(dict.fromkeys(name for rows in last.values() for name in rows))
    lines = ["# Guards compared", "", *_counts(last), ""]
    for title, cell in _PARTS[:measures]:
        changed = title.startswith(("Average", "Pixels"))
        cells = [
            ["clean pictures" if name == "none" else name]
            + [cell(rows[name]) if name in rows else "-" for rows in last.values()]
            for name in names
            if not (changed and name == "none")
        ]
        if cells:
            lines += [f"## {title}", "", table(["attack", *last], cells), ""]
    for threat in ("grey-box", "adaptive"):
        lines += _ranking(last, f"until-confident {threat}")
    return "\n".join(lines).rstrip() + "\n"


def _counts(last: Mapping[str, Mapping[str, Row]]) -> list[str]:
    images = {guard: next(iter(rows.values())).images for guard, rows in last.items()}
    if len(set(images.values())) == 1:
        return [f"{next(iter(images.values()))} pictures each, after all steps of each attack."]
    each = ", ".join(f"{guard} {count}" for guard, count in images.items())
    return [f"Pictures: {each}. Not the same for all, so small differences mean nothing."]


def _ranking(last: Mapping[str, Mapping[str, Row]], name: str) -> list[str]:
    """Who had to be changed most until it was sure of a wrong class; the source's question."""
    rows = {
        guard: found[name]
        for guard, found in last.items()
        if name in found and not math.isnan(found[name].per_pixel)  # none was right before
    }
    if len(rows) < 2:
        return []
    ranked = sorted(rows.items(), key=lambda item: -item[1].per_pixel)
    least = ranked[-1][1].per_pixel
    lines = [f"## Hardest first: change per pixel of {name}", ""]
    for guard, row in ranked:
        times = f", {row.per_pixel / least:.2f} times the easiest" if least else ""
        confident = int(row.endings["confident"]) if row.endings else 0
        lines.append(
            f"- {guard}: {row.per_pixel:.4f}{times}; {confident} of {row.images} ended confident"
        )
    return [*lines, ""]
