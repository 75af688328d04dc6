"""What scenes are composed from: sky and skyline, the ground from above, and a stock of objects.

Two stocks exist. Training scenes take from ``training_stock``, the clip from ``held_out_stock``:
other kinds of trees and houses, other palettes, skylines and weathers, so that the clip shows a
place which the classifier has never seen. Lengths are metres: x to the right of the camera, z
along the road.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from blurvote.runtime.demo import plants, sprites
from blurvote.runtime.demo.pen import Colour, Pixels, fractal, mixed, tinted, to_u8
from blurvote.runtime.demo.sprites import Sprite

Floats = npt.NDArray[np.float32]

GROUND_LEFT_M = -14.0
GROUND_WIDTH_M = 34.0
GROUND_LENGTH_M = 24.0
"""The ground repeats after this many metres along the road."""
GROUND_PX_PER_M = 20
"""Across the road; along it the camera looks at a grazing angle and needs far fewer."""
GROUND_ROWS_PER_M = 6


@dataclass(frozen=True)
class Weather:
    """Colours of the air; ``clouds`` in [0, 1]; ``gain`` and ``cast`` scale the whole picture."""

    zenith: Colour
    horizon: Colour
    clouds: float
    gain: float
    cast: tuple[float, float, float]


@dataclass(frozen=True)
class Stock:
    """One set of things to compose scenes from.

    tall, low: objects at any distance, and small ones that may stand near the road.
    grounds: (length, width, 3) uint8 RGB each, seen from above, row 0 nearest.
    clouds: (h, w) float32 of mean 0 and deviation 1.
    ridges: colours of the skyline; ``peaks`` says how pointed it is, 0 is rolling hills.
    """

    tall: tuple[Sprite, ...]
    low: tuple[Sprite, ...]
    grounds: tuple[Pixels, ...]
    clouds: Floats
    weathers: tuple[Weather, ...]
    ridges: tuple[Colour, ...]
    peaks: float


def _ground(rng: np.random.Generator, grass: Colour, pavement: Colour) -> Pixels:
    """Paint the road, its lines, the pavement and the grass: (rows, columns, 3) uint8."""
    rows = round(GROUND_LENGTH_M * GROUND_ROWS_PER_M)
    columns = round(GROUND_WIDTH_M * GROUND_PX_PER_M)
    # Fade the end of the noise into its start: the ground repeats along the road.
    lap = rows // 4
    tufts = fractal(rng, rows + lap, columns, 16)
    fade = np.linspace(0, 1, lap, dtype=np.float32)[:, None]
    tufts[:lap] = tufts[:lap] * fade + tufts[rows:] * (1 - fade)
    picture = np.empty((rows, columns, 3), np.float32)
    picture[:] = grass
    picture *= (1 + 0.12 * tufts[:rows])[..., None]
    grain = 1 + 0.05 * fractal(rng, rows, columns, 2)[..., None]

    def strip(left_m: float, right_m: float, colour: Colour) -> slice:
        start, stop = (round((x - GROUND_LEFT_M) * GROUND_PX_PER_M) for x in (left_m, right_m))
        picture[:, start:stop] = np.asarray(colour, np.float32) * grain[:, start:stop]
        return slice(start, stop)

    asphalt = tinted((104, 104, 108), float(rng.uniform(0.75, 1.15)))
    right, left = float(rng.uniform(1.3, 1.6)), float(rng.uniform(-5.2, -4.6))
    walk = strip(right, right + float(rng.uniform(1.6, 2.4)), pavement)
    picture[:: GROUND_ROWS_PER_M * 2, walk] *= 0.88
    strip(left - 1.2, left, tinted(grass, 0.82))
    strip(left, right, asphalt)
    for edge in (left, right):
        strip(edge - 0.08, edge + 0.1, tinted(pavement, 1.12))
    for x in (left + 0.3, right - 0.4):
        strip(x, x + 0.14, (224, 224, 218))
    centre = (left + right) / 2
    middle = strip(centre - 0.07, centre + 0.07, (224, 224, 218))
    for start in range(0, rows, rows // 4):
        gap = slice(start, start + rows // 8)
        picture[gap, middle] = np.asarray(asphalt, np.float32) * grain[gap, middle]
    return to_u8(picture)


def draw_backdrop(
    stock: Stock,
    weather: Weather,
    rng: np.random.Generator,
    *,
    width: int,
    height: int,
    horizon_row: float,
) -> Pixels:
    """Draw sky and skyline, with haze below the horizon: (height, width, 3) uint8 RGB."""
    depth = np.clip(np.arange(height, dtype=np.float32) / max(1.0, horizon_row), 0, 1)
    zenith, horizon = (np.asarray(c, np.float32) for c in (weather.zenith, weather.horizon))
    sky = zenith + (horizon - zenith) * (depth**1.4)[:, None, None]
    # Clouds: a window of the stock's noise, twice as wide as it was, as clouds near the horizon.
    rows, columns = (int(side * rng.uniform(0.7, 0.95)) for side in (height, width / 2))
    top, left = (
        int(rng.integers(side - taken + 1))
        for side, taken in zip(stock.clouds.shape, (rows, columns), strict=True)
    )
    noise = stock.clouds[top : top + rows, left : left + columns]
    cover = cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = np.clip((cover + 2.6 * weather.clouds - 1.5) * 0.55, 0, 0.9)[..., None]
    white = np.minimum(255, horizon * 0.5 + 132)
    picture = to_u8(sky + (white - sky) * cover)
    columns_m = np.arange(width + 1)
    for rise, haze in ((rng.uniform(18, 46), 0.68), (rng.uniform(6, 22), 0.38)):
        ridge = stock.ridges[int(rng.integers(len(stock.ridges)))]
        shape = _ridge(rng, width + 1, stock.peaks)
        line = np.stack([columns_m, horizon_row + 2 - rise * shape], axis=1)
        corners = np.concatenate([line, [[width, height], [0, height]]])
        fixed = np.rint(corners * 16).astype(np.int32)
        cv2.fillPoly(picture, [fixed], mixed(ridge, weather.horizon, haze), cv2.LINE_AA, 4)
    return picture


def _ridge(rng: np.random.Generator, length: int, peaks: float) -> Floats:
    """Height of a skyline along the picture: (length,) float32 in about [0.2, 1.4]."""
    slow = fractal(rng, 1, length, 128)[0] * 0.25 + 0.6
    if peaks == 0:
        return np.asarray(slow + 0.04 * fractal(rng, 1, length, 4)[0], np.float32)
    knots = np.arange(0, length + 40, 26)
    tops = rng.uniform(-1, 1, len(knots)) * np.where(np.arange(len(knots)) % 2, 1, -0.4)
    return np.asarray(slow + peaks * np.interp(np.arange(length), knots, tops), np.float32)


def _many(
    rng: np.random.Generator, makers: Sequence[tuple[Callable[[np.random.Generator], Sprite], int]]
) -> tuple[Sprite, ...]:
    return tuple(make(rng) for make, count in makers for _ in range(count))


@cache
def training_stock() -> Stock:
    """Make the things that training scenes show: a leafy suburb of blocks and firs."""
    rng = np.random.default_rng(20250)
    grass: Sequence[Colour] = ((84, 112, 56), (98, 120, 66), (72, 100, 60), (112, 118, 72))
    pavement: Sequence[Colour] = ((150, 148, 144), (168, 160, 150), (136, 136, 138))
    return Stock(
        tall=_many(
            rng,
            [(plants.round_tree, 7), (plants.conifer, 5), (sprites.block, 8), (sprites.lamp, 2)],
        ),
        low=_many(rng, [(plants.bush, 4), (sprites.board, 5), (sprites.car, 6)]),
        grounds=tuple(_ground(rng, grass[k % 4], pavement[k % 3]) for k in range(8)),
        clouds=fractal(rng, 512, 512, 128),
        weathers=(
            Weather((72, 132, 206), (192, 216, 236), 0.4, 1.0, (1.0, 1.0, 1.0)),
            Weather((165, 172, 182), (206, 209, 213), 0.8, 0.86, (0.98, 1.0, 1.03)),
            Weather((112, 122, 172), (244, 192, 142), 0.45, 0.82, (1.07, 0.98, 0.88)),
            Weather((62, 76, 122), (150, 140, 160), 0.4, 0.66, (0.93, 0.97, 1.1)),
        ),
        ridges=((88, 112, 88), (96, 104, 112), (70, 96, 74)),
        peaks=0.0,
    )


@cache
def held_out_stock() -> Stock:
    """Make the things that only the clip shows: a mountain village of gables and poplars."""
    rng = np.random.default_rng(71993)
    grass: Sequence[Colour] = ((126, 134, 62), (92, 124, 74))
    pavement: Sequence[Colour] = ((176, 156, 138), (158, 158, 162))
    return Stock(
        tall=_many(rng, [(plants.poplar, 6), (sprites.gabled, 7), (sprites.utility_pole, 2)]),
        low=_many(rng, [(plants.bush, 4), (sprites.board, 2), (sprites.car, 5)]),
        grounds=tuple(_ground(rng, grass[k % 2], pavement[k % 2]) for k in range(4)),
        clouds=fractal(rng, 512, 512, 64),
        weathers=(
            Weather((112, 162, 216), (248, 228, 198), 0.45, 0.97, (1.03, 1.0, 0.95)),
            Weather((48, 114, 200), (172, 206, 240), 0.3, 1.03, (1.0, 1.0, 1.0)),
            Weather((184, 196, 206), (222, 224, 224), 0.6, 0.92, (0.99, 1.0, 1.02)),
            Weather((94, 98, 146), (228, 166, 128), 0.5, 0.74, (1.08, 0.97, 0.92)),
        ),
        ridges=((98, 108, 134), (112, 116, 128), (84, 104, 112)),
        peaks=0.4,
    )
