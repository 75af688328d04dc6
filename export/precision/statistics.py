"""How sure a difference is that was measured on the same pictures twice."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Gap", "paired_gap"]

DRAWS = 2000
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Gap:
    """A difference of two parts, and its 95 % interval by bootstrap over the pictures."""

    value: float
    low: float
    high: float


def paired_gap(hits_a: Bools, among_a: Bools, hits_b: Bools, among_b: Bools, seed: int) -> Gap:
    """Part of `hits_a` among `among_a`, minus the same of `b`; pictures are drawn in pairs.

    Args:
        hits_a, among_a, hits_b, among_b: `(N,)`, of the same pictures.
        seed: of the draws.

    Returns:
        NaN where one of the two has no picture.
    """
    rows = np.stack([hits_a & among_a, among_a, hits_b & among_b, among_b], axis=1)
    # Pictures of the same kind are alike, so that the draw is one of numbers of each kind.
    kinds, numbers = np.unique(rows, axis=0, return_counts=True)
    total = len(hits_a)
    drawn = np.random.default_rng([seed, 1]).multinomial(total, numbers / total, size=DRAWS)
    value = _difference(numbers[None] @ kinds)[0]
    gaps = _difference(drawn @ kinds)
    gaps = gaps[np.isfinite(gaps)]
    if not np.isfinite(value) or not gaps.size:
        return Gap(float("nan"), float("nan"), float("nan"))
    low, high = np.percentile(gaps, (2.5, 97.5))
    return Gap(float(value), float(low), float(high))


def _difference(sums: NDArray[np.int64]) -> NDArray[np.float64]:
    """The first over the second column minus the third over the fourth; NaN or inf by zero."""
    hits_a, among_a, hits_b, among_b = sums.T.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(hits_a / among_a - hits_b / among_b)
