"""The view mathematics once more, in NumPy and float64: what the kernel and the graphs must match.

Written from the definition, not from the C++ kernel, and with dense matrices: plain, not fast.
For one axis of `n` pixels that is resized to `m` and cropped to `c`, with

- `R` (m, n): resampling weights; `C` (c, m): the rows that the crop keeps; `G`: one Gaussian pass,

view `k` reads the axis through `C R G^k` (blur at the frame) or `G^k C R` (blur at the model).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError

__all__ = ["Axis", "ViewMatrices", "build_views", "resize_matrix", "view_axes", "view_matrices"]

Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Axis:
    """How one axis of a frame maps to one axis of its views, in pixels.

    Attributes:
        size: pixels of the frame.
        resized: pixels after the resize.
        offset: first resized pixel that the crop keeps.
        crop: pixels of the view.
    """

    size: int
    resized: int
    offset: int
    crop: int


@dataclass(frozen=True)
class ViewMatrices:
    """The matrices of all views of one frame size.

    Attributes:
        rows: `(V, h, H)` float64, from the frame's rows to the views' rows.
        cols: `(V, w, W)` float64, the same for columns.
    """

    rows: Float64
    cols: Float64


def view_axes(defense: Defense, height: int, width: int) -> tuple[Axis, Axis]:
    """The vertical and the horizontal axis of frames of `height` x `width` pixels.

    Raises:
        DefenseError: such frames cannot be served: a resized side is shorter than the crop, or a
            blurred side is not longer than the kernel's radius.
    """
    if defense.fit == "stretch":
        resized = defense.crop
    else:
        longer = int(defense.resize * max(height, width) / min(height, width))
        resized = (longer, defense.resize) if height >= width else (defense.resize, longer)
    axes = []
    for name, size, side, crop in zip(
        ("height", "width"), (height, width), resized, defense.crop, strict=True
    ):
        if side < crop:
            raise DefenseError(
                f"frames of {width}x{height} px: the {name} of {size} px is resized to {side} px, "
                f"shorter than the crop of {crop} px"
            )
        radius = defense.kernel_size // 2
        blurred = size if defense.blur_at == "frame" else crop
        if defense.passes[-1] > 0 and blurred <= radius:
            raise DefenseError(
                f"frames of {width}x{height} px: a {name} of {blurred} px cannot be blurred by "
                f"{defense.kernel_size} taps: reflection at the border needs more than {radius} px"
            )
        axes.append(Axis(size, side, round((side - crop) / 2), crop))
    return axes[0], axes[1]


def resize_matrix(size: int, resized: int, interpolation: str, antialias: bool) -> Float64:
    """`(resized, size)` float64 weights of a resize with half-pixel centres; rows sum to 1."""
    scale = size / resized
    centres = (np.arange(resized) + 0.5) * scale - 0.5
    if antialias:
        # The filter widens when shrinking, and what falls outside the image is left out.
        distance = (np.arange(size) - centres[:, None]) / max(scale, 1.0)
        weights = _triangle(distance) if interpolation == "bilinear" else _cubic(distance, -0.5)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float64)
    # Interpolation between neighbours; what falls outside the image reads its edge pixel. The
    # matrix is made for an image with two pixels more on each side, which are then folded in.
    margin = 2
    distance = np.arange(-margin, size + margin) - centres[:, None]
    wide = _triangle(distance) if interpolation == "bilinear" else _cubic(distance, -0.75)
    folded: NDArray[np.float64] = wide[:, margin:-margin].copy()
    folded[:, 0] += wide[:, :margin].sum(axis=1)
    folded[:, -1] += wide[:, -margin:].sum(axis=1)
    return folded


def blur_matrix(size: int, taps: tuple[float, ...]) -> Float64:
    """`(size, size)` float64: one Gaussian pass, border reflected without repeating the edge."""
    radius = len(taps) // 2
    matrix = np.zeros((size, size))
    for row in range(size):
        for shift, tap in enumerate(taps, start=row - radius):
            column = abs(shift) if shift < size else 2 * (size - 1) - shift
            matrix[row, column] += tap
    return matrix


@lru_cache(maxsize=1)  # frames come one after another in the same size
def view_matrices(defense: Defense, height: int, width: int) -> ViewMatrices:
    """The matrices of all views of frames of `height` x `width` pixels.

    Raises:
        DefenseError: such frames cannot be served.
    """
    return ViewMatrices(*(_stack(defense, axis) for axis in view_axes(defense, height, width)))


def build_views(defense: Defense, frame: NDArray[np.uint8] | NDArray[np.float32]) -> Float64:
    """The views of one frame, unrounded.

    Args:
        frame: `(H, W, 3)` RGB: uint8, or float32 in [0, 1].

    Returns:
        `(V, 3, h, w)` float64, normalised by the defence's mean and std.

    Raises:
        DefenseError: frames of that size cannot be served.
    """
    matrices = view_matrices(defense, *frame.shape[:2])
    scale = 255.0 if frame.dtype == np.uint8 else 1.0
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1), np.float64) / scale
    mean, std = (np.array(value)[:, None, None] for value in (defense.mean, defense.std))
    views = []
    for rows, cols in zip(matrices.rows, matrices.cols, strict=True):
        lines = _banded_product(rows, planes)  # (3, h, W)
        pixels = _banded_product(cols, lines.swapaxes(1, 2)).swapaxes(1, 2)
        views.append((pixels - mean) / std)
    return np.stack(views)


def _stack(defense: Defense, axis: Axis) -> Float64:
    """`(V, crop, size)`: the matrices of every view along one axis."""
    resize = resize_matrix(axis.size, axis.resized, defense.interpolation, defense.antialias)
    matrix = resize[axis.offset : axis.offset + axis.crop]
    at_frame = defense.blur_at == "frame"
    blur = (
        blur_matrix(axis.size if at_frame else axis.crop, defense.gaussian_taps())
        if any(defense.passes)
        else None
    )
    views, done = [], 0
    for passes in defense.passes:
        for _ in range(passes - done):
            assert blur is not None
            matrix = _banded_product(*((matrix, blur) if at_frame else (blur, matrix)))
        done = passes
        views.append(matrix)
    return np.stack(views)


def _banded_product(matrix: Float64, values: Float64) -> Float64:
    """`matrix @ values`, a few rows at a time, leaving out the columns where those are zero."""
    parts = []
    for start in range(0, len(matrix), 16):
        rows = matrix[start : start + 16]
        (used,) = np.nonzero(rows.any(axis=0))
        read = slice(used[0], used[-1] + 1)
        parts.append(rows[:, read] @ values[..., read, :])
    return np.concatenate(parts, axis=-2)


def _triangle(x: Float64) -> Float64:
    return np.maximum(1.0 - np.abs(x), 0.0)


def _cubic(x: Float64, a: float) -> Float64:
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    inner = (a + 2.0) * x**3 - (a + 3.0) * x**2 + 1.0
    outer = a * (x**3 - 5.0 * x**2 + 8.0 * x - 4.0)
    return np.where(x < 1.0, inner, np.where(x < 2.0, outer, 0.0))
