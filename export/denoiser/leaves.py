"""Dead-leaves images: what the denoiser is trained on, instead of photographs.

Shapes whose radii follow a power law hide each other until the plane is covered. Such images have
the edges, the flat parts and the scale invariance of photographs, and train denoisers nearly as
well (Achddou, Gousseau, Ladjal: Synthetic images as a regularity prior for image restoration
neural networks, SSVM 2021). What they lack, ours are given: textures, shading across each shape,
thin lines, and a foreground before a background that is out of focus.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.export.denoiser.textures import texture

__all__ = ["dead_leaves"]

Image = NDArray[np.uint8]
Canvas = NDArray[np.float32]

_FINE = 16  # 1 / 16 pixel: fixed point of OpenCV's drawing
_MATERIALS = 6
_STREAM = 40


def dead_leaves(seed: int, number: int, side: int = 512) -> Image:
    """Draw image `number` of a seed.

    Returns:
        `(3, side, side)` uint8 RGB.
    """
    rng = np.random.default_rng([_STREAM, seed, number])
    canvas, _ = _layer(rng, side, cover=rng.uniform(0.5, 3.0))
    if rng.random() < 0.5:
        cv2.GaussianBlur(canvas, (0, 0), float(np.exp(rng.uniform(0.3, 2.3))), canvas)
        front, mask = _layer(rng, side, cover=rng.uniform(0.1, 0.8))
        canvas += mask[:, :, None] * (front - canvas)
    focus = float(rng.choice([0.0, 0.5, 0.8, 1.5], p=[0.5, 0.25, 0.2, 0.05]))
    if focus:
        cv2.GaussianBlur(canvas, (0, 0), focus, canvas)
    canvas += (_shading(rng, side, 15) + rng.gamma(1.0, 2.5) * texture(rng, side))[:, :, None]
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _layer(rng: np.random.Generator, side: int, cover: float) -> tuple[Canvas, Canvas]:
    """Leaves over a ground, `(side, side, 3)` grey levels, and where they are, `(side, side)`."""
    canvas = np.empty((side, side, 3), np.float32)
    material = np.full((side, side), rng.integers(_MATERIALS), np.uint8)
    mask = np.zeros((side, side), np.float32)
    palette = _palette(rng)
    canvas[:] = palette[0]
    smallest = float(np.exp(rng.uniform(np.log(2), np.log(60))))
    largest = side * rng.uniform(0.2, 0.6)
    area = np.pi * smallest**2 * np.log(largest / smallest)  # about the mean of a shape's
    count = int(np.clip(cover * side**2 / area, 3, 10000))
    radii = _power_law(rng, smallest, largest, count)
    centres = rng.uniform(-0.1 * side, 1.1 * side, (count, 2))
    colours = palette[rng.integers(len(palette), size=count)]
    colours = colours + rng.normal(0, rng.uniform(2, 20), (count, 1)) + rng.normal(0, 3, (count, 3))
    # Photographs have smooth parts: what has seen none leaves noise in skies.
    materials = rng.integers(1, _MATERIALS, size=count) * (rng.random(count) < rng.uniform(0.2, 1))
    straight = rng.uniform(0, 0.8)  # share of polygons
    for radius, centre, colour, kind in zip(radii, centres, colours, materials, strict=True):
        outline = _outline(rng, radius, centre, rng.random() < straight)
        cv2.fillPoly(canvas, [outline], colour.tolist(), cv2.LINE_AA, shift=4)
        cv2.fillPoly(material, [outline], int(kind), cv2.LINE_8, shift=4)
        cv2.fillPoly(mask, [outline], 1.0, cv2.LINE_AA, shift=4)
    for kind in range(_MATERIALS):
        light = _shading(rng, side, 40)
        if kind:  # 0 stays smooth
            light += rng.lognormal(np.log(18.0), 0.8) * texture(rng, side)
        tint = 1 + rng.normal(0, 0.15, 3)
        canvas += (light * (material == kind))[:, :, None] * tint.astype(np.float32)
    if rng.random() < 0.5:
        _lines(rng, canvas, palette)
    return canvas, mask


def _palette(rng: np.random.Generator) -> NDArray[np.float64]:
    """`(K, 3)`: colours of one image: its own lightness and tint, mostly muted."""
    count = int(rng.integers(3, 12))
    lightness = rng.uniform(40, 215) + rng.normal(0, rng.uniform(20, 80), (count, 1))
    hue = 0.7 * rng.normal(0, 1, 3) + rng.normal(0, 1, (count, 3))
    hue -= hue.mean(axis=1, keepdims=True)
    return np.asarray(lightness + rng.normal(0, 8, (1, 3)) + hue * rng.gamma(0.9, 12.0, (count, 1)))


def _power_law(
    rng: np.random.Generator, smallest: float, largest: float, count: int
) -> NDArray[np.float64]:
    """Radii of density r^-3 between two bounds: the law that makes the image scale invariant."""
    low, high = smallest**-2, largest**-2
    return np.asarray((low - rng.random(count) * (low - high)) ** -0.5)


def _outline(
    rng: np.random.Generator, radius: float, centre: NDArray[np.float64], straight: bool
) -> NDArray[np.int32]:
    """`(K, 1, 2)` corners of a rounded shape or a polygon, turned and stretched, 1/16 pixels."""
    if straight:
        corners = int(rng.integers(3, 7))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        lengths = np.full(corners, radius)
    else:
        angles = np.linspace(0, 2 * np.pi, int(np.clip(3 * radius, 8, 48)), endpoint=False)
        lobes, depth = rng.integers(2, 7), rng.uniform(0, 0.3)
        lengths = radius * (1 + depth * np.sin(lobes * angles + rng.uniform(0, 6)))
    points = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points[:, 1] *= rng.uniform(0.15, 1.0)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = points @ rotation.T + centre
    return np.asarray(np.rint(_FINE * turned)[:, None], np.int32)


def _lines(rng: np.random.Generator, canvas: Canvas, palette: NDArray[np.float64]) -> None:
    """Twigs, wires, whiskers: thin curves over everything."""
    side = len(canvas)
    for _ in range(int(rng.integers(1, 40))):
        steps = rng.normal(0, 0.12, 30).cumsum() + rng.uniform(0, 2 * np.pi)
        strides = rng.uniform(2, 12) * np.stack([np.cos(steps), np.sin(steps)], axis=1)
        points = np.rint(_FINE * (rng.uniform(0, side, 2) + strides.cumsum(axis=0)))
        colour = palette[rng.integers(len(palette))] + rng.normal(0, 15)
        thickness = int(rng.integers(1, 5))
        cv2.polylines(
            canvas,
            [points[:, None].astype(np.int32)],
            False,
            colour.tolist(),
            thickness,
            cv2.LINE_AA,
            shift=4,
        )


def _shading(rng: np.random.Generator, side: int, strongest: float) -> Canvas:
    """A smooth change of light over the whole image, in grey levels."""
    coarse = rng.normal(0, rng.uniform(0, strongest), (5, 5)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))
