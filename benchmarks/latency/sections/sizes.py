"""Frame sizes from the backbone's own to 4K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.ways import agreeing_frame
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.undefended import Undefended
from blurvote.runtime.views import ViewBuilder

__all__ = ["SIZES", "measure"]

SIZES = (
    (224, 224),
    (240, 320),
    (375, 500),
    (480, 640),
    (720, 1280),
    (1080, 1920),
    (2160, 3840),
)


def measure(bench: Bench) -> None:
    """Adds the rows of section `sizes`: case is the way, way is the size."""
    if bench.metadata.frame_size:
        bench.skip("sizes", "other frame sizes", "this frames guard takes one size only")
        return
    guards = {plan: bench.load(plan) for plan in bench.plans}
    builder = ViewBuilder(bench.metadata.defense)
    cases: dict[str, Callable[[Any], Any]] = {
        **{plan: guard.classify for plan, guard in guards.items()},
    }
    if bench.metadata.kind == "views":
        cases["views only, 1 thread"] = builder.build
    if bench.has_clean_view:
        undefended = Undefended(bench.guard, bench.engine)
        cases["undefended"] = undefended.classify
    for size in SIZES:
        frame = agreeing_frame([guards["batched"]], bench.pictures.frames(*size, count=12))
        ways = {case: partial(classify, frame) for case, classify in cases.items()}
        measured = bench.measure(f"sizes, {size_name(size)}", ways)
        # One case per way, so that a row's key says what grows with the size.
        for row in rows_of("sizes", size_name(size), measured):
            bench.results.rows.append(replace(row, case=row.way, way=row.case))
    for guard in guards.values():
        guard.close()
