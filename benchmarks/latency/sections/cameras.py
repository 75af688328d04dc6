"""Several cameras: frames of N cameras in one call, or one thread per camera on a shared guard.

Latency is the time until the last of the N verdicts is there; throughput is N over it. Beside them
the session alone on batches of 1 to 8 views, which shows what a batch itself buys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.guard import Guard

__all__ = ["measure"]

CAMERAS = (1, 2, 3, 4, 6, 8)


def measure(bench: Bench) -> None:
    """Adds the rows of section `cameras`."""
    size = bench.sizes[0]
    frames = bench.pictures.frames(*size, count=max(CAMERAS))
    for plan in bench.plans:
        with bench.load(plan) as guard:
            _rows(bench, plan, {n: partial(guard.classify_batch, frames[:n]) for n in CAMERAS})
    plan = bench.plans[-1]
    with bench.load(plan) as guard, ThreadPoolExecutor(max(CAMERAS)) as pool:
        at_once = {n: partial(_together, pool, guard, frames[:n]) for n in CAMERAS}
        _rows(bench, f"one thread per camera, {plan}", at_once)
    if bench.metadata.kind == "views":
        engine = open_engine(bench.guard, bench.engine)
        random = np.random.default_rng(0)
        shape = (max(CAMERAS), 3, *bench.metadata.defense.crop)
        views = random.standard_normal(shape, np.float32)
        alone = {n: partial(engine.run, views[:n]) for n in CAMERAS}
        _rows(bench, "session alone, views instead of cameras", alone)
        engine.close()
    bench.results.facts["cameras"] = {"frame_size": size_name(size)}


def _together(pool: ThreadPoolExecutor, guard: Guard, frames: list[Any]) -> None:
    """One frame per thread, all at the same time."""
    for verdict in [pool.submit(guard.classify, frame) for frame in frames]:
        verdict.result()


def _rows(bench: Bench, case: str, calls: Mapping[int, Callable[[], Any]]) -> None:
    measured = bench.measure(f"cameras, {case}", {str(n): call for n, call in calls.items()})
    frames = {str(n): n for n in calls}
    bench.results.rows += rows_of("cameras", case, measured, "1", frames)
