"""False alarms, and how soon an alarm comes, over many simulated streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.alarm.simulate import learn, watch
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.baseline import Baseline

__all__ = ["Detection", "FalseAlarms", "Rate", "Streams", "detection", "false_alarms"]

_AT_ONCE = 250  # streams in memory
_QUIET_S = 120.0  # between learning and the disturbance
_WATCHED_S = 1800.0
_AFTER_S = 600.0
_DAY_S = 86400.0


class Streams(Protocol):
    """Where streams come from; see `streams`."""

    def frames(self, count: int, random: np.random.Generator) -> NDArray[np.bool_]: ...

    def counts(self, blocks: int, size: int, random: np.random.Generator) -> NDArray[np.int64]: ...


@dataclass(frozen=True)
class Rate:
    """Alarms per camera-day at one setting.

    Attributes:
        stated: one in `false_alarm_days`.
        measured, low, high: with the exact 95 % interval of a Poisson count (Garwood 1936).
        alarms: counted.
        streams: that had any.
    """

    stated: float
    measured: float
    low: float
    high: float
    alarms: int
    streams: int


@dataclass(frozen=True)
class FalseAlarms:
    """What undisturbed streams of a day each gave.

    Attributes:
        streams: each a camera with a learning period of its own.
        rates: one per setting of `false_alarm_days`.
        learned_s: mean length of the learning period.
        high: mean upper bound of the baselines, disagreement and rejection.
        inflation: mean inflation, as learned.
    """

    streams: int
    rates: tuple[Rate, ...]
    learned_s: float
    high: tuple[float, float]
    inflation: tuple[float, float]


@dataclass(frozen=True)
class Detection:
    """How disturbed streams fared.

    Attributes:
        streams: simulated.
        rates: of disagreement and of rejection while disturbed.
        alarmed: share with an alarm within `within_s`.
        p50_s, p90_s: from the first disturbed frame to the alarm, over all streams; infinite where
            fewer have an alarm.
        cleared_p50_s, cleared_p90_s: from the last disturbed frame to the all-clear, over the
            streams whose alarm was on then; infinite where fewer were cleared within ten minutes.
    """

    streams: int
    rates: tuple[float, float]
    alarmed: float
    within_s: float
    p50_s: float
    p90_s: float
    cleared_p50_s: float
    cleared_p90_s: float


def false_alarms(
    source: Streams,
    streams: int,
    size: int,
    options: AlarmOptions,
    every_days: Sequence[float],
    seed: int,
    done: Callable[[int], None],
    corrected: bool = True,
) -> FalseAlarms:
    """Learns on each stream, then watches it for a day.

    Args:
        source: of the streams.
        streams: how many.
        size: frames in a block.
        options: of the alarm.
        every_days: values of `false_alarm_days`, each tried on the same streams.
        seed: of the simulation.
        done: told how many streams are done.
        corrected: else the learned rates are taken for true and frames for independent, as a
            textbook's CUSUM would; for comparison.
    """
    blocks = round(_DAY_S / options.block_s)
    events: dict[float, list[NDArray[np.int64]]] = {every: [] for every in every_days}
    learned: list[list[Baseline]] = []
    lengths = []
    for first in range(0, streams, _AT_ONCE):
        some = range(first, min(streams, first + _AT_ONCE))
        hits = np.empty((blocks, 2, len(some)), _counter(size))
        for column, stream in enumerate(some):
            random = np.random.default_rng([seed, stream])
            pair, length = _learn(source, size, options, random)
            learned.append(pair if corrected else [_plain(baseline) for baseline in pair])
            lengths.append(length)
            hits[:, :, column] = source.counts(blocks, size, random).T
            done(stream + 1)
        for every in every_days:
            runs = watch(learned[first:], hits, size, replace(options, false_alarm_days=every))
            events[every].append(runs.raised + np.array([first, 0]))
    return FalseAlarms(
        streams,
        tuple(_rate(every, np.concatenate(found), streams) for every, found in events.items()),
        float(np.mean(lengths)) * options.block_s,
        _means(learned, lambda baseline: baseline.high),
        _means(learned, lambda baseline: baseline.inflation),
    )


def detection(
    quiet: Streams,
    disturbed: Streams,
    streams: int,
    size: int,
    options: AlarmOptions,
    seed: int,
) -> Detection:
    """Learns on quiet streams, disturbs them for half an hour, and lets them rest for ten minutes.

    Streams that raise an alarm before the disturbance begins count as not alarmed.
    """
    before, during, after = (
        round(seconds / options.block_s) for seconds in (_QUIET_S, _WATCHED_S, _AFTER_S)
    )
    hits = np.empty((before + during + after, 2, streams), _counter(size))
    learned = []
    for stream in range(streams):
        random = np.random.default_rng([seed, stream, 1])
        learned.append(_learn(quiet, size, options, random)[0])
        parts = [
            source.counts(blocks, size, random)
            for source, blocks in ((quiet, before), (disturbed, during), (quiet, after))
        ]
        hits[:, :, stream] = np.concatenate(parts, axis=1).T
    runs = watch(learned, hits, size, options)
    begun, ended = before, before + during
    # A block's verdict is known at its end.
    delays = runs.first(runs.raised, streams) - begun + 1
    delays[(delays < 1) | (delays > during)] = np.inf
    on = runs.on(streams, ended)
    clears = (runs.first(runs.cleared, streams, ended) - ended + 1)[on]
    while_on = hits[begun:ended].mean(axis=(0, 2)) / size
    p50, p90 = _quantiles(delays * options.block_s)
    cleared_p50, cleared_p90 = _quantiles(clears * options.block_s)
    return Detection(
        streams, (float(while_on[0]), float(while_on[1])), float(np.isfinite(delays).mean()),
        during * options.block_s, p50, p90, cleared_p50, cleared_p90,
    )  # fmt: skip


def _learn(
    source: Streams, size: int, options: AlarmOptions, random: np.random.Generator
) -> tuple[list[Baseline], int]:
    frames = source.frames(options.stages[-1] * size, random)
    return learn(frames, size, options, size / options.block_s)


def _plain(baseline: Baseline) -> Baseline:
    # Half a hit more than was seen: a rate of 0 has no likelihood.
    rate = (baseline.hits + 0.5) / (baseline.frames + 1)
    return replace(baseline, rate=rate, low=rate, high=rate, inflation=1.0)


def _rate(every: float, raised: NDArray[np.int64], streams: int) -> Rate:
    from scipy.stats import chi2

    count = len(raised)
    low = float(chi2.ppf(0.025, 2 * count) / 2) if count else 0.0
    high = float(chi2.ppf(0.975, 2 * count + 2) / 2)
    return Rate(
        1 / every, count / streams, low / streams, high / streams, count, len(set(raised[:, 0]))
    )


def _means(
    learned: list[list[Baseline]], value: Callable[[Baseline], float]
) -> tuple[float, float]:
    found = np.array([[value(baseline) for baseline in pair] for pair in learned]).mean(axis=0)
    return float(found[0]), float(found[1])


def _quantiles(values: NDArray[np.float64]) -> tuple[float, float]:
    if not len(values):
        return float("inf"), float("inf")
    p50, p90 = np.percentile(values, [50, 90], method="higher")
    return float(p50), float(p90)


def _counter(size: int) -> type[np.unsignedinteger]:
    return np.uint8 if size < 256 else np.uint16
