"""One CUSUM: is a rate nearer to a changed one than to the baseline, and since when?"""

from __future__ import annotations

import math

from blurvote.runtime.pipeline.baseline import Baseline

__all__ = ["Cusum"]


class Cusum:
    """Page's cumulated log-likelihood ratio of a changed rate and the baseline, in nats.

    `value` it is; `since` when, `frames`, `hits` and `seconds` what it has seen since it was zero.

    Args:
        odds: of the changed rate, as a multiple of the baseline's: above 1 looks for more hits than
            the baseline's upper bound, below 1 for fewer than its lower bound.
    """

    def __init__(self, odds: float) -> None:
        self.odds = odds
        self.value = 0.0
        self.since = 0.0
        self.frames = self.hits = 0
        self.seconds = 0.0

    def aim(self, baseline: Baseline) -> None:
        """Sets what is compared; what was cumulated stays."""
        quiet = baseline.high if self.odds > 1 else baseline.low
        changed = self.odds * quiet / (1 - quiet + self.odds * quiet)
        self.hit = math.log(changed / quiet) / baseline.inflation
        self.miss = math.log((1 - changed) / (1 - quiet)) / baseline.inflation
        self.usual = baseline.per_block
        self.balance = self.miss / (self.miss - self.hit)
        """The rate that moves it neither up nor down."""

    def restart(self, at_s: float) -> None:
        """Back to zero."""
        self.value, self.since = 0.0, at_s
        self.frames = self.hits = 0
        self.seconds = 0.0

    def add(self, frames: int, hits: int, start_s: float, next_s: float) -> None:
        """Takes in a block of at least one frame, from `start_s` to before `next_s`."""
        step = self.hit * hits + self.miss * (frames - hits)
        if frames > self.usual:
            step *= self.usual / frames
        if self.value + step <= 0:
            self.restart(next_s)
        else:
            self.value += step
            self.frames += frames
            self.hits += hits
            self.seconds += next_s - start_s

    def quiet(self, rate: float) -> bool:
        """Whether a rate would move it down, or not at all."""
        return rate <= self.balance if self.odds > 1 else rate >= self.balance
