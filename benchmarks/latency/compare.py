"""Two results of `blurvote bench` side by side: what became faster, what slower, what is noise.

A row has changed when all of these hold:

1. the ratio of the medians lies beyond the noise floor, the same factor in both directions;
2. the 95 % intervals of the two medians do not overlap;
3. the ranges of their windows' medians do not overlap, and where either measurement was unstable or
   had no windows, the ranges between their quartiles neither;
4. where the row's baseline moved the same way, the ratio to it moved too.

The first keeps a significant 1 % from failing a build, the second a large change that too few calls
support, the third what a disturbed machine did within a run, the fourth what it did from one run to
the other. Scenario metrics have no intervals: only the first
applies to them, and a run that was not valid shows nothing.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from blurvote.benchmarks.latency.cautions import cautions
from blurvote.benchmarks.report import table
from blurvote.benchmarks.results import Results, Row
from blurvote.runtime.errors import SourceError

__all__ = ["FAIL_ON", "Change", "compare", "noise_share", "run", "text", "to_dict"]

FAIL_ON = {"slower": ("slower",), "missing": ("slower", "only before"), "never": ()}
_MORE_IS_BETTER = ("qps", "per second", "per_second", "/s", "fps", "throughput", "streams")
_ORDER = ("slower", "faster", "only before", "only after", "within noise")
_ABSENT = "\u2013"
Key = tuple[str, str, str]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Change:
    """One row, or one scenario's metric, of two runs.

    Attributes:
        key: section, case and way.
        before, after: the median, or the metric's value; None where the row is missing.
        ratio: `after / before`; None where either is missing or zero.
        verdict: `"faster"`, `"slower"`, `"within noise"`, `"only before"` or `"only after"`.
        why: what the verdict rests on.
        unit: of `before` and `after`; `"ms"` for rows.
    """

    key: Key
    before: float | None
    after: float | None
    ratio: float | None
    verdict: str
    why: str
    unit: str = "ms"


def compare(before: Results, after: Results, noise: float = 0.05) -> list[Change]:
    """What changed, the largest change first; then the rows of one run only, then the noise.

    Args:
        before, after: results of two runs, of any sections.
        noise: the noise floor as a share: 0.05 takes ratios from 1/1.05 to 1.05 for noise.

    Raises:
        SourceError: two rows of one run have the same section, case and way.
    """
    changes = []
    rows_before, rows_after = _rows(before), _rows(after)
    for key, old, new in _pairs(rows_before, rows_after):
        if old and new:
            change = _row_change(key, old, new, noise)
            baseline = (*key[:2], old.baseline or "")
            was, now = rows_before.get(baseline), rows_after.get(baseline)
            if change.verdict != "within noise" and was and now:
                moved, _ = _beyond(now.timing.median, was.timing.median, noise)
                change = _beside_baseline(change, old, new, moved)
            changes.append(change)
        else:
            first, second = (row.timing.median if row else None for row in (old, new))
            changes.append(_missing(key, first, second, "ms"))
    for key, one, other in _pairs(_scenarios(before), _scenarios(after)):
        if one and other:
            changes.append(_scenario_change(key, one, other, noise))
        else:
            first, second = (float(run["value"]) if run else None for run in (one, other))
            changes.append(_missing(key, first, second, key[2]))
    return sorted(changes, key=_rank)


def _row_change(key: Key, before: Row, after: Row, noise: float) -> Change:
    old, new = before.timing, after.timing
    verdict, why = _beyond(new.median, old.median, noise)
    if verdict != "within noise":
        if _overlap((old.median_low, old.median_high), (new.median_low, new.median_high)):
            verdict, why = "within noise", "the 95 % intervals of the medians overlap"
        elif old.windows and new.windows and _overlap(_range(old.windows), _range(new.windows)):
            verdict, why = "within noise", "the medians of single windows overlap"
        elif not (old.stable and new.stable and old.windows and new.windows):
            if _overlap((old.p25, old.p75), (new.p25, new.p75)):
                verdict, why = "within noise", "the quartile ranges overlap"
            else:
                why += ", and the quartile ranges are apart"
    if before.ratio and after.ratio and before.baseline == after.baseline != before.way:
        why += f"; times {before.baseline}: {before.ratio.median:.2f}, {after.ratio.median:.2f}"
    return Change(key, old.median, new.median, _ratio(new.median, old.median), verdict, why)


def _beside_baseline(change: Change, before: Row, after: Row, moved: str) -> Change:
    """The change, or noise where the baseline changed alike and the ratio to it did not."""
    old, new = before.ratio, after.ratio
    if old is None or new is None or before.baseline != after.baseline:
        return change
    if before.way == before.baseline or moved != change.verdict:
        return change
    if not _overlap((old.p25, old.p75), (new.p25, new.p75)):
        return change
    why = f"{before.baseline} became {moved} too, and the ratio to it is the same"
    return replace(change, verdict="within noise", why=why)


def _range(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _scenario_change(
    key: Key, before: Mapping[str, Any], after: Mapping[str, Any], noise: float
) -> Change:
    unit = key[2]
    old, new = float(before["value"]), float(after["value"])
    more_is_better = any(word in unit.lower() for word in _MORE_IS_BETTER)
    verdict, why = _beyond(old, new, noise) if more_is_better else _beyond(new, old, noise)
    if not (before.get("valid", True) and after.get("valid", True)):
        verdict, why = "within noise", "not a valid run, so it shows nothing"
    return Change(key, old, new, _ratio(new, old), verdict, why, unit)


def _beyond(cost: float, than: float, noise: float) -> tuple[str, str]:
    if cost > than * (1 + noise):
        return "slower", f"beyond the noise floor of {noise:.3g}"
    if cost * (1 + noise) < than:
        return "faster", f"beyond the noise floor of {noise:.3g}"
    return "within noise", f"inside the noise floor of {noise:.3g}"


def _missing(key: Key, before: float | None, after: float | None, unit: str) -> Change:
    verdict, other = ("only before", "after") if after is None else ("only after", "before")
    return Change(key, before, after, None, verdict, f"not measured {other}", unit)


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _ratio(after: float, before: float) -> float | None:
    return after / before if before > 0 and after > 0 else None


def _rank(change: Change) -> tuple[int, float]:
    group = {"within noise": 2, "only before": 1, "only after": 1}.get(change.verdict, 0)
    return group, -abs(math.log(change.ratio)) if change.ratio else 0.0


def _rows(results: Results) -> dict[Key, Row]:
    rows: dict[Key, Row] = {}
    for row in results.rows:
        if row.key in rows:
            raise SourceError(f"{' / '.join(row.key)} is there twice in one result; expected once")
        rows[row.key] = row
    return rows


def _scenarios(results: Results) -> dict[Key, Mapping[str, Any]]:
    return {
        ("scenarios", f"{one['scenario']}, {one.get('harness')}", str(one.get("metric"))): one
        for one in results.facts.get("scenarios", ())
        if one.get("value") is not None
    }


def _pairs(
    before: Mapping[Key, _Item], after: Mapping[Key, _Item]
) -> Iterator[tuple[Key, _Item | None, _Item | None]]:
    for key in dict.fromkeys([*before, *after]):
        yield key, before.get(key), after.get(key)


def text(changes: Sequence[Change], warnings: Sequence[str] = ()) -> str:
    """Cautions, a table of what is not noise, and one line that sums it up."""
    shown = [change for change in changes if change.verdict != "within noise"]
    rows = [
        [
            " / ".join(change.key),
            _number(change.before, change.unit),
            _number(change.after, change.unit),
            f"{change.ratio:.3f}x" if change.ratio else _ABSENT,
            change.verdict,
            change.why,
        ]
        for change in shown
    ]
    parts = [f"caution: {warning}" for warning in warnings]
    if rows:
        parts.append(table(["row", "before", "after", "after/before", "verdict", "why"], rows))
    counts = {verdict: sum(c.verdict == verdict for c in changes) for verdict in _ORDER}
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    most = changes[0] if changes and changes[0].verdict in ("slower", "faster") else None
    if most and most.ratio:
        summary += f"; most: {' / '.join(most.key)}, {most.ratio:.2f}x"
    if warnings:
        summary += f"; cautions: {len(warnings)}"
    return "\n".join([*parts, f"{len(changes)} compared: {summary}"])


def to_dict(changes: Sequence[Change], warnings: Sequence[str] = ()) -> dict[str, Any]:
    """Plain values for JSON: `cautions`, `counts` by verdict and every change."""
    return {
        "cautions": list(warnings),
        "counts": {verdict: sum(c.verdict == verdict for c in changes) for verdict in _ORDER},
        "changes": [asdict(change) for change in changes],
    }


def run(
    before_path: str | Path,
    after_path: str | Path,
    noise: float = 0.05,
    as_json: bool = False,
    fail_on: str = "slower",
    write: Callable[[str], object] = print,
) -> int:
    """Prints the comparison; the exit status is 1 when what `fail_on` names is in it, otherwise 0.

    Args:
        before_path, after_path: `results.json`, or the folder that holds it.
        noise: see `compare`.
        as_json: print `to_dict` instead of `text`.
        fail_on: a key of `FAIL_ON`; `"missing"` fails for a row that is gone, too.
        write: takes the text.

    Raises:
        SourceError: a file cannot be read or is no result of `blurvote bench`.
    """
    before, after = Results.load(before_path), Results.load(after_path)
    changes = compare(before, after, noise)
    warnings = cautions(before, after, changes)
    if as_json:
        write(json.dumps(to_dict(changes, warnings), indent=2))
    else:
        write(text(changes, warnings))
    return int(any(change.verdict in FAIL_ON[fail_on] for change in changes))


def noise_share(value: str) -> float:
    """An argparse type: a share such as 0.05, at least 0 and below 1."""
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is no share such as 0.05, from 0 to below 1")
    return share


def _number(value: float | None, unit: str) -> str:
    return _ABSENT if value is None else f"{value:.4g} {unit}"
