"""Road-sign faces, drawn as vector shapes: no font, no picture file.

A face is drawn in units in which its circle has radius 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from blurvote.runtime.demo.pen import (
    Colour,
    Layer,
    Pen,
    Points,
    arc,
    disc,
    p,
    rectangle,
    regular,
    rounded,
    shrunk,
)

RED: Colour = (200, 20, 38)
BLUE: Colour = (0, 84, 170)
WHITE: Colour = (246, 246, 242)
BLACK: Colour = (18, 18, 20)
YELLOW: Colour = (252, 196, 0)
GREEN: Colour = (20, 150, 70)

Face = Callable[[Pen], None]

FACE_RADIUS = 0.96
"""Radius of a sign's circle, as a part of half the side of its picture."""

_UP = p((0, -0.93), (1.0, 0.8), (-1.0, 0.8))
_SQUARE = rectangle(-0.92, -0.92, 0.92, 0.92)


# Glyphs as centre lines, in a box of height 1 whose origin is the top left corner: the shapes of
# road lettering are close to a pen of one width.
_GLYPHS: dict[str, tuple[float, tuple[Points, ...]]] = {
    "0": (
        0.54,
        (
            arc(0.27, 0.27, 0.27, 0.27, -180, 0),
            p((0.54, 0.27), (0.54, 0.73)),
            arc(0.27, 0.73, 0.27, 0.27, 0, 180),
            p((0, 0.73), (0, 0.27)),
        ),
    ),
    "1": (0.26, (p((0, 0.2), (0.24, 0), (0.24, 1)),)),
    "3": (0.52, (arc(0.25, 0.25, 0.23, 0.25, -170, 80), arc(0.25, 0.74, 0.27, 0.26, -85, 165))),
    "5": (0.54, (p((0.5, 0), (0.07, 0), (0.04, 0.47)), arc(0.27, 0.68, 0.27, 0.32, -140, 150))),
    "8": (0.54, (disc(0.27, 0.25, 0.24), disc(0.27, 0.74, 0.27))),
    "S": (
        0.5,
        (
            arc(0.25, 0.25, 0.25, 0.25, -20, -250),
            arc(0.25, 0.75, 0.25, 0.25, -80, 160),
            p((0.165, 0.485), (0.293, 0.504)),
        ),
    ),
    "T": (0.52, (p((0, 0), (0.52, 0)), p((0.26, 0), (0.26, 1)))),
    "P": (
        0.5,
        (
            p((0, 1), (0, 0), (0.23, 0)),
            arc(0.23, 0.28, 0.27, 0.28, -90, 90),
            p((0.23, 0.56), (0, 0.56)),
        ),
    ),
}
_GLYPHS["O"] = _GLYPHS["0"]


def _write(
    pen: Pen, text: str, height: float, weight: float, colour: Colour, squeeze: float = 1.0
) -> None:
    """Write ``text`` centred on the face.

    ``height`` and stroke ``weight`` in face units; ``squeeze`` below 1 narrows the letters.
    """
    gap = 0.18 + weight / height / squeeze
    total = sum(_GLYPHS[letter][0] for letter in text) + gap * (len(text) - 1)
    left = -total / 2
    for letter in text:
        advance, lines = _GLYPHS[letter]
        corner = np.array([left, -0.5])
        for line in lines:
            pen.stroke((line + corner) * (height * squeeze, height), weight, colour)
        left += advance + gap


def _round_plate(pen: Pen, rim: Colour, middle: Colour, ring: float) -> None:
    pen.fill(disc(0, 0, 1), WHITE)
    pen.fill(disc(0, 0, 0.97), rim)
    pen.fill(disc(0, 0, 0.97 - ring), middle)


def _warning_plate(pen: Pen) -> None:
    outline = rounded(_UP, 0.22)
    pen.fill(outline, WHITE)
    pen.fill(rounded(shrunk(_UP, 0.955), 0.2), RED)
    pen.fill(rounded(shrunk(_UP, 0.64), 0.08), WHITE)


def _stop(pen: Pen) -> None:
    pen.fill(regular(8, 22.5), WHITE)
    pen.fill(regular(8, 22.5) * 0.93, RED)
    _write(pen, "STOP", 0.52, 0.12, WHITE, squeeze=0.72)


def _yield(pen: Pen) -> None:
    down = _UP * (1, -1)
    pen.fill(rounded(down, 0.22), WHITE)
    pen.fill(rounded(shrunk(down, 0.955), 0.2), RED)
    pen.fill(rounded(shrunk(down, 0.56), 0.08), WHITE)


def _priority_road(pen: Pen) -> None:
    diamond = regular(4, 0)
    pen.fill(rounded(diamond, 0.16), WHITE)
    pen.fill(rounded(diamond * 0.64, 0.08), YELLOW)
    # A thin dark line keeps the white plate visible before a bright sky, as the real one does.
    outline = rounded(diamond * 0.96, 0.16)
    pen.stroke(np.concatenate([outline, outline[:1]]), 0.03, BLACK)


def _no_entry(pen: Pen) -> None:
    _round_plate(pen, RED, RED, 0.1)
    pen.fill(rounded(rectangle(-0.7, -0.19, 0.7, 0.19), 0.04), WHITE)


def _speed(limit: str) -> Face:
    def draw(pen: Pen) -> None:
        _round_plate(pen, RED, WHITE, 0.22)
        if len(limit) == 2:
            _write(pen, limit, 0.72, 0.15, BLACK, squeeze=0.95)
        else:
            _write(pen, limit, 0.64, 0.125, BLACK, squeeze=0.78)

    return draw


def _no_stopping(pen: Pen) -> None:
    _round_plate(pen, RED, BLUE, 0.2)
    for side in (-1, 1):
        pen.stroke(p((-0.56 * side, -0.56), (0.56 * side, 0.56)), 0.18, RED)


def _ahead_only(pen: Pen) -> None:
    _round_plate(pen, BLUE, BLUE, 0.1)
    pen.fill(rectangle(-0.13, -0.1, 0.13, 0.68), WHITE)
    pen.fill(p((0, -0.72), (0.46, -0.08), (-0.46, -0.08)), WHITE)


def _turn(side: int) -> Face:
    def draw(pen: Pen) -> None:
        _round_plate(pen, BLUE, BLUE, 0.1)
        bend = np.concatenate(
            [p((-0.32, 0.6)), arc(-0.02, 0.12, 0.3, 0.3, 180, 270), p((0.14, -0.18))]
        )
        pen.stroke(bend * (side, 1), 0.26, WHITE)
        pen.fill(p((0.74, -0.18), (0.12, -0.64), (0.12, 0.28)) * (side, 1), WHITE)

    return draw


def _roundabout(pen: Pen) -> None:
    _round_plate(pen, BLUE, BLUE, 0.1)
    for start in (30, 150, 270):
        # Counter-clockwise, as traffic that keeps to the right turns.
        pen.stroke(arc(0, 0, 0.5, 0.5, start - 4, start - 66), 0.18, WHITE)
        tip, base = np.radians([start - 106, start - 62])
        inner, outer = 0.26, 0.74
        pen.fill(
            p(
                (0.55 * np.cos(tip), 0.55 * np.sin(tip)),
                (inner * np.cos(base), inner * np.sin(base)),
                (outer * np.cos(base), outer * np.sin(base)),
            ),
            WHITE,
        )


def _crossing(pen: Pen) -> None:
    outline = rounded(_SQUARE, 0.16)
    pen.fill(outline, WHITE)
    pen.fill(rounded(shrunk(_SQUARE, 0.95), 0.12), BLUE)
    pen.fill(p((0, -0.74), (0.8, 0.68), (-0.8, 0.68)), WHITE)
    pen.fill(disc(0.03, -0.3, 0.115), BLACK)
    pen.stroke(p((0.0, -0.1), (-0.03, 0.2)), 0.2, BLACK)
    for limb in (
        p((-0.03, 0.2), (0.13, 0.38), (0.2, 0.6)),
        p((-0.03, 0.2), (-0.12, 0.4), (-0.3, 0.58)),
        p((0.0, -0.1), (0.2, 0.02), (0.27, 0.16)),
        p((0.0, -0.1), (-0.18, 0.02), (-0.22, 0.2)),
    ):
        pen.stroke(limb, 0.09, BLACK)


def _road_works(pen: Pen) -> None:
    _warning_plate(pen)
    pen.fill(disc(0.02, -0.2, 0.1), BLACK)
    pen.stroke(p((-0.02, -0.04), (-0.16, 0.22)), 0.19, BLACK)
    for limb in (
        p((-0.16, 0.22), (-0.02, 0.36), (-0.06, 0.58)),
        p((-0.16, 0.22), (-0.24, 0.4), (-0.4, 0.58)),
        p((0.0, -0.04), (0.16, 0.14)),
    ):
        pen.stroke(limb, 0.1, BLACK)
    pen.stroke(p((-0.06, 0.04), (0.34, 0.42)), 0.06, BLACK)
    pen.fill(p((0.06, 0.62), (0.3, 0.36), (0.56, 0.62)), BLACK)


def _traffic_signals(pen: Pen) -> None:
    _warning_plate(pen)
    pen.fill(rounded(rectangle(-0.19, -0.33, 0.19, 0.61), 0.1), BLACK)
    for height, colour in ((-0.16, RED), (0.14, YELLOW), (0.44, GREEN)):
        pen.fill(disc(0, height, 0.125), colour)


_FACES: dict[str, Face] = {
    "stop": _stop,
    "yield": _yield,
    "priority_road": _priority_road,
    "no_entry": _no_entry,
    "speed_30": _speed("30"),
    "speed_50": _speed("50"),
    "speed_80": _speed("80"),
    "speed_100": _speed("100"),
    "no_stopping": _no_stopping,
    "ahead_only": _ahead_only,
    "turn_left": _turn(-1),
    "turn_right": _turn(1),
    "roundabout": _roundabout,
    "pedestrian_crossing": _crossing,
    "road_works": _road_works,
    "traffic_signals": _traffic_signals,
}

CLASSES: tuple[str, ...] = tuple(_FACES)


@cache
def sign_face(label: int) -> tuple[Layer, ...]:
    """Draw class ``label`` (an index of ``CLASSES``), 256 to 32 pixels wide, largest first."""
    # The unit circle leaves a little air, so that antialiased edges stay inside the picture.
    pen = Pen(1024, 1024, px_per_unit=FACE_RADIUS * 512, origin_px=(512, 512))
    _FACES[CLASSES[label]](pen)
    return pen.layers(256, 256, levels=4)
