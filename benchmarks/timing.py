"""Interleaved timing.

The method, and why:

* Alternatives run in turn, A B C A B C, in one process, so that a change of clock, load or cache
  state meets all of them; ratios are of one run.
* A turn is several calls in a row of which the first is not counted: it pays for what the previous
  alternative pushed out of the caches, which a pipeline that runs only one of them does not.
* A pause precedes each turn, because OpenMP threads of the previous one spin on for a while.
* The median is the answer; the minimum says what an undisturbed machine would do, the quartiles how
  disturbed this one was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

__all__ = ["Timing", "interleave", "summarise"]


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one alternative: `calls` counted calls, quantiles over them."""

    median: float
    minimum: float
    p25: float
    p75: float
    p90: float
    p99: float
    mean: float
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarise(milliseconds: list[float]) -> Timing:
    """The quantiles of some calls."""
    values = np.array(milliseconds)
    p25, p50, p75, p90, p99 = np.percentile(values, (25, 50, 75, 90, 99))
    return Timing(p50, values.min(), p25, p75, p90, p99, values.mean(), len(values))


def interleave(
    alternatives: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    calls: int = 4,
    pause_s: float = 0.02,
) -> dict[str, Timing]:
    """Times every alternative `rounds` times in turn, `calls` counted calls each.

    Args:
        alternatives: name to function; what it returns is thrown away.
        rounds: turns of each alternative; one more warms up and is not counted.
        calls: counted calls of a turn.
        pause_s: seconds of rest before each turn.
    """
    times: dict[str, list[float]] = {name: [] for name in alternatives}
    for turn in range(rounds + 1):
        for name, function in alternatives.items():
            time.sleep(pause_s)
            function()
            for _ in range(calls):
                started = time.perf_counter_ns()
                function()
                if turn:
                    times[name].append((time.perf_counter_ns() - started) / 1e6)
    return {name: summarise(values) for name, values in times.items()}
