"""Building the views: the fused kernel beside its peers, beside reading the frame once, and how its
time grows with pixels, threads and views.

Every way starts from the same frame. A peer's views are checked before it is timed against what its
own mathematics should give; the table shows how far they lie from the guard's. `read once` takes
the maximum of the part of the frame that the crop needs: no way of making views can be faster than
reading it, so it is the floor of this machine's memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.sections import sizes
from blurvote.benchmarks.latency.sections.threads import counts
from blurvote.benchmarks.results import rows_of
from blurvote.benchmarks.timing import Method
from blurvote.runtime import _kernels
from blurvote.runtime.defense import Defense
from blurvote.runtime.machine import usable_cores
from blurvote.runtime.views import ViewBuilder

__all__ = ["ONE_THREAD", "READ_ONCE", "measure", "slope"]

ONE_THREAD, READ_ONCE = "blurvote, 1 thread", "read once"
LARGE, USUAL = (2160, 3840), (1080, 1920)
PASSES = ((0,), (0, 1), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4))


def measure(bench: Bench) -> None:
    """Adds the rows of section `views` and the facts `growth`."""
    defense = bench.metadata.defense
    for size in bench.sizes:
        _beside_peers(bench, defense, size)
    bench.results.facts["growth"] = {
        "pixels": _pixels(bench, defense),
        "threads": _threads(bench, defense),
        "views": _views(bench, defense),
    }
    bench.results.facts["planning"] = _planning(bench, defense)


def slope(points: list[tuple[float, float]]) -> float:
    """The exponent b of `ms = a x^b`, fitted by least squares to the logarithms of (x, ms)."""
    x, y = np.log(np.array(points, np.float64)).T
    return float(np.polyfit(x, y, 1)[0])


def _beside_peers(bench: Bench, defense: Defense, size: tuple[int, int]) -> None:
    frame = bench.pictures.frames(*size, count=1)[0]
    name = size_name(size)
    cores = usable_cores()
    builders = {ONE_THREAD: ViewBuilder(defense, threads=1)}
    if cores > 1:
        builders[f"blurvote, {cores} threads"] = ViewBuilder(defense, threads=cores)
    ways: dict[str, Callable[[], Any]] = {}
    detail: dict[str, dict[str, Any]] = {}
    out = _kept(defense)
    for way, builder in builders.items():
        ways[way] = partial(builder.build, frame, out)
        detail[way] = {
            "threads": builder.threads,
            "layout": f"uint8 in place to a kept buffer, {builder.isa}",
        }
    ways[READ_ONCE] = read_once(builders[ONE_THREAD], frame)
    detail[READ_ONCE] = {"threads": 1, "layout": "maximum of the uint8 pixels that the crop needs"}
    if bench.peers:
        ours = builders[ONE_THREAD].build(frame)
        for peer in peers.view_peers(defense, frame, partial(bench.skip, "views")):
            error = peers.view_error(peer, ours)
            if error["failed"]:
                bench.skip("views", f"{peer.name}, {name}", error["failed"])
                continue
            ways[peer.name] = peer.build
            detail[peer.name] = {"threads": peer.threads, "layout": peer.layout, "error": error}
    # One call a turn at least: a peer's median filter takes a second at 1080p.
    method = replace(bench.method, turn_s=bench.method.turn_s / 2, min_calls=1)
    measured = bench.measure(f"views, {name}", ways, method)
    bench.results.rows += rows_of("views", name, measured, ONE_THREAD, detail=detail)


def read_once(builder: ViewBuilder, frame: NDArray[np.uint8]) -> Callable[[], Any]:
    """Reads about the part of the frame that the crop covers."""
    height, width = frame.shape[:2]
    resized_h, resized_w, top, left = builder.plan(height, width)
    y, x = height / resized_h, width / resized_w
    crop_h, crop_w = builder.defense.crop
    part = frame[int(top * y) : int((top + crop_h) * y), int(left * x) : int((left + crop_w) * x)]
    return part.max


def _pixels(bench: Bench, defense: Defense) -> dict[str, Any]:
    builder = ViewBuilder(defense)
    points, floor = [], []
    for size in sizes.SIZES:
        frame = bench.pictures.frames(*size, count=1)[0]
        ways: dict[str, Callable[[], Any]] = {
            "views": partial(builder.build, frame, _kept(defense)),
            "floor": read_once(builder, frame),
        }
        measured = bench.measure(f"views, growth with pixels, {size_name(size)}", ways)
        pixels = float(size[0] * size[1])
        points.append((pixels, measured.timings["views"].median))
        floor.append((pixels, measured.timings["floor"].median))
    return {
        "points": points,
        "slope": slope(points),
        "slope_from_720p": slope(points[-3:]),
        "floor_points": floor,
        "floor_slope": slope(floor),
    }


def _threads(bench: Bench, defense: Defense) -> dict[str, Any]:
    frame = bench.pictures.frames(*LARGE, count=1)[0]
    builders = {n: ViewBuilder(defense, threads=n) for n in counts()}
    return _grown(
        bench,
        f"views of {size_name(LARGE)}, growth with threads",
        {n: partial(builder.build, frame, _kept(defense)) for n, builder in builders.items()},
    )


def _views(bench: Bench, defense: Defense) -> dict[str, Any]:
    frame = bench.pictures.frames(*USUAL, count=1)[0]
    builders = {
        len(passes): ViewBuilder(
            replace(defense, passes=passes, decision="majority", threshold=None)
        )
        for passes in PASSES
    }
    return _grown(
        bench,
        f"views of {size_name(USUAL)}, growth with the number of views",
        {
            n: partial(builder.build, frame, _kept(builder.defense))
            for n, builder in builders.items()
        },
    )


def _kept(defense: Defense) -> NDArray[np.float32]:
    """A buffer that is written again and again, as the runtime does it."""
    return np.empty((len(defense.passes), 3, *defense.crop), np.float32)


def _grown(bench: Bench, what: str, ways: Mapping[int, Callable[[], Any]]) -> dict[str, Any]:
    measured = bench.measure(what, {str(n): way for n, way in ways.items()})
    points = [(float(n), measured.timings[str(n)].median) for n in ways]
    return {"points": points, "slope": slope(points) if len(points) > 1 else None, "what": what}


def _planning(bench: Bench, defense: Defense) -> dict[str, Any]:
    """Planning frame sizes near 1080p that were not seen before."""
    builder = ViewBuilder(defense)
    new = ((1080 + dy, 1920 + dx) for dy in range(100) for dx in range(200))
    method = Method(rounds=10, max_calls=20, pause_s=0.0, max_windows=3)
    measured = bench.measure("planning", {"plan": lambda: builder.plan(*next(new))}, method)
    return {**measured.timings["plan"].to_dict(), "isa": _kernels.available_isas()[0]}
