"""The noise estimate of a `frames` guard as a graph: uint8 frames to a noise level per frame.

The same numbers as `runtime.noise.estimate_noise`: integers up to the sum of one segment, which
float32 holds exactly, then a few roundings of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.noise_sampling import Sampling
from blurvote.runtime.defense import Defense
from blurvote.runtime.noise import GAUSSIAN_PER_RESPONSE, SEGMENT, noise_table

__all__ = ["NOISE", "PREFIX", "SWITCH", "Noise", "add_noise"]

PREFIX = "noise/"
NOISE = "noise"
SWITCH = "blurvote_noise_switch"
SAMPLES = 3 * SEGMENT  # of one segment
FLOAT, INT64 = 1, 7


@dataclass(frozen=True)
class Noise:
    """Names of what later steps need.

    Attributes:
        grid_level: float32 `(N,)`, the level on the backbone's grid, in [0, 1] RGB units; NaN
            where there is none.
        is_noisy: bool `(N,)`; False where there is no level.
    """

    grid_level: str
    is_noisy: str


def add_noise(graph: GraphBuilder, frames: str, defense: Defense, sampling: Sampling) -> Noise:
    """Adds the estimate; the level at the frame is a tensor called `noise`, float32 `(N,)`.

    Args:
        graph: of the prefix `noise/`.
        frames: name of a uint8 `(N, H, W, 3)` tensor, RGB.
    """
    sums, saturated = _segments(graph, frames, sampling)
    least = _chosen(graph, sums, saturated, sampling.segments)
    per_sum = np.array(GAUSSIAN_PER_RESPONSE / SAMPLES / 255, np.float32)
    reading = graph.op("Mul", [least, graph.constant("reading_per_sum", per_sum)], "reading")
    nan = graph.constant("no_level", np.array(np.nan, np.float32))
    level = _interpolate(graph, reading)
    level = graph.op("Where", [sampling.sampled, level, nan], "level", output=NOISE)
    grid_level = graph.op("Mul", [level, sampling.gain], "level_on_grid")
    switch = graph.parameter(SWITCH, defense.noise_switch[1])
    return Noise(grid_level, graph.op("GreaterOrEqual", [grid_level, switch], "is_noisy"))


def _segments(graph: GraphBuilder, frames: str, sampling: Sampling) -> tuple[str, str]:
    """`(N, R * S)` float32: each segment's sum of magnitudes, and how many of it are saturated."""
    columns = graph.op("Gather", [frames, sampling.columns], "frame_columns", axis=2)
    one, zero = graph.constant("one_row", np.array(1)), graph.constant("zero", np.array(0))
    lines = {}
    for name, shift in (("above", -1), ("middle", 0), ("below", 1)):
        rows = sampling.rows
        if shift:
            rows = graph.op("Add" if shift > 0 else "Sub", [rows, one], f"rows_{name}")
            # Only of frames that have no level.
            bound = graph.op("Shape", [frames], f"{name}_rows_of_frame", start=1, end=2)
            last = graph.op("Sub", [bound, one], f"{name}_last_row")
            rows = graph.op("Min", [rows, last], f"rows_{name}_in_frame")
            rows = graph.op("Max", [rows, zero], f"rows_{name}_served")
        pixels = graph.op("Gather", [columns, rows], f"pixels_{name}", axis=1)
        lines[name] = graph.op("Cast", [pixels], f"samples_{name}", to=FLOAT)  # (N, R, L, 3)
    two = graph.constant("two", np.array(2, np.float32))

    def difference(before: str, at: str, after: str, name: str) -> str:
        outer = graph.op("Add", [before, after], f"{name}_outer")
        inner = graph.op("Mul", [at, two], f"{name}_inner")
        return graph.op("Sub", [outer, inner], f"{name}_difference")

    down = difference(lines["above"], lines["middle"], lines["below"], "down")
    axis = graph.constant("column_axis", [2])

    def shifted(value: str, shift: int, name: str) -> str:
        start = graph.constant(f"start_{shift}", [shift])
        end = graph.constant(f"end_{shift}", [shift - 2] if shift < 2 else [2**62])
        return graph.op("Slice", [value, start, end, axis], name)

    before, at, after = (shifted(down, shift, f"down_{shift}") for shift in (0, 1, 2))
    response = graph.op("Abs", [difference(before, at, after, "across")], "responses")

    centres = shifted(lines["middle"], 1, "centres")
    black, white = (
        graph.constant(name, np.array(value, np.float32))
        for name, value in (("black", 0), ("white", 255))
    )
    either = graph.op(
        "Or",
        [
            graph.op("Equal", [centres, black], "is_black"),
            graph.op("Equal", [centres, white], "is_white"),
        ],
        "is_saturated",
    )
    flags = graph.op("Cast", [either], "saturated_samples", to=FLOAT)
    shape = graph.constant("segments_shape", [0, 0, -1, SAMPLES])
    flat, last = graph.constant("flat_shape", [0, -1]), graph.constant("samples_axis", [3])
    found = []
    for name, value in (("sum", response), ("saturated", flags)):
        split = graph.op("Reshape", [value, shape], f"{name}_by_segment")
        total = graph.op("ReduceSum", [split, last], f"{name}_of_segment", keepdims=0)
        found.append(graph.op("Reshape", [total, flat], f"{name}_of_segments"))
    return found[0], found[1]


def _chosen(graph: GraphBuilder, sums: str, saturated: str, segments: int | None) -> str:
    """`(N,)` float32: the sum at a quarter of the order of the segments that are kept.

    Where the number of segments is known it is a constant: not every runtime computes TopK's.
    """
    limit = graph.constant("most_saturated", np.array(3 * SAMPLES // 10, np.float32))
    fit = graph.op("LessOrEqual", [saturated, limit], "is_fit")
    axis = graph.constant("segments_axis", [1])
    ones = graph.op("Cast", [fit], "fit_segments", to=INT64)
    count = graph.op("ReduceSum", [ones, axis], "fit_count", keepdims=1)  # (N, 1)
    if segments is None:
        total = graph.op("Shape", [sums], "segment_count", start=1, end=2)
    else:
        total = graph.constant("segment_count", [segments])
    ten = graph.constant("ten", np.array(10))
    few = graph.op("Less", [graph.op("Mul", [count, ten], "ten_fit"), total], "too_few_fit")
    kept = graph.op("Or", [fit, few], "is_kept")
    infinite = graph.constant("infinite", np.array(np.inf, np.float32))
    candidates = graph.op("Where", [kept, sums, infinite], "kept_sums")
    four = graph.constant("four", np.array(4))
    size = graph.op("Where", [few, total, count], "kept_count")
    place = graph.op("Div", [size, four], "quarter")
    # The quarter of all is enough: no place lies further up.
    if segments is None:
        most = graph.op("Div", [total, four], "quarter_of_all")
        depth = graph.op("Add", [most, graph.constant("one_row", np.array(1))], "sorted_count")
    else:
        depth = graph.constant("sorted_count", [segments // 4 + 1])
    ordered = graph.op("TopK", [candidates, depth], "smallest_sums", axis=1, largest=0, sorted=1)
    graph.nodes[-1].output.append(PREFIX + "smallest_places")  # the operator has two
    chosen = graph.op("GatherElements", [ordered, place], "chosen_sum_column", axis=1)
    return graph.op("Squeeze", [chosen, axis], "chosen_sum")


def _interpolate(graph: GraphBuilder, reading: str) -> str:
    """`(N,)` float32: the table's level of each reading, as a sum of its clipped slopes."""
    readings, levels = (np.array(values, np.float64) for values in noise_table("packed"))
    axis = graph.constant("segments_axis", [1])
    column = graph.op("Unsqueeze", [reading, axis], "reading_column")
    knots = graph.constant("knots", readings[:-1].astype(np.float32))
    steps = graph.constant("steps", np.diff(readings).astype(np.float32))
    above = graph.op("Sub", [column, knots], "above_knot")
    low = graph.constant("none_of_step", np.array(0, np.float32))
    within = graph.op("Max", [graph.op("Min", [above, steps], "below_next"), low], "within_step")
    slopes = (np.diff(levels) / np.diff(readings)).astype(np.float32)
    parts = graph.op("Mul", [within, graph.constant("slopes", slopes)], "rises")
    risen = graph.op("ReduceSum", [parts, axis], "risen", keepdims=0)
    if not levels[0]:
        return risen
    return graph.op("Add", [risen, graph.constant("lowest", levels[:1].astype(np.float32))], "read")
