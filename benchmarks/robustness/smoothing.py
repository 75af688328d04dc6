"""Randomized smoothing on a guard's model grid: prediction, and a certified radius.

Cohen, Rosenfeld and Kolter (2019, arXiv 1902.02918): classify `n` copies of an image with normal
noise of standard deviation sigma and take the majority. If the top class has probability `p > 1/2`
under that noise, no perturbation of L2 norm below `sigma * Phi^-1(p)` changes the majority; `p` is
bounded from below with confidence `1 - alpha`. Salman et al. (2020, arXiv 2003.01908), the method
that the blog starts from, put a denoiser before a classifier that was never trained on noise.

Here the noise is added to the clean view **on the backbone's grid**, scaled to [0, 1], before the
normalisation, and is not clamped, as in both papers. A radius is an L2 norm on that grid
(224 x 224 x 3 for most guards), not on the camera's frame. And it holds for the smoothed
classifier, which takes `n` inferences per image; it says nothing of the three-view vote.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.runtime.errors import FrameError, PlanError

__all__ = [
    "ABSTAIN",
    "Certificate",
    "Classify",
    "certify",
    "certify_image",
    "class_counts",
    "largest_radius",
    "lower_bound",
    "predict",
    "smooth_classify",
    "unit_view",
]

Images = NDArray[np.float32]
Counts = NDArray[np.int64]

Classify = Callable[[Images], NDArray[np.floating]]
"""Images `(B, 3, h, w)` float32, in [0, 1] but for noise, to logits `(B, C)`."""

ABSTAIN = -1
"""The label where too few of the noisy copies agree."""


@dataclass(frozen=True)
class Certificate:
    """What holds for one image with confidence `1 - alpha`.

    Attributes:
        label: the class index, or `ABSTAIN`.
        radius: L2 norm, in [0, 1] pixel units of the model's input grid, below which no
            perturbation changes the smoothed classifier's label; 0 where it abstains.
        p_lower: lower confidence bound on the probability of the class that `n0` copies chose.
        votes: of the `n` copies for that class.
        n0: copies that chose the class.
        n: copies that bounded its probability.
        alpha: chance that the certificate does not hold.
        sigma: standard deviation of the noise, in [0, 1].
    """

    label: int
    radius: float
    p_lower: float
    votes: int
    n0: int
    n: int
    alpha: float
    sigma: float


def certify(
    counts0: Counts,
    counts: Counts,
    alpha: float,
    sigma: float,
    *,
    n0: int | None = None,
    n: int | None = None,
) -> Certificate:
    """CERTIFY of Cohen et al. (2019).

    Args:
        counts0: `(C,)` copies per class of a first draw, which only chooses the class.
        counts: `(C,)` of a second, independent draw, which bounds its probability.
        alpha: chance of a wrong certificate, above 0 and below 1.
        sigma: standard deviation of the noise, in [0, 1], above 0.
        n0, n: copies drawn, where some of them counted for no class; None takes the counts' sums.

    Raises:
        PlanError: a number is out of range, or the counts do not fit one another.
    """
    _check(alpha, sigma)
    _check_counts(counts0)
    _check_counts(counts)
    n0 = int(counts0.sum()) if n0 is None else n0
    n = int(counts.sum()) if n is None else n
    for found, drawn in ((counts0, n0), (counts, n)):
        if found.size != counts0.size or found.sum() > drawn or drawn < 1:
            raise PlanError(
                f"{found.size} counts of sum {found.sum()} were given for {drawn} copies and "
                f"{counts0.size} classes; expected one count per class, and at least one copy"
            )
    label = int(counts0.argmax())
    votes = int(counts[label])
    p_lower = lower_bound(votes, n, alpha)
    certain = p_lower > 0.5
    radius = sigma * _quantile(p_lower) if certain else 0.0
    return Certificate(label if certain else ABSTAIN, radius, p_lower, votes, n0, n, alpha, sigma)


def predict(counts: Counts, alpha: float) -> int:
    """PREDICT of Cohen et al. (2019): the majority class, or `ABSTAIN`.

    Abstains unless a two-sided binomial test rejects, at level `alpha`, that the two most frequent
    classes are equally likely.

    Args:
        counts: `(C,)` copies per class.
        alpha: chance of a label other than the smoothed classifier's, above 0 and below 1.

    Raises:
        PlanError: alpha or the counts are out of range.
    """
    _check(alpha, 1.0)
    _check_counts(counts)
    order = np.argsort(-counts, kind="stable")[:2]
    first, second = int(counts[order[0]]), int(counts[order[1]]) if counts.size > 1 else 0
    if first == second:
        return ABSTAIN
    (stats,) = require("smoothing", ["scipy.stats"], "scipy")
    p_value = stats.binomtest(first, first + second, 0.5).pvalue
    return int(order[0]) if p_value <= alpha else ABSTAIN


def lower_bound(successes: int, trials: int, alpha: float) -> float:
    """One-sided Clopper-Pearson (1934) lower bound on a probability, at confidence `1 - alpha`."""
    (stats,) = require("smoothing", ["scipy.stats"], "scipy")
    test = stats.binomtest(successes, trials, alternative="greater")
    return float(test.proportion_ci(1 - alpha, method="exact").low)


def largest_radius(n: int, alpha: float, sigma: float) -> float:
    """The radius where all `n` copies agree: no certificate can be larger, however sure the model.

    All of `n` gives the bound `alpha ** (1 / n)` (0.933 for n = 100 and alpha = 0.001, so a radius
    of 1.50 sigma; n = 100,000, as in the papers, allows 3.81 sigma).
    """
    _check(alpha, sigma)
    p_lower = alpha ** (1 / n)
    return sigma * _quantile(p_lower) if p_lower > 0.5 else 0.0


def class_counts(
    classify: Classify,
    image: Images,
    sigma: float,
    n: int,
    batch: int,
    random: np.random.Generator,
) -> Counts:
    """How many of `n` noisy copies of one image fall into each class.

    A copy whose logits are not all finite counts for no class.

    Args:
        classify: noisy copies `(B, 3, h, w)` float32 to logits `(B, C)`.
        image: `(3, h, w)` float32 in [0, 1].
        sigma: standard deviation of the noise, in [0, 1], above 0.
        n: copies, at least 1.
        batch: copies per call of `classify`, at most; the noise does not depend on it.
        random: where the noise comes from.

    Returns:
        `(C,)` int64.

    Raises:
        FrameError: `image` or what `classify` returns is of another shape.
        PlanError: sigma, n or batch is out of range.
    """
    _check(0.5, sigma)
    if n < 1 or batch < 1:
        raise PlanError(f"n is {n!r} and batch is {batch!r}; expected at least 1")
    if image.ndim != 3 or image.shape[0] != 3:
        raise FrameError(f"an image of shape {image.shape} was given; expected (3, h, w)")
    counts: Counts | None = None
    for start in range(0, n, batch):
        copies = min(batch, n - start)
        noise = random.standard_normal((copies, *image.shape), dtype=np.float32)
        noise *= np.float32(sigma)
        noise += image
        logits = np.asarray(classify(noise))
        if logits.ndim != 2 or len(logits) != copies:
            raise FrameError(
                f"the classifier returned logits of shape {logits.shape}; expected ({copies}, C)"
            )
        labels = logits[np.isfinite(logits).all(axis=1)].argmax(axis=1)
        found = np.bincount(labels, minlength=logits.shape[1]).astype(np.int64)
        counts = found if counts is None else counts + found
    assert counts is not None  # n is at least 1
    return counts


def certify_image(
    classify: Classify,
    image: Images,
    *,
    sigma: float,
    n0: int,
    n: int,
    alpha: float,
    batch: int,
    random: np.random.Generator,
) -> Certificate:
    """Draws `n0` and then `n` fresh copies of `image`, and certifies; arguments as above."""
    counts0 = class_counts(classify, image, sigma, n0, batch, random)
    counts = class_counts(classify, image, sigma, n, batch, random)
    return certify(counts0, counts, alpha, sigma, n0=n0, n=n)


def smooth_classify(
    backbone: Callable[[Images], NDArray[np.floating]],
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    denoise: Callable[[Images], Images] | None = None,
) -> Classify:
    """Denoiser, normalisation and backbone as one classifier of noisy images in [0, 1].

    Args:
        backbone: normalised views `(B, 3, h, w)` float32 to logits `(B, C)`, such as
            `lambda views: engine.run(views)[0]` on a deployed `views` guard.
        mean, std: `Defense.mean` and `Defense.std`.
        denoise: `(B, 3, h, w)` float32 to the same; None smooths the bare backbone.
    """
    middle, scale = (np.asarray(values, np.float32)[:, None, None] for values in (mean, std))

    def classify(images: Images) -> NDArray[np.floating]:
        clean = images if denoise is None else denoise(images)
        return backbone(np.ascontiguousarray((clean - middle) / scale, np.float32))

    return classify


def unit_view(
    view: Images, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> Images:
    """The clean view `(3, h, w)` of a guard, its normalisation undone: float32 in [0, 1]."""
    middle, scale = (np.asarray(values, np.float32)[:, None, None] for values in (mean, std))
    # Clipped, because undoing the normalisation rounds black and white to just outside.
    return np.asarray(np.clip(view * scale + middle, 0, 1), np.float32)


def _quantile(probability: float) -> float:
    (stats,) = require("smoothing", ["scipy.stats"], "scipy")
    return float(stats.norm.ppf(probability))


def _check(alpha: float, sigma: float) -> None:
    if not 0 < alpha < 1:
        raise PlanError(f"alpha is {alpha!r}; expected a probability above 0 and below 1")
    if not (math.isfinite(sigma) and sigma > 0):
        raise PlanError(f"sigma is {sigma!r}; expected a number above 0, in [0, 1] pixel units")


def _check_counts(counts: Counts) -> None:
    if counts.ndim != 1 or counts.size < 1 or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise PlanError(
            f"counts are {counts.dtype} of shape {counts.shape}; expected integers of shape (C,), "
            "none below 0"
        )
