"""How sure a model is of a label, as a number that keeps apart what softmax rounds to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_odds"]


def log_odds(logits: NDArray[np.float32], label: int) -> float:
    """`log(p / (1 - p))` of the mean softmax `p` of `label`, in float64.

    It ranks pictures as `p` does. But a sure network, and more so an attacked one, gives many of
    them a `p` of exactly 1 in floating point, and a ranking among equals is an accident of their
    order.

    Args:
        logits: `(V, C)`, of the views averaged; one view for a model without defence. Views with
            NaN, or with nothing but -inf, are left out.
        label: class index.

    Returns:
        Finite; the smallest float64 where no view is left, the largest where C is 1.
    """
    values = logits.astype(np.float64)
    values = values[~np.isnan(values).any(axis=1) & (values.max(axis=1) > -np.inf)]
    if not len(values):
        return float(np.finfo(np.float64).min)
    values = np.clip(values, -1e300, 1e300)
    largest = values.max(axis=1, keepdims=True)
    shares = values - largest
    shares -= np.log(np.exp(shares).sum(axis=1, keepdims=True))
    inside = np.logaddexp.reduce(shares[:, label])
    outside = np.logaddexp.reduce(np.delete(shares, label, axis=1), axis=None)
    if outside == -np.inf:
        return float(np.finfo(np.float64).max)
    return float(np.clip(inside - outside, -1e300, 1e300))
