"""The slowest calls: a thousand verdicts and more, so that p99.9 has calls beyond it.

The headline interleaves a dozen alternatives and cannot afford a thousand calls of each. Here only
the undefended model and the guard as users load it take turns, over several frames, and every call
counts: also the first one after a pause, when threads are parked and caches cold. That is how a
camera meets it, so the guard is timed once more at 30 frames per second, with a pause before every
single call.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.ways import percentiles
from blurvote.benchmarks.results import rows_of
from blurvote.benchmarks.timing import AGREEING, Method
from blurvote.runtime.undefended import Undefended

__all__ = ["measure"]

CALLS, TURN = 1020, 10
FRAMES = 8
PACED_CALLS, PACE_S = 300, 1 / 30


def measure(bench: Bench) -> None:
    """Adds the rows of section `tail`."""
    size = bench.sizes[0]
    frames = bench.pictures.frames(*size, count=FRAMES)

    def over_frames(classify: Callable[[Any], Any]) -> Callable[[], Any]:
        turn = itertools.cycle(frames)
        return lambda: classify(next(turn))

    with bench.load() as guard:
        ways = {"auto": over_frames(guard.classify)}
        if bench.has_clean_view:
            undefended = Undefended(bench.guard, bench.engine)
            ways = {"undefended": over_frames(undefended.classify), **ways}
        baseline = next(iter(ways))
        _rows(bench, "back to back", ways, CALLS, TURN, 0.02, baseline)
        _rows(bench, "30 frames per second", ways, PACED_CALLS, 1, PACE_S, baseline)


def _rows(
    bench: Bench,
    case: str,
    ways: dict[str, Callable[[], Any]],
    calls: int,
    turn: int,
    pause_s: float,
    baseline: str,
) -> None:
    method = Method(
        rounds=max(2, round(bench.effort * calls / turn / AGREEING)),
        window_s=math.inf,
        min_calls=turn,
        max_calls=turn,
        pause_s=pause_s,
        skip_first=False,
        max_windows=AGREEING,
    )
    measured = bench.measure(f"tail, {case}", ways, method)
    detail = {
        way: {"distribution": percentiles(samples)} for way, samples in measured.samples.items()
    }
    case = f"{case}, {size_name(bench.sizes[0])}"
    bench.results.rows += rows_of("tail", case, measured, baseline, detail=detail)
