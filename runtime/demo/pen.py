"""Colours, vector drawing with antialiased edges, and pictures to lay over one another.

A ``Pen`` draws in units of its own (x to the right, y down), several times larger than needed.
The picture is then kept as a pyramid, so that a far object is sampled from a level near its own
size and does not shimmer as it grows.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

_SUBPIXEL_BITS = 4


@dataclass(frozen=True)
class Layer:
    """One picture to lay over another, as ``below * clear / 255 + colour``.

    colour: (h, w, 3) uint8 RGB, already multiplied by the coverage.
    clear: (h, w, 3) uint8, 255 where the layer is transparent (three equal channels, because
    OpenCV multiplies arrays of one shape fastest).
    """

    colour: Pixels
    clear: Pixels


def as_u8(array: npt.NDArray[np.generic]) -> Pixels:
    """Give an OpenCV result (any dtype in its stubs) its true type; copies nothing."""
    return np.asarray(array, dtype=np.uint8)


def to_u8(values: npt.NDArray[np.float32] | npt.NDArray[np.float64]) -> Pixels:
    """Round to 8 bits, clamped; values on the scale 0 to 255."""
    return as_u8(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def tinted(colour: Colour, factor: float) -> Colour:
    """Scale a colour, clamped to 8 bits."""
    red, green, blue = (int(min(255, max(0, part * factor))) for part in colour)
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Mix ``share`` of the second colour into the first."""
    red, green, blue = (
        round(a * (1 - share) + b * share) for a, b in zip(first, second, strict=True)
    )
    return red, green, blue


def reduced(picture: Pixels, width: int, height: int) -> Pixels:
    """Shrink (H, W) or (H, W, 3) uint8 to ``height`` x ``width`` by averaging areas."""
    return as_u8(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA))


def fractal(
    rng: np.random.Generator, height: int, width: int, coarsest: int
) -> npt.NDArray[np.float32]:
    """Sum noise of several scales: (height, width) float32 of mean about 0 and deviation 1."""
    total = np.zeros((height, width), np.float32)
    cell, weight = coarsest, 1.0
    while cell >= 1:
        rows, columns = height // cell + 2, width // cell + 2
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        smooth = cv2.resize(grid, (columns * cell, rows * cell), interpolation=cv2.INTER_CUBIC)
        total += weight * smooth[:height, :width]
        cell, weight = cell // 2, weight * 0.6
    return np.asarray(total / total.std(), np.float32)


def pyramid(colour: Pixels, coverage: Pixels, levels: int) -> tuple[Layer, ...]:
    """Halve a picture ``levels - 1`` times.

    colour: (h, w, 3) uint8 RGB, not yet multiplied; coverage: (h, w) uint8, 255 is opaque.
    Returns the layers, largest first.
    """
    alpha = cv2.cvtColor(coverage, cv2.COLOR_GRAY2RGB)
    layer = Layer(as_u8(cv2.multiply(colour, alpha, scale=1 / 255)), as_u8(cv2.bitwise_not(alpha)))
    layers = [layer]
    for _ in range(levels - 1):
        height, width = (max(1, side // 2) for side in layer.clear.shape[:2])
        layer = Layer(reduced(layer.colour, width, height), reduced(layer.clear, width, height))
        layers.append(layer)
    return tuple(layers)


class Pen:
    """Draws on ``canvas``: (height, width, 3) uint8 RGB.

    ``coverage``: (height, width) uint8, 255 wherever something was drawn.
    """

    def __init__(
        self, width: int, height: int, *, px_per_unit: float, origin_px: tuple[float, float]
    ) -> None:
        self.canvas: Pixels = np.zeros((height, width, 3), np.uint8)
        self.coverage: Pixels = np.zeros((height, width), np.uint8)
        self._px_per_unit = px_per_unit
        self._origin_px = origin_px

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        scaled = points * self._px_per_unit + self._origin_px
        return np.rint(scaled * (1 << _SUBPIXEL_BITS)).astype(np.int32)

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill the polygon ``points``: (k, 2) float64."""
        corners = [self._fixed(points)]
        cv2.fillPoly(self.canvas, corners, colour, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.fillPoly(self.coverage, corners, (255,), cv2.LINE_AA, _SUBPIXEL_BITS)

    def stroke(self, points: Points, width: float, colour: Colour) -> None:
        """Draw the open line ``points``: (k, 2) float64, ``width`` in units, round ends."""
        line = [self._fixed(points)]
        pixels = max(1, round(width * self._px_per_unit))
        style = (cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.polylines(self.canvas, line, False, colour, pixels, *style)
        cv2.polylines(self.coverage, line, False, (255,), pixels, *style)

    def layers(
        self, width: int, height: int, levels: int, grain: npt.NDArray[np.float32] | None = None
    ) -> tuple[Layer, ...]:
        """Reduce the drawing to ``height`` x ``width`` and its halves, largest first.

        grain: (height, width) float32 around 1 that scales the colours, for a rough surface.
        """
        # Averaging the canvas as it is would mix its black ground into the edges.
        inside = cv2.dilate(self.canvas, np.ones((3, 3), np.uint8), iterations=4)
        solid = np.where(self.coverage[..., None] > 250, self.canvas, as_u8(inside))
        colour = reduced(solid, width, height)
        if grain is not None:
            colour = to_u8(colour * grain[..., None])
        return pyramid(colour, reduced(self.coverage, width, height), levels)


def p(*points: tuple[float, float]) -> Points:
    """Collect points given one by one: (k, 2) float64."""
    return np.array(points, np.float64)


def arc(x: float, y: float, rx: float, ry: float, start: float, stop: float) -> Points:
    """Follow an ellipse from ``start`` to ``stop`` degrees (0 is right, 90 is down)."""
    turn = np.radians(np.linspace(start, stop, 97))
    return np.stack([x + rx * np.cos(turn), y + ry * np.sin(turn)], axis=1)


def disc(x: float, y: float, radius: float) -> Points:
    """Follow a circle."""
    return arc(x, y, radius, radius, 0, 360)


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """Give the corners of an upright rectangle."""
    return p((left, top), (right, top), (right, bottom), (left, bottom))


def regular(corners: int, first_deg: float) -> Points:
    """Give the corners of a regular polygon on the unit circle."""
    turn = np.radians(first_deg + 360 / corners * np.arange(corners))
    return np.stack([np.cos(turn), np.sin(turn)], axis=1)


def rounded(corners: Points, radius: float) -> Points:
    """Round off the corners of a convex polygon with quadratic curves."""
    pieces: list[Points] = []
    t = np.linspace(0, 1, 9)[:, None]
    for before, here, after in zip(
        np.roll(corners, 1, 0), corners, np.roll(corners, -1, 0), strict=True
    ):
        start, stop = (
            here + (other - here) * min(0.5, radius / float(np.linalg.norm(other - here)))
            for other in (before, after)
        )
        pieces.append((1 - t) ** 2 * start + 2 * t * (1 - t) * here + t**2 * stop)
    return np.concatenate(pieces)


def shrunk(corners: Points, factor: float) -> Points:
    """Scale a polygon about its centre."""
    centre: Points = corners.mean(axis=0)
    return centre + (corners - centre) * factor
