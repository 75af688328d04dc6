"""Where the limit is: arithmetic achieved beside the measured peak, and the share of the rest."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.flops import count_flops
from blurvote.benchmarks.latency.gemm import products
from blurvote.runtime.engines.protocol import ON_CPU, Engine
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import BlurvoteError

__all__ = ["measure"]

SIDE = 1536  # square matrices beyond the caches' reach, and well under a second


def measure(bench: Bench) -> None:
    """Adds the facts `compute`."""
    facts: dict[str, Any] = {"not_backbone": _not_backbone(bench)}
    bench.results.facts["compute"] = facts
    if bench.metadata.kind != "views":
        bench.skip("compute", "arithmetic", "a frames guard has its views in the same graph")
        return
    if bench.provider not in ON_CPU or bench.engine.compute != "fp32":
        bench.skip("compute", "peak", "the peak is the CPU's in fp32; this guard runs otherwise")
        return
    engine = open_engine(bench.guard, bench.engine)
    try:
        _arithmetic(bench, engine, facts)
    finally:
        engine.close()


def _arithmetic(bench: Bench, engine: Engine, facts: dict[str, Any]) -> None:
    """What the session achieves beside the measured peaks."""
    defense = bench.metadata.defense
    random = np.random.default_rng(0)
    views = random.standard_normal((len(defense.views), 3, *defense.crop), np.float32)
    try:
        facts["gflop_per_view"] = count_flops(bench.guard, (1, *views.shape[1:])) / 1e9
        calls = products(engine.threads, SIDE)
    except BlurvoteError as error:
        bench.skip("compute", "arithmetic", error)
        return
    ways = {name: call for name, (_, call) in calls.items()}
    inference = {
        "one view": partial(engine.run, views[:1]),
        f"{len(views)} views": partial(engine.run, views),
    }
    timings = bench.measure("compute", {**ways, **inference}).timings
    rates = {name: 2 * SIDE**3 / timings[name].median / 1e6 for name in ways}
    facts["gemm_gflops"] = rates
    for kind in ("fp32", "int8"):
        facts[f"peak_{kind}_gflops"] = max(rates[n] for n, (of, _) in calls.items() if of == kind)
    flop = facts["gflop_per_view"]
    achieved = {
        "one view": flop / timings["one view"].median * 1e3,
        f"{len(views)} views": flop * len(views) / timings[f"{len(views)} views"].median * 1e3,
    }
    facts["achieved_gflops"] = achieved
    peak = facts["peak_fp32_gflops"]
    facts["share_of_fp32_peak"] = {name: rate / peak for name, rate in achieved.items()}
    facts["threads"] = engine.threads


def _not_backbone(bench: Bench) -> dict[str, Any]:
    """Per frame size and way, the share of a verdict that is not the session's run."""
    found: dict[str, Any] = {}
    for row in bench.results.section("verdict"):
        stages = row.detail.get("stage_ms")
        if stages:
            other = sum(ms for stage, ms in stages.items() if stage != "inference")
            share = other / (other + stages["inference"])
            found.setdefault(row.case, {})[row.way] = {"ms": other, "share": share}
    return found
