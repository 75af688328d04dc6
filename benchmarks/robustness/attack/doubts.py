"""Which figures of the table are held against each other to doubt an attack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from blurvote.benchmarks.robustness.attack.cases import SWITCH
from blurvote.benchmarks.robustness.attack.score import Row
from blurvote.benchmarks.robustness.attacks.warnings import Evidence, Successes, attack_warnings
from blurvote.benchmarks.robustness.statistics import Share

__all__ = ["warnings_of"]


def warnings_of(rows: Sequence[Row]) -> list[str]:
    """Signs that the attacks were too weak, for each radius on its own.

    Successes are counted on the pictures that the guard got right before: errors that were there
    anyway would pass for the attack's. Attacks without a bound differ in how far they went, so of
    them only the gradients are checked.
    """
    # Of frames without noise alone, and not of attacks that want the noise to be misread.
    rows = [row for row in rows if not row.noise and row.attack not in SWITCH]
    found = []
    for radius in dict.fromkeys(row.radius for row in rows if row.attack != "none"):
        part = [row for row in rows if row.radius == radius and row.attack != "none"]
        if part[0].epsilon:
            norm = "L2" if part[0].attack == "pgd-l2" else "L-inf"
            place, evidence = f"at {norm} {radius}", _evidence(part)
        else:
            place, evidence = "without a bound", Evidence(zero_gradients=_stuck(part))
        found += [f"{place}: {warning}" for warning in attack_warnings(evidence)]
    return found


def _evidence(part: Sequence[Row]) -> Evidence:
    by_threat = {
        threat: _strongest(row for row in part if row.threat == threat)
        for threat in ("control", "grey-box", "transfer", "adaptive", "black-box")
    }
    counted = {threat: _successes(row) for threat, row in by_threat.items()}
    fewer, more = _steps(part, by_threat["adaptive"] or by_threat["grey-box"])
    return Evidence(
        zero_gradients=_stuck(part),
        grey_box=counted["grey-box"],
        adaptive=counted["adaptive"],
        transfer=counted["transfer"],
        black_box=counted["black-box"],
        random=counted["control"],
        fewer_steps=_successes(fewer),
        more_steps=_successes(more),
        fewer=fewer.steps if fewer else 0,
        more=more.steps if more else 0,
    )


def _strongest(rows: Iterable[Row]) -> Row | None:
    # The last of equals: more steps, which is where the attack ended.
    return max(
        (row for row in rows if row.correct_before),
        key=lambda row: (row.fooled_of_correct.value, row.steps),
        default=None,
    )


def _steps(part: Sequence[Row], row: Row | None) -> tuple[Row | None, Row | None]:
    """The last two checkpoints of the attack that was strongest."""
    same = [other for other in part if row and other.case == row.case and other.steps]
    return (same[-2], same[-1]) if len(same) > 1 else (None, None)


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
