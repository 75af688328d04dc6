"""One of the rates that an alarm watches: its counts, its baseline and its CUSUMs."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from blurvote.runtime.pipeline.alarm_options import AlarmOptions
from blurvote.runtime.pipeline.baseline import Baseline, learn_baseline
from blurvote.runtime.pipeline.cusum import Cusum

__all__ = ["ADAPT_BLOCKS", "ENOUGH", "WatchedRate", "adapted", "odds_of"]

ADAPT_BLOCKS = 30
"""Between two moves of an adapting baseline."""

ENOUGH = 50.0
"""Independent frames that make a good baseline."""

_WORDS = {
    "disagreement": "the first two views differ on {} of frames",
    "rejection": "{} of frames rejected",
}
_POWERS = (1, 2, 4)  # of the odds that its CUSUMs look for


class WatchedRate:
    """Hits per frame of one kind: disagreements or rejections."""

    def __init__(self, name: str, options: AlarmOptions) -> None:
        self.name = name
        self._options = options
        self._frames = self._hits = 0  # of the block that is being filled
        self._in_clump = False
        self._clumps = 0
        self._learned: list[tuple[int, int]] = []
        self._first: Baseline | None = None  # as learned
        self._baseline: Baseline | None = None  # as adapted since
        self._tests: tuple[Cusum, ...] = ()
        blocks = max(1, round(options.recent_s / options.block_s))
        self._recent: deque[tuple[float, int, int]] = deque(maxlen=blocks)
        self._recent_frames = self._recent_hits = 0
        self._pending = (0, 0, 0)  # blocks, frames, hits that the baseline will adapt to

    def count(self, hit: bool) -> None:
        """Takes in a frame."""
        self._frames += 1
        if hit:
            self._hits += 1
            if not self._in_clump:
                self._clumps += 1
        self._in_clump = hit

    def learn(self) -> None:
        """Ends a block of the learning period."""
        self._learned.append((self._frames, self._hits))
        self._frames = self._hits = 0

    def settle(self) -> bool:
        """Learns the baseline; returns whether what was seen is enough for a good one."""
        options, frames = self._options, sum(n for n, _ in self._learned)
        per_second = frames / (len(self._learned) * options.block_s)
        self._first = learn_baseline(self._learned, self._clumps, 2 * options.hold_s * per_second)
        return self._first is None or self._first.effective >= ENOUGH

    def begin(self, at_s: float) -> None:
        """Ends the learning period."""
        self._learned = []
        self._tests = tuple(map(Cusum, odds_of(self._options))) if self._first else ()
        self._aim(self._first)
        self.restart(at_s)

    def _aim(self, baseline: Baseline | None) -> None:
        if baseline is not None:
            for test in self._tests:
                test.aim(baseline)
        self._baseline = baseline  # last: whoever reads the state finds its tests aimed

    def watch(self, start_s: float, next_s: float) -> None:
        """Ends a block that began at `start_s`; the next one begins at `next_s`."""
        frames, hits = self._frames, self._hits
        self._frames = self._hits = 0
        recent = self._recent
        oldest = start_s - self._options.recent_s
        while recent and (len(recent) == recent.maxlen or recent[0][0] < oldest):
            _, old_frames, old_hits = recent.popleft()
            self._recent_frames -= old_frames
            self._recent_hits -= old_hits
        recent.append((start_s, frames, hits))
        self._recent_frames += frames
        self._recent_hits += hits
        if frames:
            for test in self._tests:
                test.add(frames, hits, start_s, next_s)
        blocks, seen, found = self._pending
        self._pending = blocks + 1, seen + frames, found + hits

    def adapt(self) -> None:
        """Moves the baseline a little towards what was watched since the last move."""
        if self._pending[0] < ADAPT_BLOCKS:
            return
        seen, self._pending = self._pending, (0, 0, 0)
        if self._first is not None and self._baseline is not None and seen[1]:
            self._aim(adapted(self._first, self._baseline, seen, self._options))

    def restart(self, at_s: float) -> None:
        """Back to no evidence."""
        self._pending = (0, 0, 0)
        for test in self._tests:
            test.restart(at_s)

    @property
    def value(self) -> float:
        """Evidence of a change, in nats."""
        return max((test.value for test in self._tests), default=0.0)

    @property
    def quiet(self) -> bool:
        """Whether the recent rate is nearer to the baseline than to any change looked for."""
        if not self._recent_frames:
            return True
        rate = self._recent_hits / self._recent_frames
        return all(test.quiet(rate) for test in self._tests)

    def recent(self) -> dict[str, Any]:
        """Frames, hits and rate of the last `recent_s` seconds; the rate is None without frames."""
        return _counts(self._recent_frames, self._recent_hits)

    def baseline_dict(self) -> dict[str, Any] | None:
        """The baseline in plain values, and from which rate on a steady change is noticed."""
        if self._baseline is None:
            return None
        more = [test.balance for test in self._tests if test.odds > 1]
        fewer = [test.balance for test in self._tests if test.odds < 1]
        return {
            **self._baseline.to_dict(),
            "notices_above": min(more),
            "notices_below": max(fewer, default=None),
        }

    def evidence(self) -> dict[str, Any]:
        """What the strongest CUSUM has seen since it was last at zero."""
        test = max(self._tests, key=lambda one: one.value)
        return {
            "value": test.value,
            "odds": test.odds,
            "since": test.since,
            "seconds": test.seconds,
            **_counts(test.frames, test.hits),
            "recent": self.recent(),
            "baseline": self.baseline_dict(),
        }

    def finding(self) -> str:
        """The same in words, such as "41 % of frames rejected in the last 60 s, 6 % before"."""
        found, before = self.evidence(), self._baseline
        assert before is not None  # without a baseline there is no evidence
        what = _WORDS[self.name].format(_percent(found["rate"]))
        return f"{what} in the last {found['seconds']:.0f} s, {_percent(before.rate)} before"

    def quiet_text(self) -> str:
        """The baseline in words; empty where there is none."""
        if self._baseline is None:
            return ""
        return _WORDS[self.name].format(_percent(self._baseline.rate))

    def doubt(self) -> str:
        """What speaks against the learned baseline; empty for nothing."""
        if self._first is None or self._first.rate <= self._options.ceiling:
            return ""
        return (
            f"warning: that {_percent(self._first.rate)} is no quiet baseline; check the guard and "
            "the scene, then learn again"
        )


def odds_of(options: AlarmOptions) -> tuple[float, ...]:
    """Of the changes that are looked for, as multiples of the baseline's odds."""
    more = tuple(options.odds**power for power in _POWERS)
    return more + tuple(1 / odds for odds in more) if options.fewer else more


def adapted(
    first: Baseline, now: Baseline, seen: tuple[int, int, int], options: AlarmOptions
) -> Baseline:
    """A baseline that has moved towards what was seen.

    Args:
        first: as it was learned.
        now: as it is.
        seen: blocks, frames (at least one) and hits since the last move.
        options: `adapt_s` says how fast, `adapt_odds` how far.
    """
    blocks, frames, hits = seen
    share = 1 - math.exp(-blocks * options.block_s / options.adapt_s)
    rate = now.rate + share * (hits / frames - now.rate)
    # Half a hit more than was seen, so that a baseline of zero has odds to multiply.
    odds = (first.hits + 0.5) / (first.frames - first.hits + 0.5)
    most, least = odds * options.adapt_odds, odds / options.adapt_odds
    return first.moved_to(min(max(rate, least / (1 + least)), most / (1 + most)))


def _counts(frames: int, hits: int) -> dict[str, Any]:
    return {"frames": frames, "hits": hits, "rate": hits / frames if frames else None}


def _percent(rate: float) -> str:
    share = 100 * rate
    return f"{share:.0f} %" if share >= 1 or not share else f"{share:.1g} %"
