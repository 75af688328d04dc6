"""The rows of the attack table, against counts made by hand."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict
from typing import Any

import pytest

from blurvote.benchmarks.robustness.attack.cases import CLEAN, Case
from blurvote.benchmarks.robustness.attack.collected import collect
from blurvote.benchmarks.robustness.attack.score import Row, names, rows
from blurvote.benchmarks.robustness.dataset import Sample

PGD = Case("pgd", "adaptive", 8 / 255, (2, 4))
TARGETED = Case("pgd", "grey-box", 8 / 255, (2, 4), targeted=True)
SAMPLES = [Sample(n, f"{n}.png", 0, f"/{n}.png") for n in range(5)]


def said(guard: int, undefended: int, confidence: float, **changes: float) -> dict[str, Any]:
    change = {"linf": 0.0, "l2": 0.0, "per_pixel": 0.0, "changed_1": 0.0, "changed_10": 0.0}
    labels = {"guard": guard, "undefended": undefended}
    return labels | {"confidence": confidence, "log_odds": confidence} | change | changes


def record(case: Case, guard_before: int, *at: dict[str, Any], **more: Any) -> dict[str, Any]:
    steps = case.steps or (0,)
    costs = {"seconds": 1.0, "gradients": 4, "queries": 0, "zero_gradients": 0, "ending": None}
    return {
        "case": asdict(case) | {"steps": list(case.steps)},
        "label": 0,
        "target": None,
        "at": dict(zip(map(str, steps), at, strict=True)),
        "before": said(guard_before, 0, 0.5),
        **costs,
        **more,
    }


def five() -> list[Row]:
    """Truth is 0; -1 is rejected. Five pictures, of which the guard accepts four at 4 steps."""
    start = said(0, 0, 0.9)
    return rows(
        PGD,
        [
            record(PGD, 0, start, said(0, 1, 0.9, l2=1.0), zero_gradients=1),  # spared
            record(PGD, 0, start, said(2, 0, 0.8, l2=2.0), seconds=2.0, queries=30),  # lost
            record(
                PGD, 0, start, said(1, 1, 0.7, l2=3.0), zero_gradients=2, queries=20
            ),  # either way
            record(  # wrong before, with the defence and without
                PGD, 2, start, said(2, 3, 0.6, l2=4.0), queries=10, before=said(2, 2, 0.5)
            ),
            record(PGD, -1, start, said(-1, 4, 0.5, l2=5.0)),  # the least sure one is not kept
        ],
    )


def test_success_is_wrong_and_accepted() -> None:
    few, many = five()
    assert (few.steps, many.steps, many.images) == (2, 4, 5)
    assert few.fooled.successes == 0
    assert (many.right.successes, many.fooled.successes, many.rejected.successes) == (1, 3, 1)
    assert (many.fooled.trials, many.fooled.value) == (5, 0.6)
    assert many.undefended_right.successes == 1
    # Of the three that were right before, two are fooled now.
    assert many.correct_before == 3
    assert (many.fooled_of_correct.successes, many.fooled_of_correct.trials) == (2, 3)
    # The undefended model gets one right, and the guard does not reject that.
    assert (many.false_rejects.successes, many.false_rejects.trials) == (0, 1)
    assert many.reached is None
    assert many.l2 == (1 + 2 + 3 + 5) / 4  # of those that the undefended model had right


def test_the_undefended_model_accepts_as_many() -> None:
    _, many = five()
    # Four are accepted: those of 0.9, 0.8, 0.7, 0.6; of them 1, 1 and 3 are wrong labels.
    assert (many.confidence_fooled.successes, many.confidence_fooled.trials) == (3, 5)
    assert (many.versus.spared, many.versus.lost) == (1, 1)
    assert many.versus.p_value == 1.0


def test_the_sign_test() -> None:
    start = said(0, 0, 0.9)
    six = [record(PGD, 0, start, said(0, 1, 0.9)) for _ in range(6)]
    versus = rows(PGD, six)[1].versus
    assert (versus.spared, versus.lost) == (6, 0)
    assert versus.p_value == pytest.approx(2 / 2**6)
    assert rows(PGD, [record(PGD, 0, start, start)])[1].versus.p_value == 1.0


def test_nothing_accepted_keeps_nothing() -> None:
    row = rows(PGD, [record(PGD, -1, said(-1, 1, 0.9), said(-1, 1, 0.9))])[1]
    assert (row.fooled.value, row.confidence_fooled.value, row.rejected.value) == (0, 0, 1)
    assert math.isnan(row.fooled_of_correct.value)
    assert math.isnan(row.cost.queries_to_fool)


def test_costs_and_gradients_that_led_nowhere() -> None:
    _, many = five()
    assert many.cost.seconds == pytest.approx(6 / 5)
    assert (many.cost.queries, many.cost.queries_to_fool) == (12.0, 20.0)  # of 30, 20 and 10
    assert many.cost.zero_gradients.successes == 2
    # Of the two with a zero gradient, one was fooled all the same.
    assert many.stuck.successes == 1


def test_a_grey_box_attack_is_stuck_where_its_own_model_stood() -> None:
    case = Case("pgd", "grey-box", 8 / 255, (4,))
    found = rows(
        case,
        [
            record(case, 0, said(0, 1, 0.9), zero_gradients=3),  # its own model was moved
            record(case, 0, said(0, 0, 0.9), zero_gradients=3),
        ],
    )
    assert found[0].stuck.successes == 1
    reached = record(TARGETED, 0, said(2, 2, 1.0), said(2, 2, 1.0), target=2, zero_gradients=9)
    missed = record(TARGETED, 0, said(1, 1, 1.0), said(1, 1, 1.0), target=2, zero_gradients=9)
    assert rows(TARGETED, [reached, missed])[1].stuck.successes == 1


def test_targets() -> None:
    found = [
        record(TARGETED, 0, said(0, 0, 0.9), said(2, 2, 0.9), target=2),
        record(TARGETED, 0, said(0, 0, 0.9), said(1, 1, 0.9), target=2),
        record(TARGETED, 0, said(0, 0, 0.9), said(-1, 2, 0.9), target=2),
    ]
    few, many = rows(TARGETED, found)
    assert few.reached is not None
    assert many.reached is not None
    assert (few.reached.successes, many.reached.successes, many.fooled.successes) == (0, 1, 2)
    assert many.variant == "targeted"


def test_endings_and_the_perturbation_alone() -> None:
    case = Case("until-confident", "grey-box", 0.0, (4,))
    alone = {"undefended": 3, "confidence": 0.25}
    found = rows(
        case,
        [
            record(case, 0, said(3, 3, 0.9), ending=["confident", 3], alone=alone),
            record(case, 0, said(1, 1, 0.9), ending=["stalled", 20], alone=alone),
            record(case, 0, said(0, 0, 0.9), ending=["steps", 1000]),
        ],
    )
    (row,) = found
    assert row.endings == {"confident": 1, "stalled": 1, "steps": 1, "median_steps": 20}
    assert row.alone is not None
    assert (row.alone.successes, row.alone.trials, row.alone_confidence) == (1, 2, 0.25)


def journal(*cases: Case, pictures: int = 5) -> list[tuple[str, Any]]:
    start = said(0, 0, 0.9)
    return [
        (f"{case.key}|{sample.key}", record(case, 0, *[start] * len(case.steps or (0,)), seconds=n))
        for case in cases
        for n, sample in enumerate(SAMPLES[:pictures])
    ]


def test_records_come_in_the_order_of_the_pictures() -> None:
    written = journal(CLEAN, PGD)
    for order in itertools.islice(itertools.permutations(written), 0, 5000, 997):
        found = collect(order, SAMPLES)
        assert list(found.records) == [CLEAN, PGD]
        assert [one["seconds"] for one in found.records[PGD]] == [0, 1, 2, 3, 4]
        assert not found.skipped
        assert not found.partial


def test_what_was_run_on_some_pictures_is_named_and_left_out() -> None:
    found = collect([*journal(CLEAN), *journal(PGD, pictures=3)], SAMPLES)
    assert list(found.records) == [CLEAN]
    assert found.partial == {PGD.name: 3}
    # Of a table of those three pictures it is a part.
    assert list(collect(journal(CLEAN, PGD, pictures=3), SAMPLES[:3]).records) == [CLEAN, PGD]


def test_a_picture_skipped_by_one_is_left_out_of_all() -> None:
    written = [*journal(CLEAN), *journal(PGD, pictures=4)]
    written.append((f"{PGD.key}|4.png", {"skipped": "too small"}))
    found = collect(written, SAMPLES)
    assert [len(records) for records in found.records.values()] == [4, 4]
    assert [(entry.key, entry.why) for entry in found.skipped] == [("4.png", "too small")]
    every = [(f"{CLEAN.key}|{sample.key}", {"skipped": "gone"}) for sample in SAMPLES]
    assert collect(every, SAMPLES).records == {}


def test_pictures_of_a_larger_run_are_left_out() -> None:
    found = collect(journal(CLEAN), SAMPLES[:2])
    assert [one["seconds"] for one in found.records[CLEAN]] == [0, 1]


def test_fewer_steps_of_the_same_attack_are_not_shown_twice() -> None:
    short, other = Case("pgd", "adaptive", 8 / 255, (2,)), Case("pgd", "adaptive", 8 / 255, (4,))
    found = collect(journal(short, other, PGD), SAMPLES)
    assert list(found.records) == [PGD, other]  # 4 steps at once is another schedule
    named = names([PGD, other, CLEAN])
    assert len(set(named.values())) == 3
    assert named[CLEAN] == "none"
    assert {row.case for row in rows(other, found.records[other], named[other])} == {other.key}
