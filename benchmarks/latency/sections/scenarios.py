"""MLPerf's scenarios on the guard: LoadGen where it is installed, its built-in twin elsewhere.

Preloaded frames of the headline's first size, the guard as a user loads it (plan `auto`). Frames of
one query go through `classify_batch`; in Server one worker takes one query at a time on a CPU,
where a batch buys nothing, and up to eight elsewhere.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.scenarios import (
    SCENARIOS,
    Harness,
    Result,
    Scenario,
    Settings,
    SystemUnderTest,
    find_server_qps,
    run_scenario,
)
from blurvote.runtime.engines.protocol import ON_CPU

__all__ = ["measure"]

FRAMES = 64
PER_QUERY = 8
BOUND = 5.0  # Server's latency bound where none is given: times SingleStream's p90


def measure(
    bench: Bench,
    wanted: tuple[Scenario, ...],
    harness: Harness | None,
    seconds: float,
    official: bool = False,
    latency_bound_ms: float | None = None,
) -> None:
    """Adds the facts `scenarios`, one object per scenario, each saved once it has run.

    Args:
        wanted: which, in the order of `SCENARIOS`.
        harness: None takes LoadGen where it is installed.
        seconds: shortest duration of each.
        official: MLPerf's own durations and counts instead.
        latency_bound_ms: Server's bound on p99; None takes five times SingleStream's p90.
    """
    if harness is None:
        harness = "loadgen" if importlib.util.find_spec("mlperf_loadgen") else "built-in"
    frames = bench.pictures.frames(*bench.sizes[0], count=FRAMES)
    found: list[dict[str, Any]] = bench.results.facts.setdefault("scenarios", [])
    done: dict[Scenario, Result] = {}
    with bench.load() as guard, tempfile.TemporaryDirectory() as scratch:
        folder = (bench.folder or Path(scratch)) / "loadgen"
        one = SystemUnderTest.of_guard(guard, frames, 1 if guard.provider in ON_CPU else PER_QUERY)
        many = SystemUnderTest.of_guard(guard, frames, PER_QUERY)
        common = {"frame_size": size_name(bench.sizes[0]), "plan": guard.plan}
        for scenario in (name for name in SCENARIOS if name in wanted):
            sut = many if scenario in ("MultiStream", "Offline") else one
            run = partial(
                _run, sut, harness=harness, folder=folder / scenario.lower(), say=bench.say
            )
            if scenario != "Server":
                settings = Settings(
                    scenario, seconds, samples_per_query=PER_QUERY, official=official
                )
                result, extra = run(settings), {}
            else:
                bound = latency_bound_ms or BOUND * _p90_ms(done, one)
                settings = Settings("Server", seconds, latency_bound_ms=bound, official=official)
                search = find_server_qps(run, settings, _capacity(done, one), progress=bench.say)
                result = search.result
                extra = {
                    "latency_bound_ms": bound,
                    "tries": [attempt.to_dict() for attempt in search.tries],
                }
            done[scenario] = result
            found.append({**result.to_dict(), **common, **extra})
            if bench.folder:
                bench.results.save(bench.folder)


def _run(
    sut: SystemUnderTest,
    settings: Settings,
    harness: Harness,
    folder: Path,
    say: Callable[[str], None],
) -> Result:
    return run_scenario(sut, settings, harness, folder, say)


def _p90_ms(done: dict[Scenario, Result], sut: SystemUnderTest) -> float:
    if "SingleStream" in done:
        return done["SingleStream"].latency_ms["p90"]
    return sut.warm_up(1, 3.0).quick_s * 1e3


def _capacity(done: dict[Scenario, Result], sut: SystemUnderTest) -> float:
    """Verdicts per second without queueing."""
    if "Offline" in done:
        return done["Offline"].value
    return 1 / sut.warm_up(1, 3.0).quick_s
