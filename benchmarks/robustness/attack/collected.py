"""From a journal to the records of the pictures, case by case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blurvote.benchmarks.robustness.attack.cases import Case, case_of, rank
from blurvote.benchmarks.robustness.dataset import Sample

__all__ = ["Collected", "Skipped", "collect"]


@dataclass(frozen=True)
class Skipped:
    """A picture that gave no answer, and why."""

    key: str
    why: str


@dataclass(frozen=True)
class Collected:
    """What a journal holds of a table's pictures.

    Attributes:
        records: of every case that was run on all pictures, in the pictures' order.
        skipped: pictures that some case could not be run on; they are left out of all.
        partial: cases that were run on some pictures only, by name, and on how many.
    """

    records: dict[Case, list[dict[str, Any]]]
    skipped: list[Skipped]
    partial: dict[str, int]


_NEEDED = (
    "label",
    "target",
    "seconds",
    "gradients",
    "queries",
    "zero_gradients",
    "ending",
    "alone",
)
_NEEDED_AT = (
    "guard",
    "undefended",
    "log_odds",
    "linf",
    "l2",
    "per_pixel",
    "changed_1",
    "changed_10",
)

_OF_ADAPTIVE = ("denoised",)  # guards alone


def collect(results: Iterable[tuple[str, Any]], samples: Sequence[Sample]) -> Collected:
    """Records per case, in the samples' order, of every case that was run on all of them.

    Those of earlier runs too, so that attacks can be added to a table one by one. A case whose
    numbers of steps are the first of a longer one's says nothing new, and is left out.

    Args:
        results: key and record, from a journal, in any order.
        samples: the pictures of the table.
    """
    place = {sample.key: n for n, sample in enumerate(samples)}
    skipped: dict[str, str] = {}
    found: dict[Case, dict[int, dict[str, Any]]] = {}
    for key, result in results:
        picture = key.split("|", 1)[1]
        if picture not in place:
            continue
        if "skipped" in result:
            skipped[picture] = result["skipped"]
        else:
            found.setdefault(case_of(result["case"]), {})[place[picture]] = _slim(result)
    wanted = {n for key, n in place.items() if key not in skipped}
    whole = sorted((case for case in found if wanted <= found[case].keys()), key=rank)
    new = [case for case in whole if not any(_continues(other, case) for other in whole)]
    return Collected(
        {case: [found[case][n] for n in sorted(wanted)] for case in new if wanted},
        [Skipped(key, why) for key, why in sorted(skipped.items())],
        {case.name: len(found[case]) for case in sorted(found.keys() - set(whole), key=rank)},
    )


def _slim(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the rows need, under names that all records share; the rest is in the journal."""
    slim = {name: result[name] for name in _NEEDED if name in result}
    before = result["before"]
    slim["before"] = {
        name: before[name] for name in ("guard", "undefended", *_OF_ADAPTIVE) if name in before
    }
    slim["at"] = {
        steps: {name: said[name] for name in (*_NEEDED_AT, *_OF_ADAPTIVE) if name in said}
        for steps, said in result["at"].items()
    }
    return slim


def _continues(longer: Case, case: Case) -> bool:
    more = longer.steps[len(case.steps) :]
    return bool(case.steps and more) and longer == replace(case, steps=case.steps + more)
