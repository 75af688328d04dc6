"""The four scenarios in plain Python, for machines that LoadGen has no wheel for.

Queries, clocks, percentiles and verdicts follow LoadGen (mlcommons/inference, loadgen/loadgen.cc,
issue_query_controller.cc, results.cc) closely enough that VALID means the same. Differences: the
random numbers are NumPy's, and Server needs no second thread, because a schedule drawn beforehand
tells who is waiting without anyone waking up to receive them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.scenarios.early_stopping import (
    allowed_late,
    estimate,
    fewest_queries,
)
from blurvote.benchmarks.latency.scenarios.progress import Teller
from blurvote.benchmarks.latency.scenarios.result import METRICS, PERCENTILES, Result
from blurvote.benchmarks.latency.scenarios.settings import Settings
from blurvote.benchmarks.latency.scenarios.sut import SystemUnderTest

__all__ = ["SLACK", "run", "warm_up_s"]

_clock = time.perf_counter
_sleep = time.sleep
SLACK = 1.1  # LoadGen's own, on the samples of the Offline query


@dataclass(frozen=True)
class _Record:
    """What happened, in seconds since the start; `lasted_s` is what min_duration_s is held to."""

    latencies_s: NDArray[np.float64]
    queries: int
    samples: int
    lasted_s: float
    done_s: float
    gave_up: bool = False


def run(
    sut: SystemUnderTest, settings: Settings, progress: Callable[[str], None] | None = None
) -> Result:
    """One run, on the calling thread.

    Raises:
        BlurvoteError: Server without `target_qps`.
        Exception: whatever `sut.classify` raised.
    """
    teller = Teller(settings, progress)
    rng = np.random.default_rng(settings.seed)
    if settings.scenario == "Server":
        record = _server(sut, settings, rng, teller)
    elif settings.scenario == "Offline":
        record = _offline(sut, settings, teller)
    else:
        record = _stream(sut, settings, rng, teller)
    return _judge(settings, record)


def _offline_samples(settings: Settings, expected_rate: float) -> int:
    """Samples of the Offline query: enough to last, at the rate expected."""
    return max(settings.fewest_queries, int(SLACK * settings.min_duration_s * expected_rate))


def _stream(
    sut: SystemUnderTest, settings: Settings, rng: np.random.Generator, teller: Teller
) -> _Record:
    """Each query as soon as the one before is answered."""
    size = settings.samples_per_query if settings.scenario == "MultiStream" else 1
    sut.warm_up(size, warm_up_s(settings))
    order = rng.permutation(sut.samples).tolist()  # a query is a stretch of it, as in LoadGen
    latencies: list[float] = []
    teller.started()
    start = _clock()
    while True:
        first = int(rng.integers(sut.samples))
        indices = [order[(first + i) % sut.samples] for i in range(size)]
        issued = _clock()
        for batch in sut.batches(indices):
            sut(batch)
        done = _clock()
        latencies.append(done - issued)
        teller.tell(len(latencies) * size)
        if len(latencies) >= settings.fewest_queries and issued - start >= settings.min_duration_s:
            break
    count = len(latencies)
    return _Record(np.array(latencies), count, count * size, issued - start, done - start)


def _offline(sut: SystemUnderTest, settings: Settings, teller: Teller) -> _Record:
    """Everything at once."""
    pace = sut.warm_up(sut.batch, warm_up_s(settings))
    count = _offline_samples(settings, SLACK * pace.size / pace.quick_s)
    latencies = np.empty(count)
    answered = 0
    teller.started()
    start = _clock()
    for batch in sut.batches(range(count)):
        sut([i % sut.samples for i in batch])
        latencies[answered : answered + len(batch)] = _clock() - start
        answered += len(batch)
        teller.tell(answered)
    done = float(latencies[-1])
    return _Record(latencies, 1, count, done, done)


def _server(
    sut: SystemUnderTest, settings: Settings, rng: np.random.Generator, teller: Teller
) -> _Record:
    """Queries queue up on a schedule that waits for nobody; latency counts from it."""
    arrivals = _arrivals(settings, rng)
    indices = rng.integers(sut.samples, size=len(arrivals)).tolist()
    sut.warm_up(1, warm_up_s(settings))
    latencies = np.empty(len(arrivals))
    answered = 0
    end = len(arrivals)
    teller.started()
    start = _clock()
    while answered < end:
        now = _clock() - start
        if now < arrivals[answered]:
            _sleep(arrivals[answered] - now)
            continue
        due = min(end, int(np.searchsorted(arrivals, now, side="right")))
        if due - answered > settings.max_waiting:
            end = due  # those that wait are still answered, none comes after them
        taken = slice(answered, min(due, answered + sut.batch))
        sut(indices[taken])
        latencies[taken] = _clock() - start - arrivals[taken]
        answered = taken.stop
        teller.tell(answered)
    done = _clock() - start
    lasted = float(arrivals[end - 1])
    return _Record(latencies[:end], end, end, lasted, done, gave_up=end < len(arrivals))


def _arrivals(settings: Settings, rng: np.random.Generator) -> NDArray[np.float64]:
    """Seconds of the Poisson arrivals: the first at 0, the last at or after the duration."""
    gap = 1 / settings.arrival_rate
    times = [0.0]
    while times[-1] < settings.min_duration_s or len(times) < settings.fewest_queries:
        times.append(times[-1] + float(rng.exponential(gap)))
    return np.array(times)


def warm_up_s(settings: Settings) -> float:
    """Seconds of warm-up before a run: a tenth of it, at most two."""
    return min(2.0, settings.min_duration_s / 10)


def _judge(settings: Settings, record: _Record) -> Result:
    """LoadGen's verdict and metric."""
    ordered = np.sort(record.latencies_s)
    reasons = []
    if record.lasted_s < settings.min_duration_s:
        reasons.append(
            f"ran for {record.lasted_s:.3g} s; at least {settings.min_duration_s:.3g} s are needed"
        )
    asked = record.samples if settings.scenario == "Offline" else record.queries
    if asked < settings.fewest_queries:
        reasons.append(f"processed {asked} queries; at least {settings.fewest_queries} are needed")
    if record.gave_up:
        reasons.append(f"ended early: more than {settings.max_waiting} queries were waiting")
    scheduled = None
    if settings.scenario == "Offline":
        value = record.samples / record.done_s
    elif settings.scenario == "Server":
        # The last arrival is the open end of the interval, so that it counts for no rate.
        value = (record.queries - 1) / record.done_s
        scheduled = (record.queries - 1) / record.lasted_s
        reasons += _server_reasons(settings, ordered)
    else:
        estimated = estimate(ordered, settings.percentile)
        value = 1e3 * (
            _percentile(ordered, settings.percentile) if estimated is None else estimated
        )
        if estimated is None:
            reasons.append(
                f"processed {record.queries} queries; early stopping needs at least "
                f"{fewest_queries(1, settings.percentile)}"
            )
    return Result(
        scenario=settings.scenario,
        harness="built-in",
        valid=not reasons,
        reasons=tuple(reasons),
        metric=METRICS[settings.scenario],
        value=value,
        latency_ms={name: 1e3 * _percentile(ordered, at) for name, at in PERCENTILES.items()},
        queries=record.queries,
        samples=record.samples,
        duration_s=record.done_s,
        target_qps=settings.target_qps if settings.scenario == "Server" else None,
        scheduled_qps=scheduled,
    )


def _server_reasons(settings: Settings, ordered: NDArray[np.float64]) -> list[str]:
    bound = settings.latency_bound_ms / 1e3
    reasons = []
    tail = _percentile(ordered, settings.percentile)
    if tail > bound:
        reasons.append(
            f"p99 was {tail * 1e3:.3g} ms; the bound is {settings.latency_bound_ms:.3g} ms"
        )
    late = int(np.count_nonzero(ordered > bound))
    if late > allowed_late(len(ordered), settings.percentile):
        reasons.append(
            f"{late} of {len(ordered)} queries were late; early stopping needs at least "
            f"{fewest_queries(late, settings.percentile)} queries for that many"
        )
    return reasons


def _percentile(ordered: NDArray[np.float64], at: float) -> float:
    """As LoadGen takes it: no interpolation, and the maximum where samples are few."""
    return float(ordered[int(len(ordered) * at)])
