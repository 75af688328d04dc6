"""What the noise estimate adds to building views, which it is made with.

The same views by `ViewBuilder.build` and by `build_noise`, interleaved, with one thread, which has
nobody to share the estimate's work with. The ratio is within a round, with its spread; `again` is
`build` once more, whose ratio shows what the clock and the machine alone do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.formatting import aligned, number
from blurvote.benchmarks.latency.sections.formats import encode
from blurvote.benchmarks.results import Results, rows_of
from blurvote.runtime.frame import Frame
from blurvote.runtime.views import ViewBuilder

__all__ = ["measure", "table"]

VIEWS, NOISE, AGAIN = "views", "views and noise", "views, again"


def measure(bench: Bench) -> None:
    """Adds the rows of section `noise`."""
    defense = bench.metadata.defense
    if defense.passes[0] != 0:
        bench.skip("noise", "the estimate", "the guard has no clean view")
        return
    builder = ViewBuilder(defense)
    out = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
    for size in bench.sizes:
        rgb = bench.pictures.frames(*size, count=1)[0]
        for frame in (Frame(rgb), encode(rgb, "nv12")):
            ways: dict[str, Callable[[], Any]] = {
                VIEWS: partial(builder.build, frame, out),
                NOISE: partial(builder.build_noise, frame, out),
                AGAIN: partial(builder.build, frame, out),
            }
            case = f"{size_name(size)}, {frame.colour}"
            measured = bench.measure(f"noise, {case}", ways)
            bench.results.rows += rows_of("noise", case, measured, VIEWS)


def table(results: Results) -> Iterable[str]:
    """Medians, and each way's time over that of the views, with its quartiles."""
    cells = []
    for row in results.section("noise"):
        cell = [row.case, row.way, number(row.timing.median)]
        ratio = row.ratio
        spread = f"{ratio.median:.3f} ({ratio.p25:.3f} to {ratio.p75:.3f})" if ratio else ""
        cells.append([*cell, spread if row.way != VIEWS else ""])
    if cells:
        yield aligned(["frame", "", "median ms", "over views"], cells)
