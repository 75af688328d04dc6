"""The noise of a frame, estimated from the frame alone.

This is the definition, in NumPy. `ViewBuilder.build_noise` gives the same numbers while it builds
views, from some rows of the frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import _kernels
from blurvote.runtime.frame import Colour, Frame, Matrix, Range, as_frame

__all__ = [
    "GAUSSIAN_PER_RESPONSE",
    "SEGMENT",
    "NoiseKind",
    "chosen_sum",
    "estimate_noise",
    "laplacian_difference",
    "luma_share",
    "noise_kind",
    "noise_level",
    "noise_reading",
    "noise_table",
    "sample_plane",
    "saturation",
]

# Of white Gaussian noise of level 1 the response below is Gaussian of standard deviation 6 (the
# root of the mask's squared sum, 36), and sqrt(pi / 2) turns a mean magnitude into a deviation.
GAUSSIAN_PER_RESPONSE = math.sqrt(math.pi / 2) / 6
SEGMENT = 32  # pixels

NoiseKind = Literal["packed", "gray", "bt601", "bt709"]
_LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def laplacian_difference(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The difference of two Laplacians, which no plane and no straight edge along an axis answers.

    The mask is 1 -2 1, -2 4 -2, 1 -2 1 (Immerkaer, Fast noise variance estimation, CVIU 1996).

    Args:
        planes: `(..., H, W)`.

    Returns:
        `(..., H - 2, W - 2)`.
    """
    rows = planes[..., :-2, :] - 2 * planes[..., 1:-1, :] + planes[..., 2:, :]
    both: NDArray[np.float32] = rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
    return both


def estimate_noise(
    frame: Frame | NDArray[np.uint8],
    colour: Colour = "rgb",
    rows: Sequence[int] | None = None,
    columns: tuple[int, int] | None = None,
) -> float | None:
    """The level of a frame's noise: of Gaussian noise, alike and independent in R, G and B.

    Median over photographs within 5 % of the level from 0.03 to 0.375. Texture finer than some
    pixels looks like noise, and a frame without any texture reads up to a tenth too low at 0.03.

    Args:
        frame: a `Frame`, or its pixels.
        colour: what bare pixels are; a `Frame` knows its own.
        rows, columns: as `noise_reading`.

    Returns:
        A level in [0, 0.5] on the scale where R, G and B span [0, 1]; None where the frame has
        fewer than three rows or 34 columns.

    Raises:
        FrameError: as `check_frame`.
    """
    image = as_frame(frame, colour)
    limits = saturation(image)
    reading = noise_reading(sample_plane(image), limits, rows, columns)
    return (
        None if reading is None else noise_level(reading, image.colour, image.matrix, image.range)
    )


def sample_plane(frame: Frame) -> NDArray[np.uint8]:
    """The samples whose noise is estimated, `(H, W, C)` uint8: R, G and B, or luma alone."""
    x0, y0 = frame.window[:2] if frame.window else (0, 0)
    pixels = frame.pixels[..., :1] if frame.colour == "yuyv" else frame.pixels
    part = pixels[y0 : y0 + frame.height, x0 : x0 + frame.width]
    return part if part.ndim == 3 else part[..., None]


def saturation(frame: Frame) -> tuple[int, int]:
    """The largest sample that is black and the smallest that is white, in 0..255."""
    limited = frame.colour in ("nv12", "yuyv") and frame.range == "limited"
    return (16, 235) if limited else (0, 255)


def noise_reading(
    samples: NDArray[np.uint8],
    limits: tuple[int, int] = (0, 255),
    rows: Sequence[int] | None = None,
    columns: tuple[int, int] | None = None,
) -> float | None:
    """Immerkaer's estimate made robust: of the quarter of the frame that responds least.

    The mean magnitude of `laplacian_difference` over segments of 32 pixels of one row, times
    sqrt(pi / 2) / 6. Segments with more than three in ten samples saturated are left out,
    unless that leaves fewer than a tenth; of the rest, the one at a quarter of their order counts.

    Args:
        samples: `(H, W, C)` uint8.
        limits: as `saturation`.
        rows: the masks' middle rows, of 1 .. H - 2; None takes all.
        columns: `(begin, end)` of the pixels that the masks may touch; None takes all.

    Returns:
        A standard deviation in units of 255; None where there is no row or not one whole segment.
    """
    height, width, channels = samples.shape
    middle = np.arange(1, height - 1) if rows is None else np.asarray(rows, int)
    begin, end = columns or (0, width)
    count = max(0, end - begin - 2) // SEGMENT
    if height < 3 or not len(middle) or not count:
        return None
    part = samples[:, begin : begin + SEGMENT * count + 2].astype(np.int32)
    planes = np.stack([part[middle - 1], part[middle], part[middle + 1]]).transpose(1, 3, 0, 2)
    shape = (len(middle), channels, count, SEGMENT)
    responses = np.abs(laplacian_difference(planes.astype(np.float32))).reshape(shape)  # exact
    centres = part[middle, 1:-1].transpose(0, 2, 1).reshape(shape)
    saturated = (centres <= limits[0]) | (centres >= limits[1])
    per_segment: int = SEGMENT * channels
    least = chosen_sum(responses.sum((1, 3)), saturated.sum((1, 3)), per_segment)
    return GAUSSIAN_PER_RESPONSE * least / per_segment / 255


def chosen_sum(sums: NDArray[np.floating], saturated: NDArray[np.integer], samples: int) -> float:
    """The segment that counts, by its sum of magnitudes; see `noise_reading`.

    Args:
        sums, saturated: of each segment: its sum, and how many of its samples are saturated.
        samples: of a segment.
    """
    kept = sums[10 * saturated <= 3 * samples]
    if 10 * kept.size < sums.size:
        kept = sums.ravel()
    return float(np.sort(kept)[kept.size // 4])


def noise_level(
    reading: float, colour: Colour = "rgb", matrix: Matrix = "bt601", range: Range = "limited"
) -> float:
    """The noise level in [0, 0.5] that gives a reading, by the table; see `noise_table`."""
    readings, levels = noise_table(noise_kind(colour, matrix))
    return float(np.interp(reading / luma_share(colour, matrix, range), readings, levels))


def noise_table(kind: NoiseKind = "packed") -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The knots `(readings, levels)` of the piecewise linear map from readings to noise levels.

    Readings of luma are divided by `luma_share` before. Simulated by
    `python -m blurvote.benchmarks.robustness.noise_table`.
    """
    levels, readings = _kernels.noise_table()
    return tuple(readings[kind]), tuple(levels)


def noise_kind(colour: Colour, matrix: Matrix = "bt601") -> NoiseKind:
    """Which table a frame's readings are looked up in."""
    if colour in ("nv12", "yuyv"):
        return matrix
    return "gray" if colour == "gray" else "packed"


def luma_share(colour: Colour, matrix: Matrix = "bt601", range: Range = "limited") -> float:
    """The level of luma's noise by that of independent noise in R, G and B; 1 of other samples."""
    if colour not in ("nv12", "yuyv"):
        return 1.0
    return math.hypot(*_LUMA[matrix]) * (219 / 255 if range == "limited" else 1.0)
