"""What the figures show of a table, read back from what was drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.drawing import house_style
from blurvote.benchmarks.robustness.attack import figures
from blurvote.benchmarks.robustness.attack.cases import CLEAN, Case, cases
from blurvote.benchmarks.robustness.attack.comparison import comparison
from blurvote.benchmarks.robustness.attack.score import Row, rows

pytest.importorskip("matplotlib")


def made(case: Case, fooled: int, per_pixel: float = 0.1) -> list[Row]:
    """Ten pictures, so many fooled with the guard and one more without it."""

    def said(n: int) -> dict[str, Any]:
        change = dict.fromkeys(("linf", "l2", "changed_1", "changed_10"), 0.0)
        labels = {"guard": int(n < fooled), "undefended": int(n <= fooled)}
        return {
            **labels,
            "confidence": 1 - n / 100,
            "log_odds": -n,
            "per_pixel": per_pixel,
            **change,
        }

    record = {
        "label": 0,
        "target": None,
        "before": {"guard": 0, "undefended": 0},
        "seconds": 0.0,
        "gradients": 1,
        "queries": 0,
        "zero_gradients": 0,
        "ending": ["confident", 3] if case.attack == "until-confident" else None,
    }
    at = case.steps or (0,)
    return rows(case, [record | {"at": {str(s): said(n) for s in at}} for n in range(10)])


def table(epsilons: list[float], steps: tuple[int, ...] = (10, 40)) -> list[Row]:
    found = cases(("random", "fgsm", "pgd"), ("grey-box", "adaptive"), epsilons, [], steps)
    return [
        row for n, case in enumerate(found) for row in made(case, 0 if case == CLEAN else min(9, n))
    ]


def widths(axis: Any) -> list[list[float]]:
    return [
        [bar.get_width() for bar in group] for group in axis.containers if hasattr(group, "patches")
    ]


def test_bars_are_the_shares() -> None:
    shown = figures.last_rows(table([2 / 255]))
    with house_style():
        figure = figures._attacks(shown)
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == [
        "clean pictures",
        "random control 2/255",
        "fgsm grey-box 2/255",
        "fgsm adaptive 2/255",
        "pgd grey-box 2/255",
        "pgd adaptive 2/255",
    ]
    guard, undefended = widths(axis)
    assert guard == pytest.approx([100 * row.fooled.value for row in shown])
    assert undefended == pytest.approx([100 * row.confidence_fooled.value for row in shown])
    # The first is on top, and nothing is cut off.
    bottom, top = axis.get_ylim()
    assert bottom > len(shown) - 1
    assert top < 0


def test_many_attacks_are_stood_for_by_the_strongest() -> None:
    every = figures.last_rows(table([n / 255 for n in range(1, 9)]))
    shown = figures._shown(every, 16)
    assert len(every) > 16
    # Eight radii of three threats, and the clean pictures.
    assert len(shown) == 25
    assert {row.attack for row in shown if row.threat == "adaptive"} == {"pgd"}
    assert figures._shown(every[:5], 16) == every[:5]


def test_each_noise_level_has_its_own_strongest_attack_and_its_own_reference() -> None:
    found = cases(
        ("random", "fgsm", "pgd"), ("grey-box", "adaptive"), [n / 255 for n in (1, 2, 4)], [],
        (10,), noises=(0.0, 0.375),
    )  # fmt: skip
    every = [row for n, case in enumerate(found) for row in made(case, n % 10)]
    shown = figures._shown(every, 16)
    # Of either level the untouched pictures first, then three radii of three threats.
    assert [row.noise for row in shown] == [0.0] * 10 + [0.375] * 10
    assert [figures._name(shown[n]) for n in (0, 10)] == [
        "clean pictures",
        "no attack on noise 0.375",
    ]
    kinds = [(row.threat, row.radius) for row in shown]
    assert len(set(kinds[:10])) == 10
    assert set(kinds[:10]) == set(kinds[10:])


def test_lines_against_the_radius() -> None:
    with house_style():
        assert figures._against_radius(figures.last_rows(table([2 / 255]))) is None
        figure = figures._against_radius(figures.last_rows(table([8 / 255, 2 / 255])))
    axis = figure.axes[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(names) == [
        "adaptive (pgd)",
        "control (random)",
        "grey-box (pgd)",
        "grey-box (pgd), undefended, same coverage",
    ]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["2", "8"]


def test_lines_against_the_steps() -> None:
    with house_style():
        assert figures._against_steps(table([2 / 255], (10,))) is None
        figure = figures._against_steps(table([n / 255 for n in (1, 2, 4, 8)]))
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [f"pgd {t} {r}/255" for r in (1, 8) for t in ("grey-box", "adaptive")]


def test_guards_side_by_side(tmp_path: Path) -> None:
    case = Case("until-confident", "grey-box", 0.0, (10, 1000))
    guards = {"weak": made(case, 9, 0.02), "hard": made(case, 9, 0.05)}
    figures.draw_comparison(tmp_path, guards)
    assert (tmp_path / "comparison.png").stat().st_size > 0
    text = comparison(guards)
    assert text.index("- hard: 0.0500, 2.50 times the easiest; 10 of 10 ended") < text.index(
        "- weak: 0.0200, 1.00 times"
    )
    assert "| until-confident grey-box | 0.0200 | 0.0500 |" in text
    assert "Average change" not in comparison(guards, measures=1)
    # Nothing but clean pictures: a table, and no picture.
    figures.draw_comparison(tmp_path / "none", {"a": made(CLEAN, 0), "b": made(CLEAN, 1)})
    assert not (tmp_path / "none").exists()
