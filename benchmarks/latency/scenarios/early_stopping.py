"""MLPerf's early stopping: how few queries can still vouch for a tail percentile.

With `n` queries of which `t` were too slow, a system that misses its bound with exactly the
probability that the percentile allows, `q = 1 - p`, would do this well or better with probability
`P(X <= t)`, X binomial of n and q. Where that is below 1 %, the bound is kept with 99 % confidence.
(mlcommons/inference_policies, inference_rules.adoc, appendix "Early Stopping Criterion", with its
tolerance d = 0 and confidence c = 0.99; LoadGen's loadgen/early_stopping.cc searches for the same
n by bisection on the incomplete beta function.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["allowed_late", "estimate", "fewest_queries"]

_DOUBT = 0.01


def allowed_late(queries: int, percentile: float) -> int:
    """How many of `queries` may exceed a bound that is then kept with 99 % confidence.

    Args:
        queries: queries processed.
        percentile: as a share, such as 0.99.

    Returns:
        The largest such count; -1 where even none would be too few to tell.
    """
    return int(np.count_nonzero(_chance(queries, 1 - percentile) < _DOUBT)) - 1


def fewest_queries(late: int, percentile: float) -> int:
    """The fewest queries that may have `late` ones above the bound."""
    low = high = late + 1
    while allowed_late(high, percentile) < late:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if allowed_late(middle, percentile) < late:
            low = middle + 1
        else:
            high = middle
    return high


def estimate(ordered: Sequence[float] | NDArray[np.float64], percentile: float) -> float | None:
    """The percentile of ascending latencies that 99 % confidence allows to report.

    Of `t` queries that may be late, the slowest `t - 1` are discarded and the next one is
    reported. None where `t` is 0 still: too few queries.
    """
    late = allowed_late(len(ordered), percentile)
    return float(ordered[len(ordered) - late]) if late >= 1 else None


def _chance(queries: int, share: float) -> NDArray[np.float64]:
    """P(X <= k) for k from 0 to just above the mean, where it is past any doubt.

    Summed as logarithms: the first term alone underflows from 74,000 queries on.
    """
    last = min(queries, math.ceil(queries * share) + 1)
    k = np.arange(1, last + 1)
    steps = np.log((queries - k + 1) / k * (share / (1 - share)))
    logs = queries * math.log1p(-share) + np.concatenate(([0.0], np.cumsum(steps)))
    chance: NDArray[np.float64] = np.cumsum(np.exp(logs))
    return chance
