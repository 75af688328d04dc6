"""How blurvote measures time, and why.

* **Interleaved.** Alternatives run in turn, A B C A B C, in one process, so that a change of clock,
  load or temperature meets all of them. A ratio compares two alternatives *within a round* and is
  given with the spread of those per-round ratios: what drifts over seconds cancels.
* **Turns.** A turn is several calls in a row of which the first is not counted: it pays for what
  the previous alternative pushed out of the caches, which a pipeline that runs only one of them
  does not. A pause precedes each turn, because idle threads of OpenMP and ONNX Runtime spin on for
  a while and would take cores from the next alternative.
* **Warm until stable.** Before anything is counted, an alternative runs until two groups of calls
  in a row have the same median within the tolerance: lazy initialisation, page faults, frequency
  ramps and compilation take as long as they take, not a fixed number of calls.
* **Windows until stable.** Rounds are gathered in windows. The measurement ends when the medians of
  the last three windows agree for every alternative (the rule of NVIDIA's perf_analyzer), and those
  three are the result. When windows or time run out first, the last three are the result all the
  same and the alternative is marked unstable: a reader sees it, nobody has to guess.
* **The median answers** "what does it cost", the tail percentiles "what can it cost", the minimum
  "what would an undisturbed machine do", and the quartiles "how disturbed was this one". A mean
  would mix the four. The median comes with a 95 % interval from order statistics over the medians
  of the turns, because calls of one turn resemble each other. Turns do too where a machine drifts:
  what two runs have in common is better judged by the range of their windows (`compare` does).
* **No percentile without samples.** A percentile is given only when at least one sample in the
  mean lies beyond it: p99 needs 100 calls, p99.9 needs 1000. Elsewhere it is null.
* **What it cannot see.** Calls follow one another, so a slow call delays the next instead of
  queueing it: these are service times, not the response times of a loaded camera pipeline. For
  those see the Server scenario, whose arrivals do not wait.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Measured", "Method", "Ratio", "Timing", "measure", "stopwatch", "summarise"]

_clock = time.perf_counter_ns
_sleep = time.sleep
AGREEING = 3  # windows in a row that must agree, and that make up the result


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one alternative's counted calls.

    Attributes:
        median, minimum, mean, p25, p75, p90: as named.
        p95, p99, p999: None where there are too few calls to have one beyond it.
        median_low, median_high: 95 % confidence interval of the median, see the module.
        calls: calls counted.
        stable: whether the medians of the windows agreed.
        windows: the median of each window measured, the discarded ones included; empty where the
            calls were not repeated in windows.
    """

    median: float
    minimum: float
    mean: float
    p25: float
    p75: float
    p90: float
    p95: float | None
    p99: float | None
    p999: float | None
    median_low: float
    median_high: float
    calls: int
    stable: bool = True
    windows: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Timing:
        """The timing that `to_dict` described.

        Raises:
            TypeError, KeyError: `values` is nothing that `to_dict` returns.
        """
        return cls(**{**values, "windows": tuple(values["windows"])})


@dataclass(frozen=True)
class Ratio:
    """How many times as long as its baseline an alternative took: quartiles over the rounds."""

    median: float
    p25: float
    p75: float


@dataclass(frozen=True)
class Method:
    """How long and how often to measure.

    Attributes:
        rounds: turns of each alternative in a window, at most.
        turn_s: seconds that a turn should last; calls are fitted into it, at least `min_calls`.
        min_calls, max_calls: counted calls of a turn.
        pause_s: seconds of rest before each turn.
        skip_first: whether a turn's first call is left out of the count.
        tolerance: how far the medians of agreeing windows may lie apart, as a share.
        window_s: seconds that a window should last at most; rounds are fitted into it, at least 2.
        max_windows: windows after which it ends, stable or not.
        budget_s: seconds after which no further window begins (the first three always run).
        warm_s: seconds of warm-up of one alternative, at most.
    """

    rounds: int = 8
    window_s: float = 6.0
    turn_s: float = 0.1
    min_calls: int = 2
    max_calls: int = 100
    pause_s: float = 0.02
    skip_first: bool = True
    tolerance: float = 0.05
    max_windows: int = 8
    budget_s: float = 30.0
    warm_s: float = 3.0


@dataclass
class Measured:
    """The outcome of one interleaved measurement.

    Attributes:
        timings: name to its timing.
        samples: name to the milliseconds of every counted call.
    """

    timings: dict[str, Timing]
    samples: dict[str, list[float]]
    turns: dict[str, list[float]] = field(repr=False)  # median of each turn of the counted rounds

    def ratio(self, name: str, baseline: str) -> Ratio:
        """`name`'s time over `baseline`'s, round by round."""
        ratios = np.divide(self.turns[name], self.turns[baseline])
        p25, p50, p75 = np.percentile(ratios, (25, 50, 75))
        return Ratio(float(p50), float(p25), float(p75))


def summarise(milliseconds: Sequence[float], stable: bool = True) -> Timing:
    """The statistics of some calls, at least one."""
    values = np.sort(np.asarray(milliseconds, np.float64))
    count = len(values)
    p25, p50, p75, p90 = np.percentile(values, (25, 50, 75, 90))

    def tail(percent: float) -> float | None:
        enough = count * (100 - percent) >= 100 - 1e-6
        return float(np.percentile(values, percent)) if enough else None

    low, high = _interval(values)
    return Timing(
        median=float(p50),
        minimum=float(values[0]),
        mean=float(values.mean()),
        p25=float(p25),
        p75=float(p75),
        p90=float(p90),
        p95=tail(95),
        p99=tail(99),
        p999=tail(99.9),
        median_low=low,
        median_high=high,
        calls=count,
        stable=stable,
    )


def _interval(ordered: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % interval of the median: ranks that a binomial of 1/2 leaves 2.5 % beyond."""
    count = len(ordered)
    half = 0.98 * math.sqrt(count)
    low = max(0, math.floor((count - 1) / 2 - half))
    high = min(count - 1, math.ceil((count - 1) / 2 + half))
    return float(ordered[low]), float(ordered[high])


def measure(
    alternatives: Mapping[str, Callable[[], object]],
    method: Method | None = None,
    progress: Callable[[str], None] | None = None,
) -> Measured:
    """Times every alternative in turn until their medians are stable; see the module's docstring.

    Args:
        alternatives: name to function; what it returns is thrown away.
        method: how long and how often; None takes the defaults.
        progress: called with a few words before each warm-up and each window.
    """
    method = method or Method()
    say = progress or (lambda text: None)
    calls = {}
    round_s = 0.0
    for name, function in alternatives.items():
        say(f"warming up {name}")
        calls[name], each_s = _warm(function, method)
        round_s += method.pause_s + (calls[name] + 1) * each_s
    rounds = int(min(method.rounds, max(2, method.window_s / max(round_s, 1e-9))))
    windows: list[dict[str, list[list[float]]]] = []
    started = _clock()
    while True:
        say(f"window {len(windows) + 1} of {len(alternatives)} alternatives")
        windows.append(_window(alternatives, calls, rounds, method))
        stable = {name: _agree(windows, name, method.tolerance) for name in alternatives}
        spent = (_clock() - started) / 1e9
        over = len(windows) >= method.max_windows or spent >= method.budget_s
        if len(windows) >= AGREEING and (over or all(stable.values())):
            break
    counted = windows[-AGREEING:]
    samples = {
        name: [ms for window in counted for turn in window[name] for ms in turn]
        for name in alternatives
    }
    turns = {
        name: [float(np.median(turn)) for window in counted for turn in window[name]]
        for name in alternatives
    }
    timings = {}
    for name in alternatives:
        low, high = _interval(np.sort(turns[name]))
        timings[name] = replace(
            summarise(samples[name], stable[name]),
            median_low=low,
            median_high=high,
            windows=tuple(_median(window[name]) for window in windows),
        )
    return Measured(timings, samples, turns)


def stopwatch(function: Callable[[], object], pause_s: float = 0.0) -> float:
    """Milliseconds of one call after a pause and one uncounted call."""
    _sleep(pause_s)
    function()
    return _time(function)


def _warm(function: Callable[[], object], method: Method) -> tuple[int, float]:
    """Calls until two groups in a row agree; how many fit into a turn, and seconds of one."""
    _sleep(method.pause_s)
    deadline = _clock() + method.warm_s * 1e9
    before = math.inf
    while True:
        times: list[float] = []
        while len(times) < 2 or (sum(times) < method.turn_s * 1e3 and len(times) < 10):
            times.append(_time(function))
        now = float(np.median(times))
        if abs(now - before) <= method.tolerance * now or _clock() > deadline:
            fitting = round(method.turn_s * 1e3 / max(now, 1e-6))
            return min(method.max_calls, max(method.min_calls, fitting)), now / 1e3
        before = now


def _window(
    alternatives: Mapping[str, Callable[[], object]],
    calls: Mapping[str, int],
    rounds: int,
    method: Method,
) -> dict[str, list[list[float]]]:
    """Each alternative's turns, each a list of milliseconds."""
    turns: dict[str, list[list[float]]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, function in alternatives.items():
            _sleep(method.pause_s)
            if method.skip_first:
                function()
            turns[name].append([_time(function) for _ in range(calls[name])])
    return turns


def _time(function: Callable[[], object]) -> float:
    started = _clock()
    function()
    return (_clock() - started) / 1e6


def _median(turns: list[list[float]]) -> float:
    return float(np.median([ms for turn in turns for ms in turn]))


def _agree(windows: list[dict[str, list[list[float]]]], name: str, tolerance: float) -> bool:
    if len(windows) < AGREEING:
        return False
    medians = [_median(window[name]) for window in windows[-AGREEING:]]
    return max(medians) <= (1 + tolerance) * min(medians)
