"""Defocus and motion blur: their kernels at any scale, and how they meet the frame's edge."""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DEFOCUS_RADII",
    "MOTION_STREAKS",
    "defocus",
    "disc_kernel",
    "motion",
    "streak_kernel",
]

Image = NDArray[np.float32]

DEFOCUS_RADII = (3.0, 4.0, 6.0, 8.0, 10.0)
"""Radius of the disc in pixels of ImageNet-C's grid, severity 1 to 5."""

MOTION_STREAKS = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))
"""Radius and sigma of the streak in pixels of ImageNet-C's grid, severity 1 to 5."""

_MOTION_ANGLES = (-45.0, 45.0)  # degrees; ImageNet-C draws from the same range
_SAMPLES = 8  # points per pixel along each axis of a shape, and at least as many per radius


def defocus(frame: Image, severity: int, scale: float) -> Image:
    """Blurs `(H, W, 3)` float32 with a disc, as a lens out of focus does."""
    return _filter(frame, disc_kernel(DEFOCUS_RADII[severity - 1] * scale))


def motion(frame: Image, severity: int, scale: float, random: np.random.Generator) -> Image:
    """Smears `(H, W, 3)` float32 along a line of random angle."""
    radius, sigma = MOTION_STREAKS[severity - 1]
    angle = float(random.uniform(*_MOTION_ANGLES))
    return _filter(frame, streak_kernel(2 * radius * scale, sigma * scale, angle))


@lru_cache(maxsize=64)
def disc_kernel(radius: float) -> NDArray[np.float64]:
    """The average over a disc, read bilinearly between pixels; sums to 1.

    ImageNet-C marks whole pixels and softens them a little; this is the same disc at any radius,
    below one pixel too.

    Args:
        radius: in pixels, above 0.

    Returns:
        `(K, K)` float64 with odd K, read-only.
    """
    half = max(_SAMPLES, math.ceil(radius * _SAMPLES))
    axis = (np.arange(-half, half, dtype=np.float64) + 0.5) * (radius / half)
    y, x = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    inside = x**2 + y**2 <= radius**2
    return _splat(x[inside], y[inside], np.ones(int(inside.sum())))


def streak_kernel(length: float, sigma: float, angle: float) -> NDArray[np.float64]:
    """Half a Gaussian along a line that starts at the centre; sums to 1.

    The weights `exp(-t^2 / 2 sigma^2)` for `t` from 0 to `length` are those of ImageMagick's
    motion blur, which ImageNet-C uses with `length` twice its radius.

    Args:
        length: of the line, in pixels, above 0.
        sigma: of the weights, in pixels, above 0.
        angle: of the line, in degrees from the x axis towards the y axis (down).

    Returns:
        `(K, K)` float64 with odd K, read-only; the centre is where the streak starts.
    """
    steps = max(2 * _SAMPLES, math.ceil(length * _SAMPLES))
    t = (np.arange(steps) + 0.5) * (length / steps)
    turn = math.radians(angle)
    return _splat(t * math.cos(turn), t * math.sin(turn), np.exp(-(t**2) / (2 * sigma**2)))


def _splat(
    x: NDArray[np.floating], y: NDArray[np.floating], weights: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The kernel that reads a frame bilinearly at weighted points around the centre."""
    reach = math.ceil(max(np.abs(x).max(), np.abs(y).max()))
    side = 2 * reach + 1
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    kernel = np.zeros(side * side)
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = weights * (1 - np.abs(y - top - dy)) * (1 - np.abs(x - left - dx))
        place = (top + dy + reach) * side + left + dx + reach
        kernel += np.bincount(place, share, side * side)
    kernel /= kernel.sum()
    kernel.flags.writeable = False
    return kernel.reshape(side, side)


def _filter(frame: Image, kernel: NDArray[np.float64]) -> Image:
    """Correlates each channel; the frame continues past its edge by reflection.

    Long kernels go through OpenCV's DFT, whose rounding may leave [0, 1] by a hair.
    """
    blurred = cv2.filter2D(frame, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(np.clip(blurred, 0, 1), np.float32)
