"""The banded matrices of one frame axis, computed inside the graph from the frame's shape.

All positions are integers: with `n` frame pixels resized to `m`, resized pixel `i` lies over frame
position `((2 i + 1) n - m) / 2 m`, so that `|2 m x - ((2 i + 1) n - m)|` is the distance to frame
pixel `x` in units of `1 / 2 m`. Weights are rounded once, when they become float32, and do not
depend on any runtime's idea of `Resize`.

Rules:

1. `m` and the crop's offset are what Python computes: `int(resize * n / shorter)`, `round` to even.
2. Antialiased weights are cut at the image and normalised; plain ones read the edge pixel past it.
3. A symmetric blur keeps a reflected signal reflected, so `k` passes over a reflected border are
   one convolution with the taps convolved `k` times, over a signal reflected once, far enough.
4. A frame that cannot be served gets a matrix of NaN: its views are invalid and are rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.reference import blur_matrix
from blurvote.runtime.defense import Defense

__all__ = [
    "AxisMatrices",
    "AxisNames",
    "FrameSize",
    "Steps",
    "add_axis",
    "add_frame_size",
    "view_taps",
]

FLOAT = 1


@dataclass(frozen=True)
class FrameSize:
    """Names of int64 `(1,)` tensors: the frame's height, its width and the shorter of both."""

    height: str
    width: str
    shorter: str


@dataclass(frozen=True)
class AxisNames:
    """One axis to compute: a prefix for its steps, its size's tensor, its crop in pixels."""

    prefix: str
    size: str
    crop: int


@dataclass(frozen=True)
class AxisMatrices:
    """Names of what was computed of one axis.

    Attributes:
        pixels: `(L,)` int64, the frame pixels to read.
        matrices: `(crop, V, L)` float32, of the views.
        clean: `(crop, L)` float32, of the clean view.
        size, resized, offset: `(1,)` int64, as in `reference.Axis`.
        crop: pixels of the view.
    """

    pixels: str
    matrices: str
    clean: str
    size: str
    resized: str
    offset: str
    crop: int


def view_taps(defense: Defense, used: Sequence[int]) -> NDArray[np.float64]:
    """`(V, K)` taps of the views `used`: one pass convolved as often as it is run."""
    once = np.array(defense.gaussian_taps())
    passes = [defense.passes[view] for view in used]
    width = max(passes) * (len(once) - 1) + 1
    rows = []
    for count in passes:
        taps = np.ones(1)
        for _ in range(count):
            taps = np.convolve(taps, once)
        rows.append(np.pad(taps, (width - len(taps)) // 2))
    return np.stack(rows)


def add_frame_size(graph: GraphBuilder, frames: str, defense: Defense) -> FrameSize:
    """Adds the sizes that both axes need."""
    height = graph.op("Shape", [frames], "frame_height", start=1, end=2)
    width = graph.op("Shape", [frames], "frame_width", start=2, end=3)
    if defense.fit == "stretch":
        return FrameSize(height, width, "")
    return FrameSize(height, width, graph.op("Min", [height, width], "shorter_side"))


def add_axis(
    graph: GraphBuilder,
    defense: Defense,
    size: FrameSize,
    used: Sequence[int],
    axis: AxisNames,
) -> AxisMatrices:
    """Adds the matrices of the views `used` along one axis."""
    steps = Steps(graph, axis.prefix)
    n, crop = axis.size, axis.crop
    m, offset = _resize_and_offset(steps, defense, size, n, crop)
    taps = view_taps(defense, used)
    reach = taps.shape[1] // 2 if defense.blur_at == "frame" else 0

    two_m = steps("Mul", m, 2, "twice_resized")
    outputs = steps("Add", offset, np.arange(crop)[:, None], "resized_pixels")  # (crop, 1)
    odd = steps("Add", steps("Mul", outputs, 2, "resized_pixels_doubled"), 1, "half_pixels")
    centres = steps("Sub", steps("Mul", odd, n, "half_pixels_scaled"), m, "centres")  # times 1/2m

    x = _window(steps, defense, n, m, offset, crop, reach)  # (L,)
    if defense.antialias:
        weights = _antialiased(steps, defense, x, n, m, two_m, centres)
    else:
        weights = _plain(steps, defense, x, n, two_m, centres)
    weights = steps("Mul", weights, _one_or_nan(steps, defense, n, m, crop), "resize")  # rule 4
    if defense.blur_at == "frame":
        channel = steps("Unsqueeze", weights, [1], "resize_channel")  # (crop, 1, L)
        kernel = taps.astype(np.float32)[:, None, :]
        matrices = steps("Conv", channel, kernel, "blurred", pads=[reach, reach])  # rule 3
    else:
        matrices = steps("MatMul", _model_blur(defense, crop, used), weights, "blurred")
    return AxisMatrices(_reflected(steps, x, n), matrices, weights, n, m, offset, crop)


class Steps:
    """Short notation for the nodes of one axis: a name, an array or an integer per input."""

    def __init__(self, graph: GraphBuilder, axis: str) -> None:
        self.graph, self.axis = graph, axis

    def __call__(self, op_type: str, *inputs: object, **attributes: Any) -> str:
        """Adds a node; the last of `inputs` is the step's name, which is also its output's."""
        *values, step = inputs
        name = f"{self.axis}/{step}"
        names = [
            value if isinstance(value, str) else self._constant(f"{name}_{position}", value)
            for position, value in enumerate(values)
        ]
        return self.graph.op(op_type, names, name, **attributes)

    def _constant(self, name: str, value: object) -> str:
        array = np.array([value] if isinstance(value, int) else value)
        return self.graph.constant(name, array)


def _resize_and_offset(
    steps: Steps, defense: Defense, size: FrameSize, n: str, crop: int
) -> tuple[str, str]:
    """Rule 1. Integer division rounds down as `int` does, since all sizes are positive."""
    if defense.fit == "stretch":
        m = steps("Identity", np.array([crop]), "resized")
        return m, steps("Identity", np.array([0]), "offset")
    scaled = steps("Mul", n, defense.resize, "side_times_resize")
    m = steps("Div", scaled, size.shorter, "resized")
    spare = steps("Sub", m, crop, "spare")
    half = steps("Div", spare, 2, "half_spare")
    is_odd, half_is_odd = steps("Mod", spare, 2, "spare_odd"), steps("Mod", half, 2, "half_odd")
    rounding = steps("Mul", is_odd, half_is_odd, "round_to_even")
    return m, steps("Add", half, rounding, "offset")


def _window(
    steps: Steps, defense: Defense, n: str, m: str, offset: str, crop: int, reach: int
) -> str:
    """`(L,)` frame positions that any row of the matrices can read, `reach` of the blur included.

    Positions before 0 and from `n` on stand for reflected pixels.
    """
    radius = 1 if defense.interpolation == "bilinear" else 2
    shrink = steps("Div", steps("Max", n, m, "longer_grid"), m, "shrink")
    support = steps("Mul", steps("Add", shrink, 1, "shrink_up"), radius, "support")
    first = steps("Div", steps("Mul", offset, n, "first_scaled"), m, "first_centre")
    low = steps("Sub", steps("Sub", first, support, "first_read"), 1, "first_read_safe")
    low = steps("Max", low, 0, "first_in_frame")
    end = steps("Add", offset, crop, "crop_end")
    last = steps("Div", steps("Mul", end, n, "last_scaled"), m, "last_centre")
    high = steps("Add", steps("Add", last, support, "last_read"), 2, "last_read_safe")
    high = steps("Min", high, n, "last_in_frame")
    start = steps("Squeeze", steps("Sub", low, reach, "start"), "start_scalar")
    stop = steps("Squeeze", steps("Add", high, reach, "stop"), "stop_scalar")
    return steps("Range", start, stop, np.array(1), "positions")


def _antialiased(
    steps: Steps, defense: Defense, x: str, n: str, m: str, two_m: str, centres: str
) -> str:
    """`(crop, L)` float32, rule 2: the filter stretched to the coarser grid and normalised."""
    position = steps("Mul", x, two_m, "positions_scaled")
    distance = steps("Abs", steps("Sub", position, centres, "signed_distance"), "distance")
    reach = steps("Mul", steps("Max", n, m, "coarser"), 2, "filter_reach")
    if defense.interpolation == "bilinear":
        rest = steps("Max", steps("Sub", reach, distance, "reach_left"), 0, "triangle")
        weights = steps("Cast", rest, "triangle_float", to=FLOAT)
    else:
        d = steps("Cast", distance, "distance_float", to=FLOAT)
        r = steps("Cast", reach, "reach_float", to=FLOAT)
        weights = _cubic(steps, steps("Div", d, r, "filter_position"), -0.5, "cubic")
    after = steps("GreaterOrEqual", x, 0, "not_before_frame")
    inside = steps("And", after, steps("Less", x, n, "not_after_frame"), "inside_frame")
    kept = steps("Where", inside, weights, np.array(0, np.float32), "inside_weights")
    total = steps("ReduceSum", kept, [1], "total_weight", keepdims=1)
    return steps("Div", kept, total, "normalised")


def _plain(steps: Steps, defense: Defense, x: str, n: str, two_m: str, centres: str) -> str:
    """`(crop, L)` float32, rule 2: each of the 2 or 4 nearest pixels, clamped to the frame."""
    rest = steps("Mod", centres, two_m, "centre_fraction")  # never negative
    floor = steps("Div", steps("Sub", centres, rest, "centre_whole"), two_m, "pixel_before")
    numerator = steps("Cast", rest, "fraction_float", to=FLOAT)
    denominator = steps("Cast", two_m, "denominator_float", to=FLOAT)
    t = steps("Div", numerator, denominator, "fraction")  # (crop, 1), in [0, 1)
    last = steps("Sub", n, 1, "last_pixel")
    total = ""
    bilinear = defense.interpolation == "bilinear"
    for tap in (0, 1) if bilinear else (-1, 0, 1, 2):
        name = f"tap{tap:+d}"
        gap = np.array([tap], np.float32)
        distance = steps("Abs", steps("Sub", t, gap, f"{name}_offset"), f"{name}_distance")
        weight = (
            steps("Sub", np.array([1], np.float32), distance, f"{name}_weight")
            if bilinear
            else _cubic(steps, distance, -0.75, f"{name}_weight")
        )
        pixel = steps("Add", floor, tap, f"{name}_pixel")
        clamped = steps("Min", steps("Max", pixel, 0, f"{name}_from_0"), last, f"{name}_clamped")
        hits = steps("Cast", steps("Equal", clamped, x, f"{name}_hits"), f"{name}_mask", to=FLOAT)
        part = steps("Mul", hits, weight, f"{name}_part")
        total = steps("Add", total, part, f"{name}_sum") if total else part
    return total


def _cubic(steps: Steps, x: str, a: float, name: str) -> str:
    """Keys' kernel of a non-negative distance, by Horner's rule."""

    def polynomial(part: str, c3: float, c2: float, c1: float, c0: float) -> str:
        value = steps("Mul", x, np.array(c3, np.float32), f"{name}_{part}_3")
        for power, c in ((2, c2), (1, c1)):
            value = steps("Add", value, np.array(c, np.float32), f"{name}_{part}_{power}")
            value = steps("Mul", value, x, f"{name}_{part}_{power}x")
        return steps("Add", value, np.array(c0, np.float32), f"{name}_{part}_0")

    inner = polynomial("inner", a + 2, -(a + 3), 0.0, 1.0)
    outer = polynomial("outer", a, -5 * a, 8 * a, -4 * a)
    below_1 = steps("Less", x, np.array(1, np.float32), f"{name}_below_1")
    below_2 = steps("Less", x, np.array(2, np.float32), f"{name}_below_2")
    tail = steps("Where", below_2, outer, np.array(0, np.float32), f"{name}_tail")
    return steps("Where", below_1, inner, tail, name)


def _one_or_nan(steps: Steps, defense: Defense, n: str, m: str, crop: int) -> str:
    """Rule 4: `(1,)` float32, 1 for a side that can be served and NaN otherwise."""
    served = steps("GreaterOrEqual", m, crop, "crop_fits")
    if defense.passes[-1] > 0 and defense.blur_at == "frame":
        enough = steps("Greater", n, defense.kernel_size // 2, "longer_than_radius")
        served = steps("And", served, enough, "served")
    one, nan = np.array([1], np.float32), np.array([np.nan], np.float32)
    return steps("Where", served, one, nan, "one_or_nan")


def _model_blur(defense: Defense, crop: int, used: Sequence[int]) -> NDArray[np.float32]:
    """`(crop, V, crop)` float32: the blur of every view on the crop grid, by output pixel."""
    once = blur_matrix(crop, defense.gaussian_taps())
    powers = [np.linalg.matrix_power(once, defense.passes[view]) for view in used]
    return np.stack(powers, axis=1).astype(np.float32)


def _reflected(steps: Steps, x: str, n: str) -> str:
    """`(L,)` int64: the frame pixel that each position stands for, edges not repeated."""
    last = steps("Sub", n, 1, "last_index")
    span = steps("Max", last, 1, "last_index_or_1")  # a frame of one pixel has nothing to reflect
    period = steps("Mul", span, 2, "reflection_period")
    phase = steps("Mod", x, period, "reflection_phase")
    mirrored = steps("Sub", period, phase, "reflection_mirrored")
    return steps("Min", phase, mirrored, last, "frame_pixels")
