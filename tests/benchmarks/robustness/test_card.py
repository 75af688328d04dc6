"""The robustness card: its verdicts follow from the figures, by its rules."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import pytest

from blurvote.benchmarks.robustness import card_figure
from blurvote.benchmarks.robustness.card import card_text, write_card
from blurvote.benchmarks.robustness.card_summary import (
    attack_rows,
    attack_verdict,
    noise_verdict,
    strongest_attacks,
    summary,
)
from blurvote.runtime import Defense
from blurvote.runtime.errors import SourceError

EVALUATE, ATTACK = "blurvote.evaluate/1", "blurvote.attack/1"


def share(value: float | None, arm: float = 0.05) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None}
    return {"value": value, "low": max(0.0, value - arm), "high": min(1.0, value + arm)}


def attack(
    case: str,
    fooled: float | None,
    undefended: float = 0.0,
    p_value: float = 1.0,
    arm: float = 0.05,
    **more: Any,
) -> dict[str, Any]:
    """A row of `attack.json`; the case is `none` or `attack threat radius`, and `on noise s`."""
    words, _, level = case.partition(" on noise ")
    name, threat, radius = words.split() if " " in words else (words, words, "-")
    everywhere = fooled or 0.0
    return {
        "case": case,
        "attack": name,
        "threat": threat,
        "radius": radius,
        "epsilon": 0.0 if radius == "-" else 0.01,
        "steps": 0 if name == "none" else 40,
        "noise": float(level or 0),
        "images": 100,
        "right": share(0.9 - 0.9 * everywhere),
        "fooled": share(everywhere),
        "rejected": share(0.1 - 0.1 * everywhere),
        "confidence_fooled": share(undefended, arm),
        "versus": {
            "spared": 20 if undefended > everywhere else 0,
            "lost": 20 if undefended < everywhere else 0,
            "p_value": p_value,
        },
        "fooled_of_correct": share(fooled, arm),
        "false_rejects": share(0.04),
        **more,
    }


def noise(
    degradation: str, accepted: float | None, gain: tuple[float, float] | None, **more: Any
) -> dict[str, Any]:
    low, high = gain or (None, None)
    value = None if gain is None else (gain[0] + gain[1]) / 2
    return {
        "degradation": degradation,
        "variant": "own",
        "images": 100,
        "accepted": share(accepted),
        "own_accepted": share(accepted),
        "own_confidence": share(0.6),
        "own_gain": {"value": value, "low": low, "high": high},
        "own_rejected": share(0.2),
        "confidence": share(0.6),
        "gain": {"value": value, "low": low, "high": high},
        **more,
    }


def document(rows: list[dict[str, Any]], schema: str = ATTACK, **more: Any) -> dict[str, Any]:
    guard = {
        "file": "guard.onnx",
        "sha256": "0" * 64,
        "classes": 10,
        "source": "a model",
        "defense": json.loads(Defense().to_json()),
    }
    return {
        "schema": schema,
        "guard": guard,
        "dataset": {"name": "pictures"},
        "twin": {"quantised": False, "file": "guard.onnx"},
        "warnings": [],
        "rows": rows,
        **more,
    }


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (attack("pgd grey-box 2/255", 0.1, 0.6, 0.001), "defends"),
        (attack("pgd grey-box 2/255", 0.1, 0.2, 0.06), "unknown"),  # might be chance
        (attack("pgd grey-box 2/255", 0.22, 0.6, 0.001), "unknown"),  # to 0.27
        (attack("pgd grey-box 2/255", 0.28, 0.6, 0.001), "unknown"),  # from 0.23
        (attack("pgd grey-box 2/255", 0.4, 0.9, 0.001), "does not defend"),  # helps, too little
        (attack("pgd adaptive 2/255", 0.95, 0.5, 0.001), "does not defend"),
        (attack("pgd adaptive 2/255", 0.15, 0.0, 0.001), "does not defend"),  # worse than nothing
        (attack("random control 2/255", 0.02, 0.02), "harmless"),
        (attack("pgd grey-box 2/255", 0.1, 0.1, arm=0.3), "unknown"),  # too few pictures
        (attack("pgd grey-box 2/255", None), "unknown"),  # nothing was right before
    ],
)
def test_verdict_on_an_attack(row: dict[str, Any], verdict: str) -> None:
    assert attack_verdict(row) == verdict


@pytest.mark.parametrize(
    ("accepted", "gain", "verdict"),
    [
        (0.8, (0.01, 0.1), "defends"),
        (0.8, (-0.01, 0.1), "unknown"),
        (0.8, (-0.1, -0.01), "does not defend"),
        (0.4, (0.01, 0.1), "does not defend"),  # better, and still mostly wrong
        (0.4, (-0.01, 0.1), "unknown"),
        (None, None, "unknown"),
    ],
)
def test_verdict_on_noise(accepted: Any, gain: Any, verdict: str) -> None:
    assert noise_verdict(noise("gaussian:0.25", accepted, gain)) == verdict
    # The evaluation compares the majority only.


def test_the_strongest_attack_decides() -> None:
    attacked = document(
        [
            attack("none", 0.0),
            attack("fgsm grey-box 2/255", 0.1, 0.6, 0.001),
            attack("pgd grey-box 2/255", 0.9, 0.9),
            attack("pgd grey-box 1/255", 0.1, 0.6, 0.001),
        ]
    )
    assert [row["case"] for row in strongest_attacks(attacked)] == [
        "pgd grey-box 2/255",
        "pgd grey-box 1/255",
    ]
    good, bad, _ = summary(None, attacked)
    assert good == "- **Defends against:** pgd grey-box 1/255 (fooled 10 %, undefended 60 %)."
    assert (
        bad == "- **Does not defend against:** pgd grey-box 2/255 (fooled 90 %, undefended 90 %)."
    )


def test_three_lines() -> None:
    evaluated = document(
        [
            noise("gaussian:0", 0.9, (-0.02, -0.01)),  # what the vote costs is no fault
            noise("gaussian:0.25", 0.8, (0.05, 0.1)),
            noise("gaussian:0.375", 0.3, (0.05, 0.1)),
            noise("jpeg:3", 0.8, (-0.1, 0.1)),
            noise("jpeg:5", 0.2, (-0.2, -0.1)),  # the card quotes severity 3
            noise("gaussian:0.25", 0.1, (-0.2, -0.1), variant="kernel 7"),
        ],
        EVALUATE,
    )
    attacked = document(
        [
            attack("none", 0.0),
            attack("pgd grey-box 2/255", 0.1, 0.6, 0.001),
            attack("pgd adaptive 2/255", 0.9, 0.5, 0.001),
            attack("square black-box 2/255", 0.2, 0.3, 0.5),
        ]
    )
    good, bad, unknown = summary(evaluated, attacked)
    assert good == (
        "- **Defends against:** noise of sigma 0.25 (80 % of accepted frames right, by confidence "
        "60 %); pgd grey-box 2/255 (fooled 10 %, undefended 60 %)."
    )
    assert bad == (
        "- **Does not defend against:** noise of sigma 0.375 (30 % of accepted frames right, by "
        "confidence 60 %); pgd adaptive 2/255 (fooled 90 %, undefended 50 %)."
    )
    assert "transfer attacks" in unknown
    assert "black-box attacks" not in unknown
    assert "who knows the defence" not in unknown
    assert "(shot, impulse, speckle, low-light, defocus, motion)" in unknown
    assert unknown.endswith("do not decide it: jpeg of severity 3, square black-box 2/255.")


def test_without_a_bounded_adaptive_attack_the_worst_is_unknown() -> None:
    rows = [attack("none", 0.0), attack("pgd grey-box 2/255", 0.1, 0.6, 0.001)]
    wanted = "an attacker who knows the defence (adaptive attack with a bound)"
    assert wanted in summary(None, document(rows))[2]
    unbounded = attack("until-confident adaptive -", 1.0, 1.0)
    lines = summary(None, document([*rows, unbounded]))
    assert wanted in lines[2]
    assert "until-confident adaptive -, without a bound (fooled 100 %" in lines[1]
    rows.append(attack("fgsm adaptive 2/255", 0.1, 0.1))
    assert wanted not in summary(None, document(rows))[2]


def test_each_noise_level_has_its_own_strongest_attack_and_its_own_reference() -> None:
    """A frame that noise alone fools is no success of random signs on quiet frames."""
    attacked = document(
        [
            attack("none", 0.0),
            attack("none on noise 0.375", 0.0),
            attack("random control 2/255", 0.01, 0.02),
            attack("random control 2/255 on noise 0.375", 0.5, 0.5),
            attack("pgd adaptive 2/255", 0.9, 0.5, 0.001),
            attack("pgd adaptive 2/255 on noise 0.375", 0.8, 0.5, 0.001),
        ]
    )
    quiet = ["random control 2/255", "pgd adaptive 2/255"]
    noisy = [f"{name} on noise 0.375" for name in quiet]
    assert {row["case"] for row in strongest_attacks(attacked)} == {*quiet, *noisy}
    names = ["no attack", *quiet, "no attack on noise 0.375", *noisy]
    assert [name for name, _ in attack_rows(attacked)] == names
    named = [
        line.split("|")[1].strip()
        for line in card_text(None, attacked).splitlines()
        if "| " in line
    ]
    steps = ", 40 steps"
    assert [name.removesuffix(steps) for name in named if "strongest" not in name] == names
    drawn = card_figure._attacks(attacked)
    assert drawn[1] == names
    del attacked["rows"][0]["noise"]  # as in results of earlier versions
    assert [name for name, _ in attack_rows(attacked)] == names


def test_an_attack_on_the_switch_alone_leaves_the_adaptive_attacker_unknown() -> None:
    wanted = "an attacker who knows the defence (adaptive attack with a bound)"
    rows = [attack("none", 0.0), attack("force adaptive 2/255", 0.1, 0.1)]
    assert wanted in summary(None, document(rows))[2]
    rows.append(attack("pgd adaptive 2/255", 0.1, 0.1))
    assert wanted not in summary(None, document(rows))[2]


def test_nothing_is_promised_where_nothing_holds() -> None:
    good, bad, unknown = summary(None, document([attack("none", 0.0)]))
    assert good.endswith("nothing that was measured.")
    assert bad.endswith("nothing that was measured and is clear.")
    assert "noise" in unknown


def test_the_card_starts_with_its_lines_and_names_what_was_not_run() -> None:
    attacked = document([attack("none", 0.0), attack("pgd adaptive 2/255", 0.9, 0.5, 0.001)])
    text = card_text(None, attacked)
    title, _, *three, empty = text.splitlines()[:6]
    assert title == "# Robustness card: guard.onnx"
    assert [line[:16] for line in three] == [
        "- **Defends agai",
        "- **Does not def",
        "- **Unknown:** n",
    ]
    assert empty == ""
    assert "Unknown: `blurvote evaluate` has not been run on this guard." in text
    assert "Price on clean pictures: of those that the undefended model gets right, 4.0" in text
    assert "| pgd adaptive 2/255, 40 steps |" in text
    assert "| does not defend |" in text
    other = card_text(document([noise("gaussian:0.25", 0.8, (0.05, 0.1))], EVALUATE), None)
    assert "Unknown: `blurvote attack` has not been run on this guard." in other
    assert "+7.5 | defends |" in other


def test_the_card_labels_an_integer_guard_and_passes_warnings_on() -> None:
    attacked = document(
        [attack("none", 0.0)],
        twin={"quantised": True, "file": "fp32.onnx"},
        warnings=["at L-inf 2/255: Zero gradients."],
    )
    text = card_text(None, attacked)
    assert "computes in integers and was attacked through its fp32 twin fp32.onnx" in text
    assert "- Caution, at L-inf 2/255: Zero gradients." in text
    assert "integers" not in card_text(None, document([attack("none", 0.0)]))


def test_the_guards_own_decision_counts_and_not_the_majority() -> None:
    row = noise("gaussian:0.25", 0.8, (0.05, 0.1))
    row["gain"] = {"value": -0.4, "low": -0.5, "high": -0.3}
    text = card_text(document([row], EVALUATE), None)
    assert noise_verdict(row) == "defends"
    assert "+7.5" in text
    assert "-40.0" not in text


def test_files(tmp_path: Path) -> None:
    write_card(tmp_path)
    assert not list(tmp_path.iterdir())  # nothing was measured
    evaluated = document([noise("gaussian:0", 0.9, (-0.1, 0.1))], EVALUATE)
    attacked = document([attack("none", 0.0), attack("pgd adaptive 2/255", 0.9)])
    (tmp_path / "evaluate.json").write_text(json.dumps(evaluated))
    (tmp_path / "attack.json").write_text(json.dumps(attacked))
    write_card(tmp_path)
    assert "has not been run" not in (tmp_path / "card.md").read_text()
    assert cv2.imread(str(tmp_path / "card.png")).shape[1] == 1600
    # A guard exported anew: the results of the old file are another guard's.
    attacked["guard"]["sha256"] = "1" * 64
    (tmp_path / "attack.json").write_text(json.dumps(attacked))
    os.utime(tmp_path / "evaluate.json", (1, 1))
    write_card(tmp_path)
    assert "`blurvote evaluate` has not been run" in (tmp_path / "card.md").read_text()


def test_results_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "attack.json").write_text("{")
    with pytest.raises(SourceError, match="is not JSON"):
        write_card(tmp_path)
