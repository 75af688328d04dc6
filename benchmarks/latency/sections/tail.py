"""The slowest calls: a thousand verdicts and more, so that p99.9 has calls beyond it.

The headline interleaves a dozen alternatives and cannot afford a thousand calls of each. Here only
the undefended model and the guard as users load it take turns, ten calls at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.ways import percentiles
from blurvote.benchmarks.results import rows_of
from blurvote.benchmarks.timing import Method
from blurvote.runtime.undefended import Undefended

__all__ = ["measure"]

CALLS, TURN, WINDOWS = 1020, 10, 3


def measure(bench: Bench) -> None:
    """Adds the rows of section `tail`."""
    size = bench.sizes[0]
    frame = bench.pictures.frames(*size, count=1)[0]
    with bench.load() as guard:
        ways: dict[str, Callable[[], Any]] = {}
        if bench.has_clean_view:
            undefended = Undefended(bench.guard, bench.threads, guard.provider)
            ways["undefended"] = partial(undefended.classify, frame)
        ways["auto"] = partial(guard.classify, frame)
        method = Method(
            rounds=max(2, round(bench.effort * CALLS / TURN / WINDOWS)),
            window_s=math.inf,
            min_calls=TURN,
            max_calls=TURN,
            max_windows=WINDOWS,
        )
        measured = bench.measure(f"tail, {size_name(size)}", ways, method)
        plan = guard.plan
    detail: dict[str, dict[str, Any]] = {
        way: {"distribution": percentiles(samples)} for way, samples in measured.samples.items()
    }
    detail["auto"]["plan"] = plan
    baseline = next(iter(ways))
    bench.results.rows += rows_of("tail", size_name(size), measured, baseline, detail=detail)
