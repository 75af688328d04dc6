"""Percentiles of any number of ages in bounded memory."""

from __future__ import annotations

import math

import numpy as np

__all__ = ["Ages"]

_PER_FACTOR = 100  # bins per factor of e: each is one percent wide
_LEAST_MS, _MOST_MS = 1e-2, 1e7
_BINS = round(_PER_FACTOR * math.log(_MOST_MS / _LEAST_MS))


class Ages:
    """Counts ages, in milliseconds, in bins one percent wide; the largest is kept exactly."""

    def __init__(self) -> None:
        self._counts = np.zeros(_BINS, np.int64)
        self.largest = 0.0
        self.count = 0

    def add(self, age_ms: float) -> None:
        """Takes in one age."""
        place = round(_PER_FACTOR * math.log(max(age_ms, _LEAST_MS) / _LEAST_MS))
        self._counts[min(place, _BINS - 1)] += 1
        self.largest = max(self.largest, age_ms)
        self.count += 1

    def percentile(self, share: float) -> float:
        """The age that `share` (0 to 1) of all do not exceed, to one percent; 0 without any."""
        if not self.count:
            return 0.0
        place = int(np.searchsorted(np.cumsum(self._counts), share * self.count))
        return min(_LEAST_MS * math.exp(place / _PER_FACTOR), self.largest)

    def to_dict(self) -> dict[str, float]:
        """`p50`, `p99` and `max`, in milliseconds."""
        return {
            "p50": self.percentile(0.5),
            "p99": self.percentile(0.99),
            "max": self.largest,
        }
