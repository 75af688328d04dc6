"""Figures that say how sure they are: shares with intervals, risk against coverage.

Where the same picture comes several times, each time with other noise, `clusters` names the picture
of each outcome: outcomes of one picture are alike, so that intervals are of the pictures and not of
all outcomes, and the bootstrap draws whole pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Clusters",
    "Difference",
    "RiskCoverage",
    "Share",
    "difference",
    "most_confident",
    "risk_coverage",
    "share",
]

_RESAMPLES = 500
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Clusters = NDArray[np.int64] | None
"""`(N,)` picture of each outcome, 0 to P - 1; None: each has its own."""

_Z = 1.959963984540054  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Share:
    """A proportion and its 95 % interval, all in [0, 1]; NaN where there were no trials.

    Attributes:
        value: successes over trials.
        low, high: Wilson's score interval (Wilson 1927); of clusters at their effective number of
            trials (Kish 1965).
        successes, trials: the counts behind it.
    """

    value: float
    low: float
    high: float
    successes: int
    trials: int


@dataclass(frozen=True)
class Difference:
    """A paired difference of two means over the same pictures, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RiskCoverage:
    """Error rate among the accepted against the share accepted (El-Yaniv & Wiener 2010).

    Attributes:
        coverage: `(P,)` share of pictures accepted, rising to the largest that can be reached.
        risk: `(P,)` error rate among those.
        area: mean risk over all coverages from 1/N on (AURC, Geifman et al. 2019); a decision
            that cannot reach full coverage counts its refusals as wrong beyond it.
        low, high: 95 % interval of the area, by bootstrap over pictures.
    """

    coverage: Floats
    risk: Floats
    area: float
    low: float
    high: float


def share(outcomes: Bools, clusters: Clusters = None) -> Share:
    """The share of true `outcomes` `(N,)`, with Wilson's 95 % interval."""
    from scipy.stats import binomtest

    successes, trials = int(np.count_nonzero(outcomes)), len(outcomes)
    if not trials:
        return Share(float("nan"), float("nan"), float("nan"), 0, 0)
    if clusters is not None:
        low, high = _wilson(successes / trials, _effective_trials(outcomes, clusters))
        return Share(successes / trials, low, high, successes, trials)
    interval = binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    return Share(successes / trials, float(interval.low), float(interval.high), successes, trials)


def _effective_trials(outcomes: Bools, clusters: NDArray[np.int64]) -> float:
    """As many independent trials would have the variance that the share has between clusters.

    The variance is the linearised one of a ratio of two sums over clusters (Cochran 1977, section
    11.8): clusters differ in how many of their outcomes are counted.
    """
    value, trials = outcomes.mean(), len(outcomes)
    groups = np.unique(clusters, return_inverse=True)[1]
    count = int(groups.max()) + 1
    excess = np.bincount(groups, outcomes - value, count)
    variance = count / max(1, count - 1) * float((excess**2).sum()) / trials**2
    alone = float(value * (1 - value))
    if not alone or not variance:  # all alike: nothing says more than one trial per picture
        return float(count)
    return min(float(trials), alone / variance)


def _wilson(value: float, trials: float) -> tuple[float, float]:
    scale = 1 + _Z**2 / trials
    centre = (value + _Z**2 / (2 * trials)) / scale
    arm = _Z / scale * np.sqrt(value * (1 - value) / trials + _Z**2 / (4 * trials**2))
    # What rounding leaves of 0 or 1 at the ends.
    low = 0.0 if value == 0 else float(centre - arm)
    return low, 1.0 if value == 1 else float(centre + arm)


def most_confident(scores: Floats, kept: int) -> NDArray[np.int64]:
    """Indices of the `kept` pictures of the largest `scores` `(N,)`; ties go to the earlier."""
    order: NDArray[np.int64] = np.argsort(-scores, kind="stable")[:kept]
    return order


def difference(
    right_a: Bools,
    kept_a: Bools,
    right_b: Bools,
    kept_b: Bools,
    seed: int,
    clusters: Clusters = None,
) -> Difference:
    """Accuracy on the kept of `a` minus that of `b`, resampled over the pictures they share.

    NaN where one of them keeps nothing.

    Args:
        right_a, right_b: `(N,)` whether each is right.
        kept_a, kept_b: `(N,)` whether each accepts.
        seed: of the bootstrap.
        clusters: see the module.
    """
    once = np.ones(len(right_a), np.int64)
    gap = _mean(right_a, kept_a, once) - _mean(right_b, kept_b, once)
    if np.isnan(gap):
        return Difference(float("nan"), float("nan"), float("nan"))
    random = np.random.default_rng([seed, 2])
    draws = (_drawn(random, len(right_a), clusters) for _ in range(_RESAMPLES))
    gaps = np.array([_mean(right_a, kept_a, n) - _mean(right_b, kept_b, n) for n in draws])
    if np.isnan(gaps).all():  # so few are kept that no draw has any
        return Difference(gap, float("nan"), float("nan"))
    low, high = np.nanpercentile(gaps, [2.5, 97.5])
    return Difference(gap, float(low), float(high))


def _mean(right: Bools, kept: Bools, times: NDArray[np.int64]) -> float:
    """The share of the kept that are right; each counts `times`."""
    count = times[kept].sum()
    return float(times[right & kept].sum() / count) if count else float("nan")


def _drawn(random: np.random.Generator, total: int, clusters: Clusters) -> NDArray[np.int64]:
    """How often each of `total` outcomes is in one draw of the bootstrap."""
    count = total if clusters is None else int(clusters.max()) + 1
    times = np.bincount(random.integers(0, count, count), minlength=count)
    return np.asarray(times if clusters is None else times[clusters], np.int64)


def risk_coverage(
    scores: Floats, right: Bools, accepted: Bools, seed: int, clusters: Clusters = None
) -> RiskCoverage:
    """The curve of accepting the pictures of largest score first.

    Args:
        scores: `(N,)` confidence; larger is accepted earlier. NaN cannot be accepted.
        right: `(N,)` whether the label is right.
        accepted: `(N,)` whether the decision can accept at all; others come last and are wrong.
        seed: of the bootstrap.
        clusters: see the module.
    """
    total = len(scores)
    if not total:
        nothing = np.zeros(0)
        return RiskCoverage(nothing, nothing, float("nan"), float("nan"), float("nan"))
    accepted = accepted & ~np.isnan(scores)
    ranked = np.where(accepted, scores, -np.inf)
    correct = right & accepted
    # Sorted once; a draw of sorted positions, in order, is sorted too.
    order = np.argsort(-ranked, kind="stable")
    ranked, correct = ranked[order], correct[order]
    clusters = None if clusters is None else clusters[order]
    risks = _risks(ranked, correct)
    random = np.random.default_rng([seed, 3])
    areas = []
    for _ in range(_RESAMPLES):
        drawn = np.repeat(np.arange(total), _drawn(random, total, clusters))
        areas.append(float(_risks(ranked[drawn], correct[drawn]).mean()))
    reachable = int(np.count_nonzero(accepted))
    low, high = np.percentile(areas, [2.5, 97.5])
    return RiskCoverage(
        np.arange(1, reachable + 1) / total,
        risks[:reachable],
        float(risks.mean()),
        float(low),
        float(high),
    )


def _risks(ranked: Floats, correct: Bools) -> Floats:
    """Error rate among the first 1, 2, ..., N; pictures of equal score share their errors.

    `ranked` falls.
    """
    wrong = (~correct).astype(float)
    # Within a tie the order is arbitrary: each gets the tie's mean, which is the expectation.
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    sizes = np.diff(np.r_[starts, len(ranked)])
    shared = np.repeat(np.add.reduceat(wrong, starts) / sizes, sizes)
    risks: Floats = np.cumsum(shared) / np.arange(1, len(ranked) + 1)
    return risks
