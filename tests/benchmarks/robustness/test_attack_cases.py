"""Which cases a command asks for, and what names them."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from blurvote.benchmarks.robustness.attack.cases import (
    ATTACKS,
    CLEAN,
    THREATS,
    Case,
    case_of,
    cases,
    parse_epsilon,
    rank,
)
from blurvote.benchmarks.robustness.attack.choice import strongest
from blurvote.runtime.errors import BlurvoteError

STEPS = (2, 4)
EPSILONS = [2 / 255, 4 / 255]


def everything(**options: object) -> tuple[Case, ...]:
    settings: dict = {"surrogate": ("other", "01234567")} | options
    return cases(tuple(ATTACKS), tuple(THREATS), EPSILONS, [1.0], STEPS, **settings)


def test_every_attack_under_every_threat_at_every_radius() -> None:
    found = everything()
    assert found[0] == CLEAN
    count = {name: sum(case.attack == name for case in found) for name in ATTACKS}
    # The control and the queries have one threat model; until-confident has no radius.
    assert count == {
        "random": 2,
        "fgsm": 2 * 3,
        "scaled": 2 * 3,
        "sgd": 2 * 3,
        "pgd": 2 * 3,
        "pgd-l2": 1 * 3,
        "until-confident": 3,
        "square": 2,
        "force": 2,
        "evade": 2,
    }
    # Beside pgd-l2, the control in its norm; beside evade, its noise without an attack.
    assert [case.epsilon for case in found if case.attack == "random-l2"] == [1.0]
    assert len(found) == 2 + sum(count.values()) + 1
    # What the source of sgd counts at is always counted.
    assert {case.steps for case in found if case.attack == "sgd"} == {(2, 4, 30)}
    assert {case.surrogate for case in found if case.threat == "transfer"} == {
        ("other", "01234567")
    }
    assert all(case.surrogate is None for case in found if case.threat != "transfer")
    assert all(case.steps == () for case in found if case.attack in ("fgsm", "scaled", "random"))


def test_restarts_and_queries_go_where_they_mean_something() -> None:
    found = everything(restarts=5, queries=30, targeted=True)
    assert {case.attack for case in found if case.restarts > 1} == {"pgd", "pgd-l2"}
    assert {case.attack for case in found if case.queries} == {"square"}
    assert {case.attack for case in found if not case.targeted} == {
        "none",
        "random",
        "random-l2",
        "square",
    }


def test_asked_twice_is_run_once() -> None:
    found = cases(("fgsm", "fgsm"), ("adaptive",), [2 / 255, 2 / 255], [], STEPS)
    assert len(found) == 2


def test_no_two_cases_share_a_key() -> None:
    found = {
        *everything(),
        *everything(targeted=True),
        *everything(restarts=5),
        *everything(queries=30),
        *everything(surrogate=("other", "76543210")),
        *cases(("pgd",), tuple(THREATS), EPSILONS, [], (2,), surrogate=("third", "01234567")),
    }
    assert len({case.key for case in found}) == len(found)


def test_a_case_survives_json() -> None:
    for case in everything(targeted=True, restarts=3):
        assert case_of(json.loads(json.dumps(asdict(case)))) == case


def test_names_say_what_was_run() -> None:
    pgd = Case("pgd", "transfer", 2 / 255, STEPS, 5, True, surrogate=("other", "01234567"))
    assert pgd.name == "pgd transfer from other 2/255 targeted 5 restarts"
    assert pgd.key == f"{pgd.name} 2,4 01234567"
    assert Case("pgd-l2", "adaptive", 1.5).radius == "1.5"
    assert Case("pgd", "adaptive", 0.5 / 255).radius == "0.5/255"
    assert Case("pgd", "adaptive", 0.1).radius == "0.1"
    assert Case("pgd", "adaptive", 8 / 255).radius == "8/255"
    assert (CLEAN.name, CLEAN.radius) == ("none", "-")


def test_the_table_starts_clean_and_keeps_radii_together() -> None:
    ranked = sorted(everything(), key=rank)
    assert ranked[0] == CLEAN
    pgd = [(case.radius, case.threat) for case in ranked if case.attack == "pgd"]
    assert pgd == [(r, t) for r in ("2/255", "4/255") for t in ("grey-box", "transfer", "adaptive")]


@pytest.mark.parametrize(
    ("text", "value"),
    [("2/255", 2 / 255), (" 8 / 255 ", 8 / 255), ("0.03", 0.03), ("1e-2", 0.01), ("3", 3.0)],
)
def test_epsilons_as_people_write_them(text: str, value: float) -> None:
    assert parse_epsilon(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "0", "-1", "2/0", "a", "1/2/3", "1.2.3", "nan", "inf", "2/"])
def test_what_is_no_epsilon(text: str) -> None:
    with pytest.raises(BlurvoteError, match="expected such as 2/255"):
        parse_epsilon(text)


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(BlurvoteError, match="attack 'cw' is unknown; expected random, fgsm"):
        cases(("cw",), ("adaptive",), EPSILONS, [], STEPS)
    with pytest.raises(BlurvoteError, match="threat 'white-box' is unknown; expected grey-box"):
        cases(("pgd",), ("white-box",), EPSILONS, [], STEPS)
    with pytest.raises(BlurvoteError, match="less than one grey level"):
        cases(("pgd",), ("adaptive",), [0.001], [], STEPS)
    with pytest.raises(BlurvoteError, match="at most 1, as pixels are in"):
        cases(("pgd",), ("adaptive",), [2.0], [], STEPS)
    # Of the L2 radius, which is over the whole frame, 2 is nothing unusual.
    assert len(cases(("pgd-l2",), ("adaptive",), [], [2.0], STEPS)) == 2


def test_the_strongest_stands_for_its_group() -> None:
    rows = [("a", 1, "first"), ("b", 5, "only"), ("a", 3, "second"), ("a", 3, "third")]
    found = strongest(rows, lambda row: row[0], lambda row: row[1])
    assert found == [("a", 3, "third"), ("b", 5, "only")]
