"""What people put along the drawn road: houses, posts, parked cars, advertisements.

They are drawn in metres, flat and upright, with y down and the ground at y = 0. Colours and
proportions come from a random generator, so one function gives many houses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from blurvote.runtime.demo.pen import Colour, Layer, Pen, disc, fractal, p, rectangle, tinted

_SPRITE_PX = 160
_SUPERSAMPLE = 3


@dataclass(frozen=True)
class Sprite:
    """A flat object that faces the camera; ``layers`` is a pyramid, largest first."""

    layers: tuple[Layer, ...]
    width_m: float
    height_m: float


def sprite(width_m: float, height_m: float, draw: Callable[[Pen], None]) -> Sprite:
    """Let ``draw`` paint an object of this size with a pen that counts in metres."""
    scale = _SPRITE_PX / max(width_m, height_m)
    width, height = round(width_m * scale), round(height_m * scale)
    big = (width * _SUPERSAMPLE, height * _SUPERSAMPLE)
    pen = Pen(*big, px_per_unit=scale * _SUPERSAMPLE, origin_px=(big[0] / 2, big[1]))
    draw(pen)
    # Walls and leaves are rough: without a grain the drawn world has no fine texture at all.
    grain = 1 + 0.035 * fractal(np.random.default_rng(width * height), height, width, 2)
    return Sprite(pen.layers(width, height, 4, grain), width_m, height_m)


def _windows(
    pen: Pen,
    rng: np.random.Generator,
    corner: tuple[float, float],
    size: tuple[float, float],
    counts: tuple[int, int],
    frame: Colour,
) -> None:
    """Fill a wall, from its ``corner`` at the top left, with a grid of glazed windows."""
    (left, top), (columns, rows) = corner, counts
    step_x, step_y = size[0] / columns, size[1] / rows
    for row in range(rows):
        for column in range(columns):
            x, y = left + step_x * (column + 0.26), top + step_y * (row + 0.24)
            w, h = step_x * 0.48, step_y * 0.52
            glass = tinted((96, 118, 138), float(rng.uniform(0.55, 1.25)))
            pen.fill(rectangle(x - 0.07, y - 0.07, x + w + 0.07, y + h + 0.07), frame)
            pen.fill(rectangle(x, y, x + w, y + h), glass)
            pen.fill(p((x, y), (x + w, y), (x, y + 0.6 * h)), tinted(glass, 1.2))


def block(rng: np.random.Generator) -> Sprite:
    """Draw a flat-roofed block of two to four floors."""
    floors, columns = int(rng.integers(2, 5)), int(rng.integers(3, 7))
    width, height = columns * 2.3, floors * 2.9 + 0.8
    palette: tuple[Colour, ...] = (
        (206, 190, 164),
        (188, 156, 132),
        (172, 172, 168),
        (214, 206, 192),
        (160, 120, 104),
        (196, 178, 120),
        (120, 136, 150),
    )
    wall = palette[int(rng.integers(len(palette)))]

    def draw(pen: Pen) -> None:
        half = width / 2 - 0.1
        pen.fill(rectangle(-half, -height + 0.3, half, 0), wall)
        pen.fill(rectangle(half * 0.72, -height + 0.3, half, 0), tinted(wall, 0.9))
        pen.fill(
            rectangle(-half - 0.1, -height + 0.05, half + 0.1, -height + 0.45), tinted(wall, 0.62)
        )
        size = (2 * half, height - 1.4)
        _windows(pen, rng, (-half, -height + 0.7), size, (columns, floors), tinted(wall, 1.2))

    return sprite(width, height, draw)


def gabled(rng: np.random.Generator) -> Sprite:
    """Draw a village house with a tiled roof."""
    width, wall_height = rng.uniform(7, 10), rng.uniform(4.4, 5.6)
    height = wall_height + rng.uniform(2.4, 3.4)
    palette: tuple[Colour, ...] = (
        (236, 226, 206),
        (220, 176, 140),
        (226, 208, 160),
        (184, 108, 86),
        (202, 214, 218),
    )
    wall = palette[int(rng.integers(len(palette)))]
    roof = ((150, 72, 54), (96, 84, 82), (122, 88, 64))[int(rng.integers(3))]

    def draw(pen: Pen) -> None:
        half = width / 2 - 0.5
        pen.fill(rectangle(half * 0.35, -height + 0.1, half * 0.6, -wall_height), (128, 84, 70))
        pen.fill(rectangle(-half, -wall_height, half, 0), wall)
        pen.fill(
            p(
                (-half - 0.45, -wall_height),
                (-half * 0.72, -height + 0.2),
                (half * 0.72, -height + 0.2),
                (half + 0.45, -wall_height),
            ),
            roof,
        )
        pen.fill(
            rectangle(-half - 0.45, -wall_height - 0.05, half + 0.45, -wall_height + 0.16),
            tinted(roof, 0.66),
        )
        for x in (-0.42, 0.3):
            pen.fill(
                rectangle(x * half - 0.5, -height + 1, x * half + 0.5, -height + 1.9),
                tinted(wall, 0.95),
            )
            pen.fill(
                rectangle(x * half - 0.36, -height + 1.15, x * half + 0.36, -height + 1.9),
                (92, 106, 120),
            )
        size = (2 * half, wall_height - 0.3)
        _windows(pen, rng, (-half, -wall_height + 0.2), size, (4, 2), (248, 246, 240))
        pen.fill(rectangle(-0.5, -2.1, 0.5, 0), tinted(roof, 0.8))

    return sprite(width, height, draw)


def lamp(rng: np.random.Generator) -> Sprite:
    """Draw a street lamp."""
    height = rng.uniform(5.5, 7)

    def draw(pen: Pen) -> None:
        pen.stroke(p((-0.4, 0), (-0.4, -height + 0.5)), 0.15, (104, 110, 114))
        pen.stroke(
            p((-0.4, -height + 0.5), (-0.1, -height + 0.2), (0.6, -height + 0.2)),
            0.1,
            (104, 110, 114),
        )
        pen.fill(rectangle(0.3, -height + 0.12, 0.9, -height + 0.32), (210, 212, 206))

    return sprite(2.2, height, draw)


def utility_pole(rng: np.random.Generator) -> Sprite:
    """Draw a wooden pole with insulators."""
    height = rng.uniform(6.5, 8)

    def draw(pen: Pen) -> None:
        pen.stroke(p((0, 0), (0, -height + 0.1)), 0.22, (104, 84, 66))
        for drop in (0.5, 1.2):
            pen.stroke(p((-0.9, -height + drop), (0.9, -height + drop)), 0.13, (92, 74, 58))
            for x in (-0.8, -0.4, 0.4, 0.8):
                pen.fill(disc(x, -height + drop - 0.16, 0.09), (150, 170, 172))

    return sprite(2.2, height, draw)


def board(rng: np.random.Generator) -> Sprite:
    """Draw an advertisement: coloured shapes and discs that are no road sign."""
    colours: tuple[Colour, ...] = (
        (214, 60, 52),
        (36, 98, 178),
        (240, 190, 40),
        (60, 150, 90),
        (236, 236, 230),
        (60, 60, 66),
    )
    pick = [colours[k] for k in rng.permutation(len(colours))]

    def draw(pen: Pen) -> None:
        for x in (-0.9, 0.9):
            pen.stroke(p((x, 0), (x, -1.2)), 0.12, (90, 90, 92))
        pen.fill(rectangle(-1.4, -2.9, 1.4, -0.9), pick[0])
        pen.fill(rectangle(-1.25, -2.75, 1.25, -1.05), pick[1])
        x = float(rng.uniform(-0.7, 0.7))
        if rng.random() < 0.5:
            pen.fill(disc(x, -1.9, 0.55), pick[2])
        else:
            pen.fill(p((x, -2.5), (x + 0.6, -1.4), (x - 0.6, -1.4)), pick[2])
        for k in range(2):
            pen.stroke(p((-1, -1.3 + 0.14 * k), (0.9, -1.3 + 0.14 * k)), 0.06, pick[3])

    return sprite(3, 3, draw)


def car(rng: np.random.Generator) -> Sprite:
    """Draw a parked car, seen from behind."""
    paints: tuple[Colour, ...] = (
        (206, 208, 210),
        (118, 122, 128),
        (44, 46, 52),
        (150, 30, 34),
        (36, 72, 130),
        (48, 92, 76),
        (196, 178, 140),
    )
    paint = tinted(paints[int(rng.integers(len(paints)))], float(rng.uniform(0.85, 1.15)))

    def draw(pen: Pen) -> None:
        for x in (-0.66, 0.66):
            pen.fill(rectangle(x - 0.12, -0.4, x + 0.12, 0), (24, 24, 26))
        pen.fill(
            p(
                (-0.62, -1.42),
                (0.62, -1.42),
                (0.82, -0.9),
                (0.86, -0.26),
                (-0.86, -0.26),
                (-0.82, -0.9),
            ),
            paint,
        )
        pen.fill(p((-0.54, -1.34), (0.54, -1.34), (0.68, -0.92), (-0.68, -0.92)), (58, 70, 82))
        pen.fill(p((-0.54, -1.34), (0.1, -1.34), (-0.3, -0.92), (-0.68, -0.92)), (92, 108, 120))
        for x in (-0.7, 0.7):
            pen.fill(rectangle(x - 0.13, -0.82, x + 0.13, -0.64), (176, 34, 34))
        pen.fill(rectangle(-0.24, -0.66, 0.24, -0.54), (232, 232, 226))
        pen.fill(rectangle(-0.86, -0.42, 0.86, -0.3), tinted(paint, 0.6))

    return sprite(1.9, 1.5, draw)
