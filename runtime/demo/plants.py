"""What grows along the drawn road, in metres as in ``sprites``."""

from __future__ import annotations

import numpy as np

from blurvote.runtime.demo.pen import Colour, Pen, arc, p, rectangle, tinted
from blurvote.runtime.demo.sprites import Sprite, sprite


def _leaves(
    pen: Pen,
    rng: np.random.Generator,
    middle: tuple[float, float],
    rx: float,
    ry: float,
    colour: Colour,
) -> None:
    """Fill an ellipse with overlapping clumps, lit from the upper left."""
    turn, reach = rng.uniform(0, 2 * np.pi, 170), np.sqrt(rng.uniform(0, 1, 170))
    x, y = reach * np.cos(turn), reach * np.sin(turn)
    light = -0.35 * x - 0.6 * y + rng.normal(0, 0.28, 170)
    for k in np.argsort(light):
        size = rng.uniform(0.1, 0.24) * (1.25 - 0.5 * reach[k])
        at = (middle[0] + rx * x[k], middle[1] + ry * y[k])
        pen.fill(
            arc(*at, size * rx, size * rx, 0, 360), tinted(colour, float(0.82 + 0.42 * light[k]))
        )


def round_tree(rng: np.random.Generator) -> Sprite:
    """Draw a broad leaf tree."""
    height, width = rng.uniform(5.5, 8), rng.uniform(4.5, 6.5)
    green = (int(rng.integers(50, 95)), int(rng.integers(95, 135)), int(rng.integers(35, 65)))

    def draw(pen: Pen) -> None:
        pen.fill(rectangle(-0.2, -height * 0.5, 0.2, 0), (84, 66, 50))
        _leaves(pen, rng, (0, -height * 0.62), width * 0.4, height * 0.32, green)

    return sprite(width, height, draw)


def conifer(rng: np.random.Generator) -> Sprite:
    """Draw a fir."""
    height, width = rng.uniform(6, 10), rng.uniform(3, 4.4)
    green = (int(rng.integers(28, 50)), int(rng.integers(70, 100)), int(rng.integers(45, 65)))

    def draw(pen: Pen) -> None:
        pen.fill(rectangle(-0.14, -1, 0.14, 0), (70, 52, 40))
        tiers = 9
        for k in range(tiers):
            base = -0.5 - (height - 0.7) * k / tiers
            reach = width / 2 * (1 - 0.92 * k / tiers) * float(rng.uniform(0.85, 1))
            top = base - height / tiers * 2
            shade = tinted(green, float(0.8 + 0.5 * k / tiers))
            pen.fill(
                p(
                    (0, min(top, base) if top > -height else -height),
                    (reach, base),
                    (0.3 * reach, base - 0.16),
                    (-0.4 * reach, base - 0.1),
                    (-reach, base),
                ),
                shade,
            )
            pen.fill(
                p((0, max(top, -height)), (-0.2 * reach, base - 0.2), (-reach, base)),
                tinted(shade, 1.16),
            )

    return sprite(width, height, draw)


def poplar(rng: np.random.Generator) -> Sprite:
    """Draw a tall, narrow, yellowish tree."""
    height, width = rng.uniform(9, 12), rng.uniform(2.2, 3)
    green = (int(rng.integers(95, 140)), int(rng.integers(120, 150)), int(rng.integers(40, 60)))

    def draw(pen: Pen) -> None:
        pen.fill(rectangle(-0.14, -2, 0.14, 0), (110, 98, 84))
        for part, size in ((0.3, 0.38), (0.48, 0.42), (0.66, 0.36), (0.82, 0.24)):
            _leaves(pen, rng, (0, -height * part), width * size, height * 0.14, green)

    return sprite(width, height, draw)


def bush(rng: np.random.Generator) -> Sprite:
    """Draw a low bush."""
    width = rng.uniform(1.6, 3)
    green = (int(rng.integers(50, 100)), int(rng.integers(95, 135)), int(rng.integers(35, 70)))

    def draw(pen: Pen) -> None:
        for x in (-0.26, 0.02, 0.27):
            _leaves(pen, rng, (x * width, -0.55), width * 0.2, 0.42, green)

    return sprite(width, 1.3, draw)
