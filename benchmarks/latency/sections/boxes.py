"""Boxes of a detector: views of thousands of sizes, each seen for the first time.

For each box in turn: planning its size, its views read in place, and the same from a copy of its
pixels, as one would pass without boxes. The order of the last two alternates, since the first of
them finds the pixels out of the cache.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench
from blurvote.runtime.errors import DefenseError
from blurvote.runtime.views import ViewBuilder

__all__ = ["measure"]

BOXES = 4000
SIDES = 32, 900  # pixels
FRAME = 1080, 1920
KEPT = (50, 90, 99)


def measure(bench: Bench) -> None:
    """Adds the facts `boxes`: percentiles of milliseconds per box, one thread."""
    defense = bench.metadata.defense
    builder = ViewBuilder(defense, threads=1)
    frame = bench.pictures.frames(*FRAME, count=1)[0]
    out = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
    planning: list[float] = []
    in_place: list[float] = []
    copied: list[float] = []
    for n, (top, left, height, width) in enumerate(_boxes()):
        began = time.perf_counter()
        try:
            builder.plan(height, width)
        except DefenseError:  # flatter than the crop can take; such boxes are refused
            continue
        planning.append((time.perf_counter() - began) * 1e3)
        box = frame[top : top + height, left : left + width]
        ways: list[tuple[list[float], Callable[[], Any]]] = [
            (in_place, partial(builder.build, box, out)),
            (copied, partial(_build_a_copy, builder, box, out)),
        ]
        for times, way in ways[:: 1 if n % 2 else -1]:
            began = time.perf_counter()
            way()
            times.append((time.perf_counter() - began) * 1e3)
    bench.results.facts["boxes"] = {
        "sizes": len(planning),
        "planning_ms": _percentiles(planning),
        "views_in_place_ms": _percentiles(in_place),
        "views_of_a_copy_ms": _percentiles(copied),
    }


def _build_a_copy(
    builder: ViewBuilder, box: NDArray[np.uint8], out: NDArray[np.float32]
) -> NDArray[np.float32]:
    return builder.build(np.ascontiguousarray(box), out)


def _boxes() -> list[tuple[int, int, int, int]]:
    """Top, left, height and width of boxes within the frame; no size comes twice."""
    random = np.random.default_rng(0)
    sizes: dict[tuple[int, int], None] = {}
    while len(sizes) < BOXES:
        height, width = (int(side) for side in random.integers(*SIDES, size=2, endpoint=True))
        sizes[height, width] = None
    return [
        (int(random.integers(FRAME[0] - h + 1)), int(random.integers(FRAME[1] - w + 1)), h, w)
        for h, w in sizes
    ]


def _percentiles(times: list[float]) -> dict[str, float]:
    return {f"p{k}": float(v) for k, v in zip(KEPT, np.percentile(times, KEPT), strict=True)}
