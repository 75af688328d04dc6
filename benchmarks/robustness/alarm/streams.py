"""Long streams of indicators: drawn from a short video, or from chains of known correlation.

Frames are never kept: a stream is a row of segments, and what is returned are counts per block, as
the alarm makes them. Several indicators share one integer of 16 bits each, so that one pass counts
them all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Chain", "Resampled", "autocorrelation", "inflation", "mean_block"]

_BITS = 16
_AT_ONCE = 1 << 20  # frames in memory
Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Random = np.random.Generator


@dataclass(frozen=True, eq=False)
class Resampled:
    """The stationary bootstrap (Politis and Romano 1994) of a video's indicators.

    A stream is made of stretches of the video, each begun at a random frame and of geometric
    length; the video's end is followed by its beginning. Indicators of one frame stay together.

    Attributes:
        indicators: `(K, N)`, at most 3 rows, of a video of N frames.
        mean: length of a stretch, in frames.
    """

    indicators: Bools
    mean: float

    def frames(self, count: int, random: Random) -> Bools:
        """`(K, count)` indicators of one stream."""
        return self.indicators[:, self._places(count, random)]

    def counts(self, blocks: int, size: int, random: Random) -> Counts:
        """`(K, blocks)` hits in blocks of `size` frames of one stream."""
        packed = _pack(self.indicators)
        return _in_parts(
            blocks, size, len(self.indicators), lambda n: packed[self._places(n, random)]
        )

    def _places(self, count: int, random: Random) -> NDArray[np.int64]:
        lengths = _lengths(count, self.mean, random)
        starts = random.integers(0, self.indicators.shape[1], len(lengths))
        begins = np.cumsum(lengths) - lengths
        places = np.repeat(starts - begins, lengths)[:count] + np.arange(count)
        return np.asarray(places % self.indicators.shape[1])


@dataclass(frozen=True, eq=False)
class Chain:
    """Independent two-state Markov chains of known rate and correlation time.

    With probability `1 - r` per frame a chain draws its state anew, else it keeps it, so that its
    autocorrelation is `r ** lag`, `r = exp(-1 / correlation)`.

    Attributes:
        rates: `(K,)` shares of hits, at most 3.
        correlation: correlation time in frames; 0 makes frames independent.
        swing: amplitude of the logarithm of the odds, as a sine over `period` frames that begins
            at the stream's first frame; 0 for a steady rate.
        period: of the swing in frames.
    """

    rates: tuple[float, ...]
    correlation: float
    swing: float = 0.0
    period: float = 1.0

    def frames(self, count: int, random: Random, first: int = 0) -> Bools:
        """`(K, count)` indicators of one stream from frame number `first` on."""
        return np.stack([self._states(rate, count, random, first) for rate in self.rates])

    def counts(self, blocks: int, size: int, random: Random, first: int = 0) -> Counts:
        """`(K, blocks)` hits in blocks of `size` frames of one stream."""
        done = first

        def part(count: int) -> NDArray[np.int64]:
            nonlocal done
            done += count
            return _pack(self.frames(count, random, done - count))

        return _in_parts(blocks, size, len(self.rates), part)

    def _states(self, rate: float, count: int, random: Random, first: int) -> Bools:
        mean = 1 / -np.expm1(-1 / self.correlation) if self.correlation else 1.0
        lengths = _lengths(count, mean, random)
        if self.swing:
            begins = first + np.cumsum(lengths) - lengths
            odds = rate / (1 - rate) * np.exp(self.swing * np.sin(2 * np.pi * begins / self.period))
            rates = odds / (1 + odds)
        else:
            rates = np.full(len(lengths), rate)
        return np.repeat(random.random(len(lengths)) < rates, lengths)[:count]


def _lengths(count: int, mean: float, random: Random) -> NDArray[np.int64]:
    """Geometric lengths that sum to `count` or more."""
    if mean <= 1:
        return np.ones(count, np.int64)
    found = [np.zeros(0, np.int64)]
    left = count
    while left > 0:
        more = random.geometric(1 / mean, int(left / mean * 1.1) + 8)
        found.append(more)
        left -= int(more.sum())
    return np.concatenate(found)


def _pack(indicators: Bools) -> NDArray[np.int64]:
    packed = np.zeros(indicators.shape[1], np.int64)
    for row, values in enumerate(indicators):
        packed |= values.astype(np.int64) << (row * _BITS)
    return packed


def _in_parts(
    blocks: int, size: int, rows: int, part: Callable[[int], NDArray[np.int64]]
) -> Counts:
    """Hits per block of packed frames, made a million at a time."""
    at_once = max(1, _AT_ONCE // size)
    sums = [
        part(n * size).reshape(n, size).sum(axis=1)
        for n in (min(at_once, blocks - done) for done in range(0, blocks, at_once))
    ]
    packed = np.concatenate(sums)
    return np.stack([(packed >> (row * _BITS)) & ((1 << _BITS) - 1) for row in range(rows)])


def autocorrelation(indicator: Bools, lags: int) -> Floats:
    """`(lags + 1,)` from lag 0; zeros where the indicator never changes."""
    values = indicator - indicator.mean()
    whole = float(values @ values)
    if not whole:
        return np.zeros(lags + 1)
    return np.array([values[: len(values) - lag] @ values[lag:] for lag in range(lags + 1)]) / whole


def inflation(indicator: Bools) -> float:
    """By how much clumps raise the variance of a count, by Geyer's initial positive sequence."""
    found = autocorrelation(indicator, len(indicator) // 3)
    total = -1.0
    for lag in range(0, len(found) - 1, 2):
        pair = found[lag] + found[lag + 1]
        if pair <= 0:
            break
        total += 2 * pair
    return max(1.0, float(total))


def mean_block(indicators: Bools) -> float:
    """Mean length of the bootstrap's stretches, in frames: ten times the largest inflation.

    At the integrated correlation time, half the inflation, the seams then take 5 % of the
    autocorrelation away. At most a quarter of the video.
    """
    wanted = 10 * max(inflation(row) for row in indicators)
    return float(min(max(10.0, wanted), indicators.shape[1] / 4))
