"""The charts of an adaptive guard: as readable as those of others, and with the blog's figures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks.robustness.degradations import parse_degradations
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.adapted import Adapted
from blurvote.benchmarks.robustness.evaluate.adaptive_score import score_row
from blurvote.benchmarks.robustness.evaluate.figures import figures
from blurvote.benchmarks.robustness.evaluate.measure import Plan, variants
from blurvote.benchmarks.robustness.evaluate.report import PUBLISHED
from blurvote.benchmarks.robustness.evaluate.score import Answers, Row
from tests.conftest import ONE_THREAD

pytest.importorskip("matplotlib")

IMAGES = 40
LIST = "gaussian jpeg:1-5"


def row(name: str) -> Row:
    """A row of made-up answers: a third of the frames are rejected, half of the rest right."""
    random = np.random.default_rng(len(name))
    truth = np.zeros(IMAGES, np.int64)
    labels = random.integers(0, 2, (IMAGES, 3))
    sure = random.random((IMAGES, 3))
    majority = np.arange(IMAGES) % 3 - 1
    own = (np.arange(IMAGES) + 1) % 3 - 1
    votes = np.full(IMAGES, 2)
    adapted = Adapted(
        labels, sure, own, votes, sure[:, 0], labels[:, 0], sure[:, 0], sure[:, 1], majority > 0
    )
    answers = Answers(
        truth, labels, sure, (0, 1, 2), majority, votes, sure[:, 0], labels[:, 1], sure[:, 0], own
    )
    return score_row(name, "own", replace(answers, adapted=adapted), 0)


@pytest.fixture
def drawn(make_guard: Callable[..., Path]) -> dict[str, Any]:
    guard = Deployed(make_guard(), ONE_THREAD)
    degradations = parse_degradations(LIST)
    plan = Plan(guard.path, ONE_THREAD, degradations, variants(guard.defense), seed=0)
    return figures([row(str(entry)) for entry in degradations], guard, (), plan)


def test_few_lines_of_faults_stay_inside_of_their_panel(drawn: dict[str, Any]) -> None:
    panel = drawn["faults"].axes[0]
    lines = {bar.get_label(): bar.lines[0] for bar in panel.containers}
    assert list(lines) == [
        "clean view",
        "blog, accepted frames",
        "own, accepted frames",
        "clean, blog's coverage",
        "blog, rejected",
        "own, rejected",
    ]
    places = [np.array(line.get_xdata()) - range(1, 6) for line in lines.values()]
    assert np.abs(places).max() < 0.25
    assert np.sum(places) == pytest.approx(0, abs=1e-9)  # around the severity
    for look in ("get_color", "get_marker"):
        assert len({getattr(line, look)() for line in lines.values()}) == len(lines), look


def test_the_blogs_figures_stand_beside_its_majority(drawn: dict[str, Any]) -> None:
    left, right = drawn["noise"].axes
    for axis, place in ((left, 3), (right, 4)):
        marks = [
            list(line.get_ydata())
            for line in axis.lines
            if line.get_markerfacecolor() == "none" and len(line.get_xdata())
        ]
        assert [100 * values[place] for values in PUBLISHED.values()] in marks
