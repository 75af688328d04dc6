"""The alarm over many streams at once: the same recursion as `Alarm`, block by block, vectorised.

Baselines are learned by the runtime's own function, stream by stream; a test holds the rest against
`Alarm` fed frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.baseline import Baseline, learn_baseline
from blurvote.runtime.pipeline.cusum import Cusum
from blurvote.runtime.pipeline.watched_rate import ADAPT_BLOCKS, ENOUGH, adapted, odds_of

__all__ = ["Runs", "learn", "watch"]

Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Runs:
    """What happened, in blocks since the end of learning.

    Attributes:
        raised: `(E, 2)` stream and block of every alarm, in the order of blocks.
        cleared: `(F, 2)` stream and block of every all-clear.
    """

    raised: Counts
    cleared: Counts

    def first(self, events: Counts, streams: int, since: int = 0) -> Floats:
        """`(S,)` block of each stream's first event from block `since` on; infinite for none."""
        found = np.full(streams, np.inf)
        for stream, block in events[::-1]:
            if block >= since:
                found[stream] = block
        return found

    def on(self, streams: int, block: int) -> Bools:
        """`(S,)` whether each stream's alarm is on when block `block` begins."""
        changes = np.zeros(streams, np.int64)
        for events, step in ((self.raised, 1), (self.cleared, -1)):
            np.add.at(changes, events[events[:, 1] < block, 0], step)
        return changes > 0


def learn(
    frames: Bools, size: int, options: AlarmOptions, per_second: float
) -> tuple[list[Baseline], int]:
    """The baselines of one stream, and how many blocks they were learned from.

    Args:
        frames: `(2, n * size)` indicators, a row per statistic, of the longest learning period.
        size: frames in a block.
        options: of the alarm.
        per_second: frames, for the prior on clumps.
    """
    for blocks in options.stages:
        found = [
            _learn(row[: blocks * size], size, 2 * options.hold_s * per_second) for row in frames
        ]
        if all(baseline.effective >= ENOUGH for baseline in found):
            break
    return found, blocks


def _learn(row: Bools, size: int, prior: float) -> Baseline:
    clumps = int(row[0]) + int(np.count_nonzero(row[1:] & ~row[:-1]))
    blocks = [(size, int(hits)) for hits in row.reshape(-1, size).sum(axis=1)]
    found = learn_baseline(blocks, clumps, prior)
    assert found is not None  # there are frames
    return found


def watch(
    learned: list[list[Baseline]], hits: NDArray[np.integer], size: int, options: AlarmOptions
) -> Runs:
    """Watches S streams over T blocks.

    Args:
        learned: `S` pairs of baselines.
        hits: `(T, 2, S)` per block and statistic.
        size: frames in a block.
        options: of the alarm.
    """
    return _Watch(learned, size, options).run(hits)


class _Watch:
    def __init__(self, learned: list[list[Baseline]], size: int, options: AlarmOptions) -> None:
        self.learned, self.size, self.options = learned, size, options
        self.baselines = [list(pair) for pair in learned]
        self.factors = odds_of(options)
        streams = len(learned)
        shape = (2, len(self.factors), streams)
        self.step_hit, self.step_miss, self.balance = (np.zeros(shape) for _ in range(3))
        for stream in range(streams):
            self._aim(stream)
        self.value = np.zeros(shape)
        self.raised = np.zeros(streams, bool)
        self.quiet = np.zeros(streams, np.int64)
        self.recent = max(1, round(options.recent_s / options.block_s))
        self.clear = max(1, int(np.ceil(options.clear_s / options.block_s)))
        self.begun = np.zeros(streams, np.int64)  # of what the baseline will adapt to

    def _aim(self, stream: int) -> None:
        for row, baseline in enumerate(self.baselines[stream]):
            weight = min(1.0, baseline.per_block / self.size)
            for k, factor in enumerate(self.factors):
                test = Cusum(factor)
                test.aim(baseline)
                self.step_hit[row, k, stream] = test.hit * weight
                self.step_miss[row, k, stream] = test.miss * weight
                self.balance[row, k, stream] = test.balance

    def run(self, hits: NDArray[np.integer]) -> Runs:
        raised: list[tuple[int, int]] = []
        cleared: list[tuple[int, int]] = []
        threshold = self.options.threshold
        for block in range(len(hits)):
            now = hits[block][:, None, :]
            self.value += self.step_hit * now + self.step_miss * (self.size - now)
            np.maximum(self.value, 0, out=self.value)
            if self.raised.any():
                for stream in np.flatnonzero(self.raised).tolist():
                    if self._clears(stream, hits, block):
                        cleared.append((stream, block))
                        self.value[:, :, stream] = 0
                        self.begun[stream] = block + 1
                        # Not on from this block on, but nothing can cross zero to h in no time.
                        self.raised[stream] = False
                        self.quiet[stream] = -1
            peak = self.value.max(axis=(0, 1))
            for stream in np.flatnonzero((peak >= threshold) & ~self.raised).tolist():
                raised.append((stream, block))
                self.raised[stream], self.quiet[stream] = True, 0
            if self.options.adapt_s:
                self._adapt(hits, block)
            self.quiet[self.quiet < 0] = 0
        return Runs(
            np.array(raised, np.int64).reshape(-1, 2), np.array(cleared, np.int64).reshape(-1, 2)
        )

    def _clears(self, stream: int, hits: NDArray[np.integer], block: int) -> bool:
        last = hits[max(0, block - self.recent + 1) : block + 1, :, stream]
        rates = last.sum(axis=0) / (self.size * len(last))
        up = np.array(self.factors) > 1
        quiet = all(
            bool(np.all(np.where(up, rate <= balance, rate >= balance)))
            for rate, balance in zip(rates, self.balance[:, :, stream], strict=True)
        )
        self.quiet[stream] = self.quiet[stream] + 1 if quiet else 0
        return bool(self.quiet[stream] >= self.clear)

    def _adapt(self, hits: NDArray[np.integer], block: int) -> None:
        due = (block + 1 - self.begun >= ADAPT_BLOCKS) & ~self.raised & (self.quiet >= 0)
        for stream in np.flatnonzero(due).tolist():
            first = self.begun[stream]
            for row in (0, 1):
                seen = int(hits[first : block + 1, row, stream].sum())
                frames = (block + 1 - first) * self.size
                self.baselines[stream][row] = adapted(
                    self.learned[stream][row],
                    self.baselines[stream][row],
                    (int(block + 1 - first), int(frames), seen),
                    self.options,
                )
            self._aim(stream)
            self.begun[stream] = block + 1
