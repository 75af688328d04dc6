"""Intervals and risk-coverage curves against closed formulas, simulation and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.statistics import (
    Difference,
    RiskCoverage,
    difference,
    most_confident,
    risk_coverage,
    share,
)

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


def outcomes(successes: int, trials: int) -> NDArray[np.bool_]:
    return np.arange(trials) < successes


# ---- shares ----


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 20), (20, 20), (3, 7), (490, 975)])
def test_a_share_has_wilsons_interval(k: int, n: int) -> None:
    """(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)."""
    found = share(outcomes(k, n)[::-1])
    p = k / n
    centre, scale = p + Z**2 / (2 * n), 1 + Z**2 / n
    half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    assert (found.successes, found.trials, found.value) == (k, n, p)
    assert found.low == pytest.approx(max(0.0, (centre - half) / scale), abs=1e-12)
    assert found.high == pytest.approx(min(1.0, (centre + half) / scale), abs=1e-12)


@pytest.mark.parametrize(("p", "n"), [(0.5, 60), (0.9, 100), (0.03, 300)])
def test_the_interval_holds_the_truth_in_95_of_100_draws(p: float, n: int) -> None:
    """Exactly: the binomial probability of every count whose interval holds p."""
    covered = 0.0
    for k in range(n + 1):
        found = share(outcomes(k, n))
        if found.low <= p <= found.high:
            covered += math.comb(n, k) * p**k * (1 - p) ** (n - k)
    assert covered == pytest.approx(0.95, abs=0.025)


def test_no_trials_have_no_share() -> None:
    found = share(np.zeros(0, bool))
    assert (found.successes, found.trials) == (0, 0)
    assert all(map(math.isnan, (found.value, found.low, found.high)))


# ---- the most confident ----


def test_the_most_confident_with_ties_to_the_earlier_and_nan_last() -> None:
    scores = np.array([0.5, np.nan, 0.9, 0.5, 0.1, 0.9, 0.5])
    assert most_confident(scores, 0).tolist() == []
    assert most_confident(scores, 3).tolist() == [2, 5, 0]
    assert most_confident(scores, 4).tolist() == [2, 5, 0, 3]
    assert most_confident(scores, 99).tolist() == [2, 5, 0, 3, 6, 4, 1]


# ---- paired differences ----


def test_a_difference_is_what_the_normal_approximation_gives() -> None:
    """Paired, all kept: the standard error is that of the mean of the differences."""
    random = np.random.default_rng(0)
    total = 20_000
    right_a = random.random(total) < 0.7
    right_b = np.where(random.random(total) < 0.8, right_a, random.random(total) < 0.4)
    everything = np.ones(total, bool)
    found = difference(right_a, everything, right_b, everything, seed=3)
    gaps = right_a.astype(float) - right_b
    error = gaps.std() / math.sqrt(total)
    assert found.value == pytest.approx(gaps.mean(), abs=1e-12)
    assert found.low == pytest.approx(gaps.mean() - Z * error, abs=0.35 * error)
    assert found.high == pytest.approx(gaps.mean() + Z * error, abs=0.35 * error)
    assert found == difference(right_a, everything, right_b, everything, seed=3)
    assert found != difference(right_a, everything, right_b, everything, seed=4)


def test_a_difference_counts_each_on_its_own_kept() -> None:
    """Means of different subsets; the ratio's error is by the delta method."""
    random = np.random.default_rng(1)
    total = 20_000
    right_a, right_b = random.random(total) < 0.9, random.random(total) < 0.6
    kept_a, kept_b = random.random(total) < 0.5, random.random(total) < 0.3
    found = difference(right_a, kept_a, right_b, kept_b, seed=0)
    a, b = right_a[kept_a].mean(), right_b[kept_b].mean()
    influence = kept_a * (right_a - a) / kept_a.mean() - kept_b * (right_b - b) / kept_b.mean()
    error = influence.std() / math.sqrt(total)
    assert found.value == pytest.approx(a - b, abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(Z * error, rel=0.15)


def test_the_same_twice_differs_by_nothing() -> None:
    random = np.random.default_rng(2)
    right, kept = random.random(50) < 0.5, random.random(50) < 0.5
    assert difference(right, kept, right, kept, seed=0) == Difference(0.0, 0.0, 0.0)


def test_no_difference_where_one_keeps_nothing() -> None:
    right = np.ones(9, bool)
    for kept_a, kept_b in ((right, ~right), (~right, right), (~right, ~right)):
        found = difference(right, kept_a, right, kept_b, seed=0)
        assert all(map(math.isnan, (found.value, found.low, found.high)))
    empty = np.zeros(0, bool)
    assert math.isnan(difference(empty, empty, empty, empty, seed=0).value)


def test_a_difference_with_one_kept_of_many() -> None:
    """Draws without that picture are left out."""
    right = np.ones(40, bool)
    one = np.arange(40) == 5
    found = difference(right, one, ~right, right, seed=0)
    assert (found.value, found.low, found.high) == (1.0, 1.0, 1.0)


# ---- risk and coverage ----


def brute(scores: list[float], right: list[bool], accepted: list[bool]) -> NDArray[np.float64]:
    """Mean risk at 1..N over all orders that the scores allow; the refused last, and wrong."""
    total = len(scores)
    keys = [score if kept else -math.inf for score, kept in zip(scores, accepted, strict=True)]
    curves = []
    for order in itertools.permutations(range(total)):
        if all(keys[a] >= keys[b] for a, b in itertools.pairwise(order)):
            wrong = [not (right[n] and accepted[n]) for n in order]
            curves.append(np.cumsum(wrong) / np.arange(1, total + 1))
    return np.mean(curves, axis=0)


@pytest.mark.parametrize("seed", range(12))
def test_a_curve_is_the_mean_over_all_orders(seed: int) -> None:
    random = np.random.default_rng(seed)
    total = int(random.integers(1, 8))
    scores = random.integers(0, 3, total) / 2  # many ties
    right, accepted = random.random(total) < 0.6, random.random(total) < 0.8
    found = risk_coverage(scores, right, accepted, seed=0)
    expected = brute(scores.tolist(), right.tolist(), accepted.tolist())
    reached = int(accepted.sum())
    np.testing.assert_allclose(found.coverage, np.arange(1, reached + 1) / total)
    np.testing.assert_allclose(found.risk, expected[:reached], atol=1e-12)
    assert found.area == pytest.approx(expected.mean(), abs=1e-12)
    assert found.low <= found.area + 1e-9 or found.high >= found.area - 1e-9


def area(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> RiskCoverage:
    return risk_coverage(scores, right, np.ones(len(right), bool), seed=0)


def test_the_area_of_a_perfect_ranking() -> None:
    """All right ones first: (1/N) sum over the k-th wrong of k / (right + k)."""
    total, wrong = 1000, 200
    right = np.arange(total) >= wrong
    found = area(right + np.linspace(0, 0.5, total), right)
    expected = sum(k / (total - wrong + k) for k in range(1, wrong + 1)) / total
    assert found.area == pytest.approx(expected, abs=1e-12)
    assert found.risk[total - wrong - 1] == 0
    assert found.risk[-1] == pytest.approx(0.2)
    worst = area(-right.astype(float), right)
    assert worst.risk[wrong - 1] == 1
    assert worst.area > 0.5


def test_the_area_of_a_ranking_that_says_nothing_is_the_error_rate() -> None:
    right = np.arange(50) % 5 != 0
    found = area(np.full(50, 0.7), right)
    np.testing.assert_allclose(found.risk, 0.2, atol=1e-12)
    assert found.area == pytest.approx(0.2, abs=1e-12)


def test_refusals_cannot_lower_the_area() -> None:
    """Refusing the wrong half: no risk up to half coverage, then each refused one is wrong."""
    right = np.arange(10) < 5
    found = risk_coverage(np.linspace(1, 0, 10), right, right, seed=0)
    np.testing.assert_allclose(found.coverage, np.arange(1, 6) / 10)
    assert found.risk.tolist() == [0] * 5
    assert found.area == pytest.approx(sum(k / (5 + k) for k in range(1, 6)) / 10)


def test_the_interval_of_the_area_is_the_scatter_of_samples() -> None:
    """The bootstrap's width against areas of fresh samples of the same distribution."""

    def sample(seed: int) -> RiskCoverage:
        random = np.random.default_rng(seed)
        scores = random.random(300)
        return area(scores, random.random(300) < 0.4 + 0.5 * scores)

    areas = [sample(seed).area for seed in range(60)]
    found = sample(0)
    assert found.low < found.area < found.high
    assert (found.high - found.low) / (2 * Z) == pytest.approx(np.std(areas), rel=0.4)


def test_nan_scores_are_never_accepted() -> None:
    scores, right = np.array([0.2, np.nan, 0.9]), np.ones(3, bool)
    found = area(scores, right)
    np.testing.assert_allclose(found.coverage, [1 / 3, 2 / 3])
    assert found.risk.tolist() == [0, 0]
    assert found.area == pytest.approx(1 / 9)


def test_nothing_has_no_curve_and_refusing_all_has_area_one() -> None:
    found = area(np.zeros(0), np.zeros(0, bool))
    assert (len(found.coverage), len(found.risk)) == (0, 0)
    assert all(map(math.isnan, (found.area, found.low, found.high)))
    refused = risk_coverage(np.ones(4), np.ones(4, bool), np.zeros(4, bool), seed=0)
    assert len(refused.coverage) == 0
    assert (refused.area, refused.low, refused.high) == (1.0, 1.0, 1.0)
