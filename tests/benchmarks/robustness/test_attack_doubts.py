"""Which figures the warnings are given: of one radius, norm and noise, less the errors before."""

from __future__ import annotations

from typing import Any

from blurvote.benchmarks.robustness.attack.cases import Case
from blurvote.benchmarks.robustness.attack.doubts import warnings_of
from blurvote.benchmarks.robustness.attack.score import Row, rows

COUNT = 20


def made(case: Case, *fooled: int, wrong_before: int = 0, stuck: int = 0) -> list[Row]:
    """Rows of 20 pictures: so many fooled at each checkpoint, the first ones."""

    def record(n: int) -> dict[str, Any]:
        at = {}
        for steps, count in zip(case.steps or (0,), fooled, strict=True):
            label = int(n < count)
            at[str(steps)] = {
                "guard": label,
                "undefended": label,
                "confidence": 0.5,
                "log_odds": 0.0,
            }
            at[str(steps)] |= dict.fromkeys(
                ("linf", "l2", "per_pixel", "changed_1", "changed_10"), 0.0
            )
        return {
            "label": 0,
            "target": None,
            "at": at,
            "before": {"guard": int(n < wrong_before), "undefended": 0},
            "seconds": 0.0,
            "gradients": int(case.threat not in ("control", "black-box")),
            "queries": 0,
            "zero_gradients": int(COUNT - n <= stuck),
            "ending": None,
        }

    return rows(case, [record(n) for n in range(COUNT)])


def case(
    attack: Any,
    threat: Any,
    epsilon: float = 2 / 255,
    steps: tuple[int, ...] = (10,),
    noise: float = 0.0,
) -> Case:
    plain = attack in ("random", "square", "fgsm")
    return Case(attack, threat, epsilon, () if plain else steps, noise=noise)


def test_sound_attacks_give_no_cause() -> None:
    table = [
        *made(case("random", "control"), 0),
        *made(case("pgd", "grey-box"), 10),
        *made(case("pgd", "adaptive"), 12),
        *made(case("square", "black-box"), 5),
    ]
    assert warnings_of(table) == []


def test_radii_and_norms_are_not_mixed() -> None:
    # Each radius alone is in order; taken together, the weak adaptive ones would be doubted.
    table = [
        *made(case("pgd", "grey-box", 8 / 255), 15),
        *made(case("pgd", "adaptive", 8 / 255), 16),
        *made(case("pgd", "grey-box", 2 / 255), 3),
        *made(case("pgd", "adaptive", 2 / 255), 4),
        *made(case("pgd-l2", "grey-box", 2.0), 1),
        *made(case("pgd-l2", "adaptive", 2.0), 2),
    ]
    assert warnings_of(table) == []
    table += made(case("square", "black-box", 2 / 255), 5)
    (warning,) = warnings_of(table)
    assert warning.startswith("at L-inf 2/255: The black-box attack (5 of 20")
    table = [*made(case("pgd-l2", "grey-box", 2.0), 3), *made(case("pgd-l2", "adaptive", 2.0), 2)]
    (warning,) = warnings_of(table)
    assert warning.startswith("at L2 2: The adaptive attack (2 of 20")


def test_without_a_bound_success_is_not_compared() -> None:
    table = [
        *made(case("until-confident", "grey-box", 0.0), 20),
        *made(case("until-confident", "adaptive", 0.0), 10),
    ]
    assert warnings_of(table) == []
    table += made(case("until-confident", "grey-box", 0.0), 15, stuck=2)
    (warning,) = warnings_of(table)
    assert warning.startswith("without a bound: Zero gradients on 2 of 20")


def test_errors_that_were_there_before_are_no_success() -> None:
    # Five pictures are wrong without any attack, and with it: the attack did nothing.
    table = [
        *made(case("random", "control"), 5, wrong_before=5),
        *made(case("pgd", "adaptive"), 5, wrong_before=5),
    ]
    (warning,) = warnings_of(table)
    assert "never succeeded (0 of 15" in warning
    # Nothing was right before: there is nothing to hold against each other.
    assert warnings_of(made(case("pgd", "adaptive"), 20, wrong_before=20)) == []


def test_more_steps_are_held_against_the_same_attack() -> None:
    steps = (10, 40, 100)
    table = [
        *made(case("pgd", "grey-box", steps=steps), 4, 4, 4),
        *made(case("pgd", "adaptive", steps=steps), 1, 8, 16),
        *made(case("sgd", "adaptive", steps=steps), 2, 2, 2),
    ]
    (warning,) = warnings_of(table)
    assert "8 of 20 (40.0%) at 40 steps, 16 of 20 (80.0%) at 100" in warning


def test_noise_levels_are_not_mixed() -> None:
    noisy = {"noise": 0.375}
    table = [
        *made(case("pgd", "grey-box"), 3),
        *made(case("pgd", "adaptive"), 4),
        *made(case("pgd", "grey-box", **noisy), 15),
        *made(case("pgd", "adaptive", **noisy), 16),
    ]
    assert warnings_of(table) == []
    table += made(case("square", "black-box", **noisy), 17)
    (warning,) = warnings_of(table)
    assert warning.startswith("at L-inf 2/255 on noise 0.375: The black-box attack (17 of 20")
    table = made(case("until-confident", "grey-box", 0.0, **noisy), 15, stuck=2)
    (warning,) = warnings_of(table)
    assert warning.startswith("without a bound on noise 0.375: Zero gradients on 2 of 20")


def test_attacks_on_the_switch_are_checked_but_not_compared() -> None:
    """What they reach is no measure of others: of some guards the other views are the better."""
    table = [
        *made(case("pgd", "grey-box"), 10),
        *made(case("pgd", "adaptive"), 12),
        *made(case("force", "adaptive"), 15),
        *made(case("evade", "adaptive", noise=0.06), 0),
    ]
    assert warnings_of(table) == []
    (warning,) = warnings_of(made(case("evade", "adaptive", noise=0.06), 17, stuck=4))
    assert warning.startswith("evade at L-inf 2/255 on noise 0.06: Zero gradients on 3 of 20")
    (warning,) = warnings_of(made(case("force", "adaptive", steps=(10, 40)), 5, 15))
    assert warning.startswith("force at L-inf 2/255: More steps still help")


def test_a_zero_gradient_of_a_fooled_picture_is_no_doubt() -> None:
    # The last three had zero gradients; of them the last one was not fooled.
    (warning,) = warnings_of(made(case("pgd", "adaptive"), 19, stuck=3))
    assert "Zero gradients on 1 of 20" in warning
