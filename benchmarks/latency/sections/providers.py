"""Every execution provider of the installed ONNX Runtime, and every file of the model given.

The files are one model in several precisions; each is measured on each provider that it comes up
on. A provider that does not come up is reported with its reason.
"""

from __future__ import annotations

from functools import partial
from typing import get_args

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.ways import agreeing_frame
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.engine import Provider
from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard

__all__ = ["PROVIDERS", "measure"]

PROVIDERS: tuple[Provider, ...] = tuple(name for name in get_args(Provider) if name != "auto")


def measure(bench: Bench) -> None:
    """Adds the rows of section `providers`: case is the file, way the provider."""
    frames = bench.pictures.frames(*bench.sizes[0], count=12)
    guards: dict[str, Guard] = {}
    for path in (bench.guard, *bench.others):
        for provider in PROVIDERS:
            name = f"{path.name}, {provider}"
            bench.say(f"providers: loading {name}")
            try:
                guard = Guard(path, provider, threads=bench.threads)
                guard.classify(frames[0])
                guards[name] = guard
            except BlurvoteError as error:
                bench.skip("providers", name, error)
    frame = agreeing_frame(list(guards.values()), frames)
    ways = {name: partial(guard.classify, frame) for name, guard in guards.items()}
    measured = bench.measure("providers", ways)
    detail = {name: {"plan": guard.plan} for name, guard in guards.items()}
    baseline = f"{bench.guard.name}, cpu" if f"{bench.guard.name}, cpu" in ways else None
    bench.results.rows += rows_of("providers", "auto plan", measured, baseline, detail=detail)
    for guard in guards.values():
        guard.close()
