"""Randomized smoothing against closed formulas, simulation and a classifier with a known radius."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from blurvote.benchmarks.robustness.smoothing import (
    ABSTAIN,
    Certificate,
    certify,
    certify_image,
    class_counts,
    largest_radius,
    lower_bound,
    predict,
    smooth_classify,
    unit_view,
)
from blurvote.runtime import FrameError
from blurvote.runtime.errors import PlanError

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY = np.full((3, 5, 7), 0.5, np.float32)


def halfspace(images: NDArray[np.float32]) -> NDArray[np.floating]:
    """Class 1 where the red mean is above 0.6, else class 0; class 2 never."""
    red = images[:, 0].mean(axis=(1, 2))
    return np.stack([0.6 - red, red - 0.6, np.full_like(red, -9)], axis=1)


@pytest.mark.parametrize(("k", "n"), [(100, 100), (93, 100), (51, 100), (1, 7), (0, 20)])
@pytest.mark.parametrize("alpha", [0.001, 0.05])
def test_lower_bound_is_clopper_pearson(k: int, n: int, alpha: float) -> None:
    """As the beta quantile, and by definition: at the bound, k or more has probability alpha."""
    bound = lower_bound(k, n, alpha)
    expected = stats.beta.ppf(alpha, k, n - k + 1) if k else 0.0
    assert bound == pytest.approx(expected, abs=1e-9)
    if k:
        tail = sum(math.comb(n, j) * bound**j * (1 - bound) ** (n - j) for j in range(k, n + 1))
        assert tail == pytest.approx(alpha, rel=1e-6)


def test_certificate_of_a_unanimous_draw() -> None:
    """All of n: p = alpha^(1/n) in closed form, and the radius is the largest there is."""
    found = certify(np.array([3, 17, 0]), np.array([0, 100, 0]), 0.001, 0.25)
    p_lower = 0.001 ** (1 / 100)
    radius = 0.25 * NormalDist().inv_cdf(p_lower)
    assert found == Certificate(
        1, pytest.approx(radius), pytest.approx(p_lower), 100, 20, 100, 0.001, 0.25
    )
    assert largest_radius(100, 0.001, 0.25) == pytest.approx(radius)
    assert largest_radius(100_000, 0.001, 1) == pytest.approx(3.81, abs=0.01)
    assert largest_radius(5, 0.05, 1) == pytest.approx(NormalDist().inv_cdf(0.05**0.2))
    assert largest_radius(2, 0.001, 1) == 0


def test_the_first_draw_alone_chooses_the_class() -> None:
    """A class that the second draw favours gets no certificate unless the first one chose it."""
    found = certify(np.array([11, 9]), np.array([5, 95]), 0.001, 0.5)
    assert (found.label, found.radius, found.votes) == (ABSTAIN, 0, 5)


def test_abstains_at_a_bound_of_one_half() -> None:
    """Of 100 copies at alpha 0.05, 59 is the fewest that lifts the bound over one half."""
    needed = next(k for k in range(101) if stats.binom.sf(k - 1, 100, 0.5) < 0.05)
    for votes, label in ((needed - 1, ABSTAIN), (needed, 0)):
        found = certify(np.array([20, 0]), np.array([votes, 100 - votes]), 0.05, 0.5)
        assert found.label == label
        assert (found.radius > 0) == (label == 0)


def test_copies_of_no_class_count_against_the_certificate() -> None:
    some = certify(np.array([9, 0]), np.array([90, 0]), 0.01, 0.5, n0=10, n=100)
    assert some.p_lower == pytest.approx(stats.beta.ppf(0.01, 90, 11))
    assert (some.n0, some.n) == (10, 100)
    none = certify(np.zeros(2, np.int64), np.zeros(2, np.int64), 0.01, 0.5, n0=10, n=100)
    assert (none.label, none.p_lower) == (ABSTAIN, 0)


@pytest.mark.parametrize(
    ("counts", "alpha", "label"),
    [
        ([10, 0], 0.01, 0),  # two-sided p = 2 / 1024
        ([10, 0], 0.001, ABSTAIN),
        ([2, 60, 30], 0.01, 1),  # p = 0.0021, by the two most frequent alone
        ([2, 60, 30], 0.001, ABSTAIN),
        ([5, 5], 0.9, ABSTAIN),
        ([0, 0], 0.5, ABSTAIN),
        ([40], 0.001, 0),
    ],
)
def test_predict(counts: list[int], alpha: float, label: int) -> None:
    assert predict(np.array(counts), alpha) == label
    first, second = sorted([*counts, 0], reverse=True)[:2]
    n = first + second
    tail = sum(math.comb(n, j) for j in range(first, n + 1)) / 2**n
    assert (label != ABSTAIN) == (n > 0 and first > second and min(1, 2 * tail) <= alpha)


@pytest.mark.parametrize("p", [0.52, 0.7, 0.9])
def test_confidence_holds_in_simulation(p: float) -> None:
    """Over 4000 draws from known p, the bound passes p at most alpha of the time."""
    random, alpha, trials = np.random.default_rng(4), 0.05, 4000
    votes, times = np.unique(random.binomial(100, p, trials), return_counts=True)
    bounds = np.array([lower_bound(int(k), 100, alpha) for k in votes])
    wrong = times[bounds > p].sum() / trials
    # Three standard errors of 4000 trials. Clopper-Pearson is conservative, but not idle.
    assert wrong <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trials)
    assert wrong > alpha / 5


def test_prediction_errs_at_most_alpha_in_simulation() -> None:
    """With the lesser class at 0.48, PREDICT names it at most alpha of the time."""
    random, alpha, trials = np.random.default_rng(5), 0.05, 4000
    votes, times = np.unique(random.binomial(100, 0.48, trials), return_counts=True)
    wrong = [predict(np.array([k, 100 - k]), alpha) == 0 for k in votes]
    assert times[wrong].sum() / trials <= alpha


def test_a_halfspace_is_certified_up_to_its_distance() -> None:
    """The exact radius is the distance to the plane; the certificate nears it from below."""
    pixels = GREY[0].size
    distance = 0.1 * math.sqrt(pixels)  # the red mean's gradient has norm 1 / sqrt(pixels)
    found = certify_image(
        halfspace, GREY, sigma=0.5, n0=50, n=4000, alpha=0.001, batch=500,
        random=np.random.default_rng(0),
    )  # fmt: skip
    assert found.label == 0
    assert 0.85 * distance < found.radius < distance


def test_counts_add_up_and_do_not_depend_on_the_batch() -> None:
    several = [
        class_counts(halfspace, GREY, 0.8, 101, batch, np.random.default_rng(7))
        for batch in (1, 10, 101, 500)
    ]
    assert all(np.array_equal(counts, several[0]) for counts in several)
    assert (several[0].sum(), several[0].shape, several[0].dtype) == (101, (3,), np.int64)
    # P(red mean > 0.6) with deviation 0.8 / sqrt(35), within four standard errors
    p = 1 - NormalDist().cdf(0.1 / (0.8 / math.sqrt(35)))
    assert several[0][1] / 101 == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / 101))


def test_the_noise_is_normal_and_not_clamped() -> None:
    seen: list[NDArray[np.float32]] = []

    def watch(images: NDArray[np.float32]) -> NDArray[np.floating]:
        seen.append(images.copy())
        return halfspace(images)

    class_counts(watch, GREY, 0.5, 400, 64, np.random.default_rng(1))
    noisy = np.concatenate(seen)
    assert max(map(len, seen)) == 64
    assert noisy.dtype == np.float32
    assert noisy.std() == pytest.approx(0.5, rel=0.01)
    assert (noisy > 1).mean() == pytest.approx(1 - NormalDist().cdf(1), abs=0.01)


def test_logits_that_are_not_finite_count_for_no_class() -> None:
    def broken(images: NDArray[np.float32]) -> NDArray[np.floating]:
        logits = halfspace(images)
        logits[::2, 2] = np.nan
        return logits

    assert class_counts(broken, GREY, 0.1, 10, 10, np.random.default_rng(0)).sum() == 5


def test_smooth_classify_denoises_then_normalises() -> None:
    """With the noise known to the denoiser, the backbone sees the normalised clean image."""

    def backbone(views: NDArray[np.float32]) -> NDArray[np.floating]:
        assert views.dtype == np.float32
        assert views.flags.c_contiguous
        return views.mean(axis=(2, 3))

    noisy = np.random.default_rng(0).normal(size=(4, 3, 6, 6)).astype(np.float32)
    expected = (noisy.mean(axis=(2, 3)) - MEAN) / np.array(STD)
    assert np.allclose(smooth_classify(backbone, MEAN, STD)(noisy), expected, atol=1e-5)
    halved = smooth_classify(backbone, MEAN, STD, denoise=lambda images: images / 2)(noisy)
    assert np.allclose(halved, (noisy.mean(axis=(2, 3)) / 2 - MEAN) / np.array(STD), atol=1e-5)


def test_unit_view_undoes_the_normalisation() -> None:
    clean = np.random.default_rng(0).random((3, 4, 4), dtype=np.float32)
    clean[0, 0] = (0, 1, 0, 1)
    view = (clean - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    unit = unit_view(view.astype(np.float32), MEAN, STD)
    assert unit.dtype == np.float32
    assert np.allclose(unit, clean, atol=1e-6)
    assert (unit.min(), unit.max()) == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1, 2], [1, 2], 0.0, 0.5), "alpha is 0.0; expected a probability above 0 and below 1"),
        (([1, 2], [1, 2], 0.1, 0.0), "sigma is 0.0; expected a number above 0"),
        (([1, 2], [1, 2], 0.1, math.inf), "sigma is inf; expected a number above 0"),
        (([1, 2], [1, 2, 3], 0.1, 0.5), "3 counts of sum 6 were given for 6 copies and 2 classes"),
        (([1, 2], [0, 0], 0.1, 0.5), "2 counts of sum 0 were given for 0 copies"),
        (([1, 2], [-1, 2], 0.1, 0.5), r"counts are int64 of shape \(2,\); expected integers"),
        (([1, 2], [0.5, 2], 0.1, 0.5), r"counts are float64 of shape \(2,\); expected integers"),
    ],
)
def test_impossible_certificates(arguments: tuple[Any, ...], message: str) -> None:
    counts0, counts, alpha, sigma = arguments
    with pytest.raises(PlanError, match=message):
        certify(np.array(counts0), np.array(counts), alpha, sigma)


def test_impossible_draws() -> None:
    random = np.random.default_rng(0)
    with pytest.raises(PlanError, match="n is 0 and batch is 8; expected at least 1"):
        class_counts(halfspace, GREY, 0.5, 0, 8, random)
    with pytest.raises(FrameError, match=r"shape \(5, 7, 3\) was given; expected \(3, h, w\)"):
        class_counts(halfspace, GREY.transpose(1, 2, 0), 0.5, 1, 8, random)
    with pytest.raises(FrameError, match=r"logits of shape \(3,\); expected \(2, C\)"):
        class_counts(lambda images: np.zeros(3), GREY, 0.5, 2, 8, random)
