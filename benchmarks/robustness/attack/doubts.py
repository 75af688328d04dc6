"""Which figures of the table are held against each other to doubt an attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from blurvote.benchmarks.robustness.attack.cases import L2, SWITCH
from blurvote.benchmarks.robustness.attack.score import Row
from blurvote.benchmarks.robustness.attacks.warnings import Evidence, Successes, attack_warnings
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["warnings_of"]


def warnings_of(rows: Sequence[Row]) -> list[str]:
    """Signs that the attacks were too weak, for each noise level and radius on its own.

    Successes are counted on the pictures that the guard got right before: errors that were there
    anyway would pass for the attack's. Attacks without a bound differ in how far they went, and
    those on the noise switch want the noise to be misread first, so neither is compared with
    others: of these only the gradients are checked, and whether the latter have converged.
    """
    attacks = [row for row in rows if row.attack != "none"]
    found = []
    for key in dict.fromkeys(map(_compared, attacks)):
        part = [row for row in attacks if _compared(row) == key]
        first = part[0]
        if first.attack in SWITCH:
            evidence = _of_switch(part)
        elif first.epsilon:
            evidence = _evidence(part)
        else:
            evidence = Evidence(zero_gradients=_stuck(part))
        found += [f"{_place(first)}: {warning}" for warning in attack_warnings(evidence)]
    return found


def _compared(row: Row) -> tuple[float, str, str]:
    """What rows that are held against each other have in common."""
    return row.noise, row.radius, row.attack if row.attack in SWITCH else ""


def _place(row: Row) -> str:
    words = [row.attack] * (row.attack in SWITCH)
    if row.epsilon:
        words += ["at", "L2" if row.attack in L2 else "L-inf", row.radius]
    else:
        words += ["without a bound"]
    return " ".join([*words, *([f"on noise {row.noise:g}"] if row.noise else [])])


def _evidence(part: Sequence[Row]) -> Evidence:
    by_threat = {
        threat: _strongest(row for row in part if row.threat == threat)
        for threat in ("control", "grey-box", "transfer", "adaptive", "black-box")
    }
    counted = {threat: _successes(row) for threat, row in by_threat.items()}
    return replace(
        _converged(part, by_threat["adaptive"] or by_threat["grey-box"]),
        zero_gradients=_stuck(part),
        grey_box=counted["grey-box"],
        adaptive=counted["adaptive"],
        transfer=counted["transfer"],
        black_box=counted["black-box"],
        random=counted["control"],
    )


def _of_switch(part: Sequence[Row]) -> Evidence:
    return replace(_converged(part, _strongest(part)), zero_gradients=_stuck(part))


def _converged(part: Sequence[Row], row: Row | None) -> Evidence:
    """The last two checkpoints of the attack that was strongest."""
    same = [other for other in part if row and other.case == row.case and other.steps]
    if len(same) < 2:
        return Evidence()
    fewer, more = same[-2:]
    return Evidence(
        fewer_steps=_successes(fewer),
        more_steps=_successes(more),
        fewer=fewer.steps,
        more=more.steps,
    )


def _strongest(rows: Iterable[Row]) -> Row | None:
    # The last of equals: more steps, which is where the attack ended.
    return max(
        (row for row in rows if row.correct_before),
        key=lambda row: (row.fooled_of_correct.value, row.steps),
        default=None,
    )


def _stuck(part: Iterable[Row]) -> Successes | None:
    return max(
        (_counts(row.stuck) for row in part if row.cost.gradients),
        key=lambda successes: successes.share,
        default=None,
    )


def _successes(row: Row | None) -> Successes | None:
    return None if row is None else _counts(row.fooled_of_correct)


def _counts(value: Share) -> Successes:
    return Successes(value.successes, value.trials)
