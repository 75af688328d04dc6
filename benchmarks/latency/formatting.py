"""Numbers, facts and tables as a person reads them: three digits, a unit, a dash for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from blurvote.benchmarks.report import table
from blurvote.benchmarks.timing import Ratio

__all__ = ["ABSENT", "aligned", "bullets", "grid", "joined", "number", "times", "value"]

ABSENT = _RANGE = "\u2013"
_UNITS = {  # by the end of a fact's name
    "_ms": "ms",
    "_us": "us",
    "_mib": "MiB",
    "_mhz": "MHz",
    "_gflops": "GFLOP/s",
    "_s": "s",
}


def number(value: float | None) -> str:
    """Three digits, without an exponent where that is readable; a dash for None."""
    if value is None:
        return ABSENT
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    return f"{value:.{max(0, digits)}f}" if digits <= 6 else f"{value:.1e}"


def times(ratio: Ratio | None) -> str:
    """A ratio with its quartiles."""
    if ratio is None:
        return ABSENT
    return f"{number(ratio.median)}x ({number(ratio.p25)}{_RANGE}{number(ratio.p75)})"


def aligned(headers: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """`report.table` of texts: the first `words` columns to the left, numbers to the right."""
    escaped = [[str(c).replace("|", "\\|").replace("\n", " ") for c in row] for row in rows]
    lines = [list(headers), *escaped]
    for k in range(words, len(headers)):
        width = max(len(line[k]) for line in lines)
        for line in lines:
            line[k] = line[k].rjust(width)
    head, rule, *body = table(lines[0], lines[1:]).split("\n")
    cells = rule.strip("|").split("|")
    cells = [cell if k < words else f"{cell[:-1]}:" for k, cell in enumerate(cells)]
    return "\n".join([head, "|" + "|".join(cells) + "|", *body])


def grid(corner: str, facts: Mapping[str, Mapping[str, Any]]) -> str:
    """A table with a line per fact of facts, its keys as columns."""
    columns = list(dict.fromkeys(key for values in facts.values() for key in values))
    headers = [" ".join(_name(column)).rstrip() for column in columns]
    rows = [[name, *(value(c, of.get(c)) for c in columns)] for name, of in facts.items()]
    return aligned([corner, *headers], rows)


def bullets(facts: Mapping[str, Any]) -> str:
    """A list of named values; a mapping's values share the unit of its name."""
    lines = []
    for name, found in facts.items():
        words, unit = _name(name)
        if isinstance(found, Mapping):
            parts = [f"{key} {value(name, one)} {unit}".rstrip() for key, one in found.items()]
            lines.append(f"- {words}: {', '.join(parts)}")
        elif found is not None:
            lines.append(f"- {words}: {value(name, found)} {unit}".rstrip())
    return "\n".join(lines)


def value(name: str, found: Any) -> str:
    """One value of a fact of that name, without its unit."""
    if isinstance(found, float):
        return f"{found:.1%}" if "share" in name else number(found)
    if isinstance(found, (list, tuple)):
        if len(found) > 3 and all(isinstance(one, (int, float)) for one in found):
            return f"{value(name, min(found))} to {value(name, max(found))}"
        return ", ".join(value(name, one) for one in found)
    return ABSENT if found is None else str(found)


def _name(name: str) -> tuple[str, str]:
    """A fact's name in words, and its unit."""
    suffix = next((end for end in _UNITS if name.endswith(end)), "")
    words = name.removesuffix(suffix).replace("_", " ").replace("gflop", "GFLOP")
    return words, _UNITS.get(suffix, "")


def joined(parts: Iterable[Any]) -> str:
    """The parts that are there, with commas."""
    return ", ".join(str(part) for part in parts if part)
