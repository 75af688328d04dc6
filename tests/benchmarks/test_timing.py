"""The method of measuring, on a clock that only moves when a test says so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from blurvote.benchmarks import timing
from blurvote.benchmarks.timing import Measured, Method, Timing, measure, stopwatch, summarise

Function = Callable[[], None]


class Clock:
    """Nanoseconds that pass by `work` and `sleep` alone, and a log of what happened."""

    def __init__(self) -> None:
        self.now = 0
        self.log: list[str] = []

    def work(self, name: str, durations_ms: Iterator[float] | float) -> Function:
        """A function that takes that long, by one duration per call or always the same."""

        def call() -> None:
            self.log.append(name)
            ms = durations_ms if isinstance(durations_ms, (int, float)) else next(durations_ms)
            self.now += round(ms * 1e6)

        return call

    def sleep(self, seconds: float) -> None:
        self.log.append("pause")
        self.now += round(seconds * 1e9)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    fake = Clock()
    monkeypatch.setattr(timing, "_clock", lambda: fake.now)
    monkeypatch.setattr(timing, "_sleep", fake.sleep)
    return fake


def always(ms: float) -> Iterator[float]:
    while True:
        yield ms


def warm_then(ms: float, windows: list[float], per_window: int) -> Iterator[float]:
    """Enough equal calls to warm up in two groups of two, then a duration per window."""
    yield from (ms,) * 4
    for window in windows:
        yield from (window,) * per_window
    raise AssertionError("called more often than expected")


# One round, turns of two counted calls and an uncounted one, warm-up groups of two.
SHORT = Method(rounds=1, turn_s=0.002, min_calls=2, max_calls=2, pause_s=0.5, max_windows=5)


def test_alternatives_take_turns_each_after_a_pause(clock: Clock) -> None:
    method = Method(rounds=2, turn_s=0.003, pause_s=0.5)
    measured = measure({"a": clock.work("a", 1.0), "b": clock.work("b", 1.0)}, method)
    turns = ["pause", *["a"] * 4, "pause", *["b"] * 4]  # one uncounted, three counted
    assert clock.log[-len(turns) * 6 :] == turns * 6  # two rounds, three windows
    warm_up = clock.log[: -len(turns) * 6]
    assert warm_up == ["pause", *["a"] * 6, "pause", *["b"] * 6]
    assert measured.timings["a"].calls == measured.timings["b"].calls == 3 * 6


def test_the_first_call_of_a_turn_is_not_counted(clock: Clock) -> None:
    """It costs ten times as much here, which no statistic may show."""

    def durations() -> Iterator[float]:
        yield from (1.0,) * 4
        while True:
            yield from (10.0, 1.0, 1.0)

    found = measure({"a": clock.work("a", durations())}, SHORT).timings["a"]
    assert (found.minimum, found.mean, found.p90) == (1, 1, 1)


def test_warm_up_lasts_until_two_groups_agree(clock: Clock) -> None:
    def durations() -> Iterator[float]:
        for ms in (64.0, 32.0, 16.0, 8.0, 4.0):
            yield from (ms, ms)
        yield from always(2.0)

    measured = measure({"a": clock.work("a", durations())}, SHORT)
    assert measured.samples["a"] == [2.0] * 6
    # Five groups of two that shrink, two that agree, then three turns of three.
    assert clock.log.count("a") == 2 * 7 + 3 * 3


def test_warm_up_ends_by_its_time_limit(clock: Clock) -> None:
    def durations() -> Iterator[float]:
        ms = 1000.0
        while True:  # never two groups alike
            yield from (ms, ms)
            ms *= 0.9

    method = Method(rounds=1, turn_s=0.001, min_calls=1, warm_s=3.0, max_windows=3)
    measure({"a": clock.work("a", durations())}, method)
    assert clock.log.count("a") < 12 + 3 * 2


@pytest.mark.parametrize(("ms", "calls"), [(0.01, 40), (1.0, 30), (10.0, 3), (500.0, 2)])
def test_calls_are_fitted_into_a_turn(clock: Clock, ms: float, calls: int) -> None:
    method = Method(rounds=1, turn_s=0.03, min_calls=2, max_calls=40)
    measured = measure({"a": clock.work("a", ms)}, method)
    assert measured.timings["a"].calls == 3 * calls


# Medians of the windows; how many are measured, and whether the last three agree to 5 %.
WINDOWS = {
    "at once": ([1.0, 1.0, 1.0], 3, True),
    "just within": ([1.0, 1.04, 1.05], 3, True),
    "after a drift": ([2.0, 1.5, 1.0, 1.0, 1.0], 5, True),
    "an old outlier is discarded": ([9.0, 1.0, 1.0, 1.0], 4, True),
    "never": ([1.0, 2.0, 1.0, 2.0, 1.0], 5, False),
    "just beyond": ([1.0, 1.0, 1.06, 1.0, 1.06], 5, False),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_until_the_last_three_agree(clock: Clock, name: str) -> None:
    medians, count, stable = WINDOWS[name]
    found = measure({"a": clock.work("a", warm_then(medians[0], medians, 3))}, SHORT)
    result = found.timings["a"]
    assert result.windows == pytest.approx(tuple(medians[:count]))
    assert result.stable is stable
    counted = [ms for ms in medians[count - 3 : count] for _ in range(2)]
    assert found.samples["a"] == pytest.approx(counted)
    assert result.median == pytest.approx(np.median(counted))


def test_all_must_be_stable_before_any_may_stop(clock: Clock) -> None:
    restless = [3.0, 2.0, 1.0, 1.0, 1.0]
    ways = {"calm": clock.work("calm", 1.0), "a": clock.work("a", warm_then(3.0, restless, 3))}
    found = measure(ways, SHORT)
    assert [len(found.timings[name].windows) for name in ways] == [5, 5]
    assert all(found.timings[name].stable for name in ways)


def test_only_the_unstable_one_is_flagged(clock: Clock) -> None:
    restless = [1.0, 2.0, 1.0, 2.0, 1.0]
    ways = {"calm": clock.work("calm", 1.0), "a": clock.work("a", warm_then(1.0, restless, 3))}
    found = measure(ways, SHORT)
    assert (found.timings["calm"].stable, found.timings["a"].stable) == (True, False)


def test_the_budget_ends_it_after_three_windows(clock: Clock) -> None:
    medians = [1000.0, 2000.0, 1000.0]
    method = Method(rounds=1, turn_s=0.002, max_calls=2, budget_s=1.0, max_windows=100)
    found = measure({"a": clock.work("a", warm_then(1000.0, medians, 3))}, method)
    assert found.timings["a"].windows == (1000, 2000, 1000)
    assert not found.timings["a"].stable


def test_progress_is_told(clock: Clock) -> None:
    heard: list[str] = []
    measure({"a": clock.work("a", 1.0)}, SHORT, heard.append)
    assert heard[0] == "warming up a"
    assert [text for text in heard if text.startswith("window")][-1].startswith("window 3")


def test_ratios_compare_within_rounds(clock: Clock) -> None:
    """The machine slows down tenfold on the way: the times drift, the ratio does not."""
    speed = [1.0]

    def drifting(ms: float) -> Iterator[float]:
        while True:
            yield ms * speed[0]

    def slow_down() -> Iterator[float]:
        while True:
            speed[0] *= 1.05
            yield 0.001

    ways = {
        "base": clock.work("base", drifting(2.0)),
        "way": clock.work("way", drifting(6.0)),
        "drift": clock.work("drift", slow_down()),
    }
    method = Method(rounds=4, turn_s=0.004, max_calls=2, max_windows=3)
    found = measure(ways, method)
    ratio = found.ratio("way", "base")
    assert (ratio.p25, ratio.median, ratio.p75) == pytest.approx((3, 3, 3))
    assert max(found.samples["base"]) > 2 * min(found.samples["base"])
    assert not found.timings["base"].stable


def test_quartiles_of_the_ratio_are_over_rounds() -> None:
    turns = {"way": [2.0, 4.0, 6.0, 8.0, 10.0], "base": [2.0] * 5}
    ratio = Measured({}, {}, turns).ratio("way", "base")
    assert (ratio.p25, ratio.median, ratio.p75) == (2, 3, 4)


def test_the_stopwatch_counts_the_second_call(clock: Clock) -> None:
    assert stopwatch(clock.work("a", iter((50.0, 2.0))), 0.1) == 2
    assert clock.log == ["pause", "a", "a"]


def test_quantiles_by_hand() -> None:
    summary = summarise([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (summary.minimum, summary.p25, summary.median, summary.p75) == (1, 2, 3, 4)
    assert summary.mean == 3
    assert summary.p90 == pytest.approx(4.6)
    assert summary.calls == 5


@pytest.mark.parametrize(("field", "needed"), [("p95", 20), ("p99", 100), ("p999", 1000)])
def test_no_percentile_without_samples(field: str, needed: int) -> None:
    values = np.arange(1.0, needed + 1)
    assert getattr(summarise(values[:-1].tolist()), field) is None
    percent = {"p95": 95, "p99": 99, "p999": 99.9}[field]
    assert getattr(summarise(values.tolist()), field) == np.percentile(values, percent)


@pytest.mark.parametrize("count", [10, 36, 37, 400])
def test_the_interval_covers_the_median(count: int) -> None:
    """95 % of the intervals of a skewed distribution hold its true median, as promised."""
    random = np.random.default_rng(0)
    trials, truth, covered = 2000, math.log(2), 0
    for samples in random.exponential(1.0, (trials, count)):
        found = summarise(samples.tolist())
        assert found.median_low <= found.median <= found.median_high
        covered += found.median_low <= truth <= found.median_high
    # Not below 95 % by more than the simulation's own error, nor needlessly wide.
    assert 0.94 < covered / trials < 0.99


def test_timings_survive_json() -> None:
    found = Timing(**{**summarise([1.0, 2.0]).to_dict(), "windows": (1.0, 2.0)})
    assert Timing.from_dict({**found.to_dict(), "windows": [1.0, 2.0]}) == found
    with pytest.raises(TypeError):
        Timing.from_dict({"windows": [], "speed": 1})
