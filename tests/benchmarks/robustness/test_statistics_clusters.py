"""Intervals of outcomes that come several times from the same picture."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import brentq

from blurvote.benchmarks.robustness.statistics import difference, risk_coverage, share

Z = 1.959963984540054


def wilson(value: float, trials: float) -> list[float]:
    """Where the true share would lie just 1.96 standard deviations from the one observed."""

    def off(p: float) -> float:
        return (value - p) ** 2 - Z**2 * p * (1 - p) / trials

    return [float(brentq(off, 0, value)), float(brentq(off, value, 1))]


def test_copies_of_the_same_outcome_say_nothing_new() -> None:
    """Three copies of 41 outcomes are as 40 trials: the variance is estimated, so one is lost."""
    once = np.arange(41) < 13
    found = share(np.tile(once, 3), np.tile(np.arange(41), 3))
    assert (found.successes, found.trials) == (39, 123)
    assert [found.low, found.high] == pytest.approx(wilson(13 / 41, 40), abs=1e-9)
    alone = share(once)
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.02)


def test_independent_outcomes_of_a_picture_count_each() -> None:
    random = np.random.default_rng(0)
    outcomes = random.random(6000) < 0.3
    found, plain = share(outcomes, np.repeat(np.arange(2000), 3)), share(outcomes)
    assert found.high - found.low == pytest.approx(plain.high - plain.low, rel=0.05)


@pytest.mark.parametrize("value", [False, True])
def test_outcomes_that_are_all_alike_count_once_per_picture(value: bool) -> None:
    found, alone = share(np.full(60, value), np.tile(np.arange(20), 3)), share(np.full(20, value))
    assert (found.low, found.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert found.value == value


def test_the_interval_holds_the_truth_where_pictures_differ() -> None:
    """Pictures of shares between 0 and 1, three outcomes of each: 95 of 100 draws, or nearly."""
    random = np.random.default_rng(1)
    held = plain_held = 0
    for _ in range(600):
        easy = random.beta(0.4, 0.6, 120)  # mean 0.4
        outcomes = (random.random((3, 120)) < easy).ravel()
        found, plain = share(outcomes, np.tile(np.arange(120), 3)), share(outcomes)
        held += found.low <= 0.4 <= found.high
        plain_held += plain.low <= 0.4 <= plain.high
    assert held / 600 == pytest.approx(0.95, abs=0.03)
    assert plain_held / 600 < 0.85  # as if all outcomes were of different pictures


def test_the_bootstrap_draws_pictures() -> None:
    """Copies change neither difference nor area nor their intervals, whatever their order."""
    random = np.random.default_rng(2)
    right_a, kept_a, right_b, kept_b = random.random((4, 80)) < 0.6
    pictures = np.tile(np.arange(80), 3)
    copies = [np.tile(part, 3) for part in (right_a, kept_a, right_b, kept_b)]
    expected = difference(right_a, kept_a, right_b, kept_b, 5)
    found = difference(copies[0], copies[1], copies[2], copies[3], 5, pictures)
    assert found == pytest.approx(expected) if isinstance(found, float) else found == expected
    narrow = difference(copies[0], copies[1], copies[2], copies[3], 5)
    assert narrow.high - narrow.low < 0.75 * (found.high - found.low)
    scores = random.random(80)
    alone = risk_coverage(scores, right_a, kept_a, 5)
    order = random.permutation(240)
    same = risk_coverage(
        np.tile(scores, 3)[order], copies[0][order], copies[1][order], 5, pictures[order]
    )
    assert same.high - same.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert len(same.coverage) == 3 * len(alone.coverage)
