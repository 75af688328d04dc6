"""Every provider, in each of its arithmetics, and every file of the model given.

The files are one model in several precisions; each is measured on each provider that it comes up
on. A provider that does not come up is reported with its reason. A faster arithmetic than fp32
gives other numbers, so that its rows say which it is.
"""

from __future__ import annotations

from functools import partial
from typing import Any, get_args

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.ways import agreeing_frame
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.engines.protocol import Compute, Provider
from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard

__all__ = ["PROVIDERS", "measure"]

PROVIDERS: tuple[Provider, ...] = tuple(name for name in get_args(Provider) if name != "auto")
COMPUTES: dict[Provider, tuple[Compute, ...]] = {"cuda": ("tf32",), "openvino": ("bf16",)}
"""Beside fp32; TensorRT's would take minutes more to build."""


def measure(bench: Bench) -> None:
    """Adds the rows of section `providers`: case is the file, way the provider."""
    frames = bench.pictures.frames(*bench.sizes[0], count=12)
    guards: dict[str, Guard] = {}
    for path in (bench.guard, *bench.others):
        for provider in PROVIDERS:
            for compute in ("fp32", *COMPUTES.get(provider, ())):
                name = f"{path.name}, {provider}"
                name += f" {compute}" if compute != "fp32" else ""
                bench.say(f"providers: loading {name}")
                try:
                    guard = Guard(path, provider, threads=bench.threads, compute=compute)
                    guard.classify(frames[0])
                    guards[name] = guard
                except BlurvoteError as error:
                    bench.skip("providers", name, error)
                    break  # what does not come up in fp32 will not in another
    frame = agreeing_frame(list(guards.values()), frames)
    ways = {name: partial(guard.classify, frame) for name, guard in guards.items()}
    measured = bench.measure("providers", ways)
    detail: dict[str, dict[str, Any]] = {
        name: {
            "plan": guard.plan,
            "compute": guard.compute,
            "auto_plan": guard.auto_plan.facts if guard.auto_plan else None,
        }
        for name, guard in guards.items()
    }
    baseline = f"{bench.guard.name}, cpu" if f"{bench.guard.name}, cpu" in ways else None
    bench.results.rows += rows_of("providers", "auto plan", measured, baseline, detail=detail)
    for guard in guards.values():
        guard.close()
