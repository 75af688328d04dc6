"""What a camera's rate of disagreements or rejections is in quiet times, and how sure that is.

Frames of a video are no coin flips: what confuses the views stays in view for a while, so hits come
in clumps and `n` frames tell less than `n` independent ones. How much less is the **inflation**
`phi`: the variance of a count over many frames, divided by what it would be for independent frames,
`n p (1 - p)`. Everything here works with `n / phi` effective frames (quasi-likelihood; Wedderburn
1974, McCullagh and Nelder 1989, section 4.5).

`phi` is estimated from the counts of successive blocks: their autocovariances are summed for as
long as sums of neighbouring pairs are positive (the initial positive sequence of Geyer 1992,
*Practical Markov Chain Monte Carlo*), and divided by the binomial variance. Few clumps say little
about their length, none at all say nothing, so the estimate is drawn towards a prior, `2 hold_s`
times the frame rate (the inflation of rare hits whose clumps last `hold_s` on average, and are
exponentially distributed), which weighs as much as 10 clumps. What is uncertain then is paid for:
`phi` is raised to its upper 95 % limit (chi-square, Wilson and Hilferty's approximation), and the
rate to Chernoff's bound: all `p` with `n / phi * KL(rate, p) <= ln 20` are possible.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Baseline", "learn_baseline", "rate_bounds"]

_PRIOR_CLUMPS = 10.0  # how many seen clumps the prior on their length weighs
_CONFIDENCE = math.log(20)  # Chernoff's bound fails with probability 1/20 at most on each side
_Z_95 = 1.6449
_TINY = 1e-6


@dataclass(frozen=True)
class Baseline:
    """One statistic in quiet times.

    Attributes:
        frames, hits: counted while learning.
        rate: hits per frame; with an adapting baseline, now.
        low, high: bounds of the true rate.
        inflation: frames that tell as much as one independent frame.
        per_block: frames in a block, on average.
    """

    frames: int
    hits: int
    rate: float
    low: float
    high: float
    inflation: float
    per_block: float

    @property
    def effective(self) -> float:
        """As many independent frames would tell as much."""
        return self.frames / self.inflation

    def moved_to(self, rate: float) -> Baseline:
        """This baseline, as sure as before, around another rate."""
        low, high = rate_bounds(rate, self.effective)
        return Baseline(self.frames, self.hits, rate, low, high, self.inflation, self.per_block)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        return asdict(self)


def learn_baseline(
    blocks: Sequence[tuple[int, int]], clumps: int, prior_inflation: float
) -> Baseline | None:
    """The baseline of one statistic; None where no frame had it.

    Args:
        blocks: frames and hits of successive blocks of equal time.
        clumps: unbroken runs of hits seen over all blocks.
        prior_inflation: assumed where clumps are too few to tell.
    """
    frames, hits = sum(n for n, _ in blocks), sum(x for _, x in blocks)
    if not frames:
        return None
    rate = hits / frames
    seen = _inflation(blocks, rate, frames)
    inflation = (_PRIOR_CLUMPS * max(1.0, prior_inflation) + clumps * seen) / (
        _PRIOR_CLUMPS + clumps
    )
    # Summed autocovariances have fewer degrees of freedom than there are blocks.
    freedom = max(2.0, min(_PRIOR_CLUMPS + clumps, len(blocks) / 2))
    inflation *= freedom / _low_chi_square(freedom)
    low, high = rate_bounds(rate, frames / inflation)
    return Baseline(frames, hits, rate, low, high, inflation, frames / len(blocks))


def rate_bounds(rate: float, effective: float) -> tuple[float, float]:
    """The least and the largest true rate that go with a rate seen over `effective` frames.

    Both lie in [1e-6, 1 - 1e-6].
    """
    return _bound(rate, effective, _TINY), _bound(rate, effective, 1 - _TINY)


def _bound(rate: float, effective: float, end: float) -> float:
    """Bisects between the rate, which is possible, and `end`, which is not."""
    inside, outside = min(max(rate, _TINY), 1 - _TINY), end
    for _ in range(30):
        middle = (inside + outside) / 2
        if effective * _divergence(rate, middle) <= _CONFIDENCE:
            inside = middle
        else:
            outside = middle
    return inside


def _divergence(rate: float, other: float) -> float:
    """Kullback and Leibler's, of one coin from another, in nats."""
    heads = rate * math.log(rate / other) if rate > 0 else 0.0
    tails = (1 - rate) * math.log((1 - rate) / (1 - other)) if rate < 1 else 0.0
    return heads + tails


def _inflation(blocks: Sequence[tuple[int, int]], rate: float, frames: int) -> float:
    """Long-run variance of the counts over the binomial one; at least 1."""
    binomial = rate * (1 - rate) * frames
    if binomial <= 0:
        return 1.0
    off = [x - rate * n for n, x in blocks]

    def covariance(lag: int) -> float:
        return math.fsum(a * b for a, b in zip(off, off[lag:], strict=False))

    total = -covariance(0)
    for lag in range(0, len(off) // 3, 2):
        pair = covariance(lag) + covariance(lag + 1)
        if pair <= 0:
            break
        total += 2 * pair
    return max(1.0, total / binomial)


def _low_chi_square(freedom: float) -> float:
    """The value that chi-square stays above with probability 95 %."""
    part = 2 / (9 * freedom)
    return float(freedom * max(0.05, 1 - part - _Z_95 * math.sqrt(part)) ** 3)
