"""The threshold of mean softmax that accepts a wanted part of the frames."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["fit_threshold"]


def fit_threshold(confidences: Sequence[float], coverage: float) -> float:
    """The threshold that accepts `coverage` of these confidences, rounded up to whole pictures.

    It lies midway between the last that is accepted and the first that is not, and is 0 where all
    are to be accepted.
    """
    ordered = sorted(confidences, reverse=True)
    accepted = math.ceil(coverage * len(ordered))
    if accepted == len(ordered):
        return 0.0
    middle = (ordered[accepted - 1] + ordered[accepted]) / 2
    return float(np.float32(min(max(middle, 0.0), 1.0)))  # the graph compares in float32
