"""Rows of the table from answers made by hand, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from blurvote.benchmarks.robustness.evaluate.natural import anomalies, rejected_at, score_natural
from blurvote.benchmarks.robustness.evaluate.report import main_table, text_of
from blurvote.benchmarks.robustness.evaluate.score import Answers, score
from blurvote.benchmarks.robustness.evaluate.smoothed_score import compare, radii
from blurvote.benchmarks.robustness.statistics import share
from blurvote.runtime.vote import REJECTED


def by_hand() -> Answers:
    """Eight pictures of class 0. The vote accepts six and is right on four of them.

    The undefended model is right on all but the pictures 0 and 7, and surest of 0 to 5.
    """
    views = np.array(
        [
            [1, 0, 0],  # right by vote
            [0, 0, 2],  # right
            [0, 1, 1],  # wrong
            [0, 2, 1],  # rejected
            [0, 0, 0],  # right
            [0, 2, 2],  # wrong
            [0, 0, 1],  # right
            [1, 2, 0],  # rejected
        ]
    )
    majority = np.array([0, 0, 1, REJECTED, 0, 2, 0, REJECTED])
    votes = np.array([2, 2, 2, 1, 3, 2, 2, 1])
    sure = np.array([0.9, 0.8, 0.8, 0.7, 0.95, 0.6, 0.3, 0.2])
    return Answers(
        truth=np.zeros(8, np.int64),
        view_labels=views,
        view_confidences=np.stack([sure, sure, sure], axis=1),
        passes=(0, 1, 2),
        majority=majority,
        votes=votes,
        majority_confidence=np.where(majority == REJECTED, 0.0, sure),
        mean_label=np.array([0, 0, 1, 1, 0, 2, 0, 0]),
        mean_confidence=sure[::-1].copy(),
        own=np.array([0, REJECTED, REJECTED, 0, 0, 1, 0, 0]),
    )


def test_a_row_counted_by_hand() -> None:
    row = score("gaussian:0.25", "own", by_hand(), 0)
    assert row.images == 8
    counted = {
        "clean": row.views[0],
        "single": row.views[1],
        "double": row.views[2],
        "accepted": row.accepted,
        "over all": row.over_all,
        "rejected": row.rejected,
        "own accepted": row.own_accepted,
        "own rejected": row.own_rejected,
        "confidence": row.confidence,
        "mean": row.mean,
    }
    assert {name: (value.successes, value.trials) for name, value in counted.items()} == {
        "clean": (6, 8),
        "single": (4, 8),
        "double": (3, 8),
        "accepted": (4, 6),
        "over all": (4, 8),
        "rejected": (2, 8),
        "own accepted": (5, 6),
        "own rejected": (2, 8),
        "confidence": (5, 6),  # the pictures 0 to 5
        "mean": (3, 6),  # the pictures 2 to 7
    }
    assert row.gain.value == pytest.approx(4 / 6 - 5 / 6)  # the vote is worse here, and it shows
    assert row.gain.low < row.gain.value < row.gain.high


def test_the_baseline_keeps_exactly_as_many_frames_despite_ties() -> None:
    answers = by_hand()
    answers.view_confidences[:] = 0.5
    row = score("gaussian:0", "own", answers, 0)
    assert row.confidence.trials == row.accepted.trials == row.mean.trials == 6


def test_a_vote_that_is_better_has_a_positive_gain() -> None:
    answers = by_hand()
    answers.majority[:] = [0, 0, REJECTED, REJECTED, 0, REJECTED, 0, 0]
    answers.view_labels[:, 0] = [1, 0, 0, 0, 1, 0, 0, 0]
    row = score("gaussian:0", "own", answers, 0)
    assert (row.accepted.successes, row.accepted.trials) == (5, 5)
    assert row.gain.value == pytest.approx(1 - 3 / 5)
    assert text_of(row.gain).startswith("+40.0")


def test_a_vote_that_rejects_everything_has_no_accuracy() -> None:
    answers = by_hand()
    answers.majority[:] = REJECTED
    row = score("gaussian:0", "own", answers, 0)
    assert math.isnan(row.accepted.value)
    assert math.isnan(row.confidence.value)
    assert math.isnan(row.gain.value)
    assert row.rejected.value == 1
    assert row.curves["majority"].area == 1  # every refusal counts as wrong
    cells = main_table([row]).splitlines()[-1].split("|")
    assert cells[5].strip() == "-"


def test_the_majoritys_curve_ends_at_its_coverage() -> None:
    curve = score("gaussian:0", "own", by_hand(), 0).curves["majority"]
    assert curve.coverage[-1] == 6 / 8
    assert curve.risk[-1] == pytest.approx(2 / 6)
    # Picture 4 has three votes, so it comes first whatever the confidences.
    assert curve.risk[0] == 0


def test_long_curves_are_thinned_but_not_their_areas() -> None:
    random = np.random.default_rng(0)
    places = random.integers(0, 8, 2003)
    fields = {
        name: value if value is None or name == "passes" else value[places]
        for name, value in vars(by_hand()).items()
    }
    answers = Answers(**fields)
    answers.view_confidences[:, 0] = random.random(2003)
    curve = score("gaussian:0", "own", answers, 0).curves["undefended confidence"]
    assert len(curve.coverage) == len(curve.risk) == 500
    right = (answers.view_labels[:, 0] == 0)[np.argsort(-answers.view_confidences[:, 0])]
    risks = np.cumsum(~right) / np.arange(1, 2004)
    assert curve.area == pytest.approx(risks.mean())
    assert (curve.coverage[0], curve.coverage[-1]) == (pytest.approx(1 / 2003), 1)
    np.testing.assert_allclose(curve.risk, risks[np.round(curve.coverage * 2003).astype(int) - 1])


def test_what_the_vote_rejects_is_most_anomalous() -> None:
    scores = anomalies(by_hand())["majority"]
    assert set(np.argsort(-scores)[:2]) == {3, 7}
    assert np.argmin(scores) == 4  # three votes
    # Votes first, then the winner's softmax, of which the answers hold the log-odds.
    expected = [-2 - 1 / (1 + np.exp(-0.9)), -3 - 1 / (1 + np.exp(-0.95))]
    np.testing.assert_allclose(scores[[0, 4]], expected)


def test_rejections_at_the_same_coverage() -> None:
    inside = np.array([-0.9, -0.8, -0.7, -0.4])
    outside = np.array([-0.95, -0.8, -0.75, -0.5, -0.1])
    assert rejected_at(inside, outside, 4).sum() == 1
    assert rejected_at(inside, outside, 3).sum() == 2
    assert rejected_at(inside, outside, 2).sum() == 3  # as sure as the last one kept: kept
    assert rejected_at(inside, outside, 0).all()


def test_separable_sets_have_an_area_of_one() -> None:
    known, strange = by_hand(), by_hand()
    known.view_confidences[:] = np.linspace(0.8, 0.9, 8)[:, None]
    strange.view_confidences[:] = np.linspace(0.1, 0.7, 8)[:, None]
    row = score_natural("gaussian:0", "own", strange, known, 0)
    area = row.areas["undefended confidence"]
    assert (area.value, area.low, area.high) == (1, 1, 1)
    assert row.confidence_outside.value == 1
    assert row.rejected_outside.successes == row.rejected_inside.successes == 2
    # Equal sets: by the majority's score, as likely one as the other.
    assert row.areas["majority"].value == pytest.approx(0.5, abs=0.15)


def test_a_comparison_counted_by_hand() -> None:
    answers = by_hand()
    labels = np.array([0, REJECTED, 0, 1, REJECTED, 0, REJECTED, REJECTED])
    row = compare("clean", "smoothed", labels, answers, 0, 100, 100, 1.0)
    assert (row.accepted.successes, row.accepted.trials) == (3, 4)
    assert (row.over_all.successes, row.over_all.trials) == (3, 8)
    assert (row.rejected.successes, row.rejected.trials) == (4, 8)
    assert (row.confidence.successes, row.confidence.trials) == (3, 4)  # of 4, 0, 1 and 2
    assert row.gain.value == 0


def test_radii_end_where_no_certificate_reaches() -> None:
    assert radii(0.375) == [0, 0.25]
    assert radii(0.5) == [0, 0.25, 0.5]
    assert radii(0.0) == [0]


def test_text_gives_the_longer_arm() -> None:
    value = share(np.array([True] * 9 + [False]))
    assert value.value - value.low > value.high - value.value
    assert text_of(value) == f"90.0 ±{100 * (value.value - value.low):.1f}"
