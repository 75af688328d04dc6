"""Each warning at the figures that call for it, and silence at those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from blurvote.benchmarks.robustness.attacks.warnings import (
    Evidence,
    Successes,
    attack_warnings,
)
from blurvote.runtime.errors import BlurvoteError


def of(count: int, trials: int = 100) -> Successes:
    return Successes(count, trials)


SOUND = {
    "zero_gradients": of(0),
    "grey_box": of(60),
    "adaptive": of(80),
    "transfer": of(10),
    "black_box": of(30, 50),
    "random": of(3),
    "fewer_steps": of(79),
    "more_steps": of(80),
}

CASES: list[tuple[dict[str, Any], str]] = [
    ({"zero_gradients": of(7)}, "Zero gradients on 7 of 100 (7.0%) frames"),
    (
        {"black_box": of(45, 50)},
        "The black-box attack (45 of 50 (90.0%)) is stronger than the white-box one (80 of 100",
    ),
    ({"transfer": of(81)}, "The transfer attack (81 of 100 (81.0%)) is stronger than the white"),
    (
        {"adaptive": of(59)},
        "The adaptive attack (59 of 100 (59.0%)) is weaker than the non-adaptive one (60 of 100",
    ),
    ({"random": of(80)}, "Random noise of the same norm (80 of 100 (80.0%)) does as much as the"),
    (
        {"fewer_steps": of(76)},
        "More steps still help: 76 of 100 (76.0%) at 40 steps, 80 of 100 (80.0%) at 100",
    ),
]


def test_silent_where_all_is_well() -> None:
    assert attack_warnings(Evidence(**SOUND)) == []
    assert attack_warnings(Evidence()) == []


@pytest.mark.parametrize(("worse", "sentence"), CASES)
def test_one_cause_one_warning(worse: dict[str, Any], sentence: str) -> None:
    (found,) = attack_warnings(Evidence(**{**SOUND, **worse}))
    assert found.startswith(sentence)
    assert found.endswith(".")


def test_an_attack_that_never_succeeds_proves_nothing() -> None:
    found = attack_warnings(Evidence(adaptive=of(0), random=of(0)))
    assert found == [
        "The attack never succeeded (0 of 100 (0.0%)); raise epsilon until it does, to test it."
    ]


@pytest.mark.parametrize(
    ("fewer", "more", "trials", "warned"),
    [
        (77, 80, 100, False),  # z = sqrt(3) = 1.7
        (76, 80, 100, True),  # z = 2
        (80, 76, 100, False),
        (400, 409, 1000, False),  # beyond chance, below 1 %
        (400, 410, 1000, True),
    ],
)
def test_beyond_noise(fewer: int, more: int, trials: int, warned: bool) -> None:
    evidence = Evidence(
        fewer_steps=of(fewer, trials), more_steps=of(more, trials), fewer=10, more=40
    )
    found = attack_warnings(evidence)
    assert [("10 steps" in line and "40;" in line) for line in found] == [True] * warned


def test_figures_that_cannot_be() -> None:
    with pytest.raises(BlurvoteError, match="7 successes of 5 frames; expected 0 <= count <= of"):
        Successes(7, 5)
    with pytest.raises(BlurvoteError, match="0 successes of 0 frames"):
        Successes(0, 0)
    with pytest.raises(BlurvoteError, match="40 steps were tried on 50 frames and 100 steps on 60"):
        attack_warnings(Evidence(fewer_steps=of(1, 50), more_steps=of(1, 60)))
