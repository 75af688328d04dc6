"""Where a `frames` guard samples a frame's noise: constants, or computed from the frame's shape.

The same rows and columns as `ViewBuilder.noise_grid`. Rules, of which the kernel's code has the
same:

1. Rows: the frame rows under view row 4, 12, 20, ..., kept off the first and the last row.
2. Columns: whole segments of 32 responses from the first to the last column that the clean view
   reads, each of them with one pixel more at both ends.
3. A frame without three rows or one whole segment has no level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blurvote.export.axis_graph import AxisMatrices, Steps
from blurvote.export.denoiser.reference import noise_gain
from blurvote.export.graph_builder import GraphBuilder
from blurvote.runtime.defense import Defense
from blurvote.runtime.noise import SEGMENT
from blurvote.runtime.views import ViewBuilder

__all__ = ["Sampling", "computed_sampling", "constant_sampling"]

FIRST_ROW, EVERY = 4, 8  # of the view


@dataclass(frozen=True)
class Sampling:
    """Names of tensors.

    Attributes:
        rows: `(R,)` int64, the masks' middle rows.
        columns: `(32 S + 2,)` int64, the pixels that the masks touch.
        sampled: `(1,)` bool, whether frames of that size have a level (rule 3). Where they have
            none, there are rows and columns all the same, of pixels that the frame has.
        gain: `(1,)` float32, the level on the backbone's grid by that in the frame.
        segments: of a frame, where their number is known before frames come.
    """

    rows: str
    columns: str
    sampled: str
    gain: str
    segments: int | None = None


def constant_sampling(
    graph: GraphBuilder, defense: Defense, frame_size: tuple[int, int]
) -> Sampling:
    """Of frames of `(H, W)` pixels.

    Raises:
        DefenseError: such frames cannot be served.
    """
    rows, begin, segments = ViewBuilder(defense).noise_grid(*frame_size)
    sampled = bool(segments and len(rows))
    columns = np.arange(begin, begin + SEGMENT * segments + 2)
    if not sampled:
        rows, columns = np.zeros(1, np.int64), np.zeros(SEGMENT + 2, np.int64)
    return Sampling(
        graph.constant("rows", np.asarray(rows, np.int64)),
        graph.constant("columns", columns.astype(np.int64)),
        graph.constant("sampled", np.array([sampled])),
        graph.constant("gain", np.array([noise_gain(defense, *frame_size)], np.float32)),
        len(rows) * ((len(columns) - 2) // SEGMENT),
    )


def computed_sampling(
    graph: GraphBuilder, defense: Defense, vertical: AxisMatrices, horizontal: AxisMatrices
) -> Sampling:
    """Of frames whose size is known when they come."""
    down, across = Steps(graph, "rows"), Steps(graph, "columns")
    n, m = vertical.size, vertical.resized
    view_rows = np.arange(FIRST_ROW, vertical.crop, EVERY)
    resized = down("Add", vertical.offset, view_rows, "resized")
    odd = down("Add", down("Mul", resized, 2, "doubled"), 1, "centres_doubled")
    under = down("Div", down("Mul", odd, n, "scaled"), down("Mul", m, 2, "twice_resized"), "under")
    last = down("Max", down("Sub", n, 2, "last_middle"), 0, "last_middle_or_0")
    rows = down("Min", down("Max", under, 1, "below_first"), last, "above_last")
    tall = down("GreaterOrEqual", n, 3, "three")

    begin, end = _band(across, defense, horizontal)
    responses = across("Sub", across("Sub", end, begin, "read"), 2, "responses")
    segments = across("Div", across("Max", responses, 0, "responses_or_0"), SEGMENT, "segments")
    wide = across("GreaterOrEqual", segments, 1, "one_segment")
    length = across("Mul", across("Max", segments, 1, "segments_or_1"), SEGMENT, "length")
    stop = across("Add", across("Add", begin, length, "after_responses"), 2, "stop")
    limits = across("Squeeze", begin, "begin_scalar"), across("Squeeze", stop, "stop_scalar")
    wanted = across("Range", *limits, np.array(1), "wanted")
    edge = across("Sub", horizontal.size, 1, "edge")
    columns = across("Min", wanted, edge, "read_columns")

    means = []
    for steps, axis in ((down, vertical), (across, horizontal)):
        squares = steps("Mul", axis.clean, axis.clean, "squared_weights")
        energy = steps("ReduceSum", squares, 1, "energy", keepdims=0)
        means.append(steps("ReduceMean", energy, 0, "energy_mean", keepdims=1))
    product = graph.op("Mul", means, "energy")
    return Sampling(
        rows, columns, graph.op("And", [tall, wide], "sampled"), graph.op("Sqrt", [product], "gain")
    )


def _band(steps: Steps, defense: Defense, axis: AxisMatrices) -> tuple[str, str]:
    """The first pixel that the first output pixel reads, and one past the last of the last.

    Output pixel `i` lies at `c = n (2 i + 1) / 2 m` from the edge of the frame. Antialiased it
    reads the pixels from `floor(c - s + 1/2)` to below `floor(c + s + 1/2)`, `s` being the filter's
    support; plain, the 2 or 4 around `floor(c - 1/2)`.
    """
    n, m = axis.size, axis.resized
    two_m = steps("Mul", m, 2, "twice_resized")
    radius = 1 if defense.interpolation == "bilinear" else 2
    support = steps("Mul", steps("Max", n, m, "longer_grid"), 2 * radius, "support")
    ends = []
    for name, output in (("first", 0), ("last", axis.crop - 1)):
        pixel = steps("Add", axis.offset, output, name)
        odd = steps("Add", steps("Mul", pixel, 2, f"{name}_doubled"), 1, f"{name}_centre_doubled")
        value = steps("Mul", odd, n, f"{name}_scaled")
        if defense.antialias:
            sign = "Sub" if name == "first" else "Add"
            value = steps(sign, value, support, f"{name}_reach")
            value = steps("Add", value, m, f"{name}_rounded")
        else:
            value = steps("Sub", value, m, f"{name}_rounded")
        value = steps("Max", value, 0, f"{name}_in_frame")
        value = steps("Div", value, two_m, f"{name}_pixel")
        if not defense.antialias:
            shift = 1 - radius if name == "first" else radius + 1
            value = steps("Add", value, shift, f"{name}_tap")
            value = steps("Max", value, 0, f"{name}_tap_in_frame")
        ends.append(value)
    return ends[0], steps("Min", ends[1], n, "end")
