"""Dead-leaves images: what the denoiser is trained on, instead of photographs.

Shapes whose radii follow a power law hide each other until the plane is covered. Such images have
the edges, the flat parts and the scale invariance of photographs, and train denoisers nearly as
well (Achddou, Gousseau, Ladjal: Synthetic images as a regularity prior for image restoration
neural networks, SSVM 2021). Ours carry textures and shading, too, because a denoiser that has only
seen flat leaves flattens what it does not know; and many stay flat, because one that has seen none
leaves noise in the sky.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["dead_leaves"]

Image = NDArray[np.uint8]

_FINE = 16  # 1 / 16 pixel: fixed point of OpenCV's drawing
_TEXTURES = 6
_STREAM = 40


def dead_leaves(seed: int, number: int, side: int = 512) -> Image:
    """Draw image `number` of a seed.

    Returns:
        `(3, side, side)` uint8 RGB.
    """
    rng = np.random.default_rng([_STREAM, seed, number])
    canvas = np.empty((side, side, 3), np.float32)
    texture = np.zeros((side, side), np.uint8)
    palette = _palette(rng)
    canvas[:] = palette[0]
    smallest = float(np.exp(rng.uniform(np.log(2), np.log(40))))
    count = int(rng.uniform(1.0, 2.5) * 9000 / smallest)
    radii = _power_law(rng, smallest, side * rng.uniform(0.2, 0.6), count)
    centres = rng.uniform(-0.1 * side, 1.1 * side, (count, 2))
    colours = palette[rng.integers(len(palette), size=count)]
    colours = colours + rng.normal(0, rng.uniform(2, 25), (count, 1)) + rng.normal(0, 6, (count, 3))
    # Photographs have large smooth parts: what has a texture everywhere leaves noise in skies.
    textures = rng.integers(1, _TEXTURES, size=count) * (rng.random(count) < rng.uniform(0, 0.6))
    straight = rng.uniform(0, 0.8)  # share of polygons
    for radius, centre, colour, kind in zip(radii, centres, colours, textures, strict=True):
        outline = _outline(rng, radius, centre, rng.random() < straight)
        cv2.fillPoly(canvas, [outline], colour.tolist(), cv2.LINE_AA, shift=4)
        cv2.fillPoly(texture, [outline], int(kind), cv2.LINE_8, shift=4)
    canvas += _shading(rng, side)[:, :, None]
    for kind in range(1, _TEXTURES):  # kind 0 stays flat
        strength = rng.lognormal(np.log(6.0), 0.9)
        field = _grating(rng, side) if kind == 1 else _cloud(rng, side)
        canvas += (strength * field * (texture == kind))[:, :, None]
    focus = float(rng.choice([0.0, 0.5, 0.8, 1.5], p=[0.45, 0.25, 0.2, 0.1]))
    if focus:
        cv2.GaussianBlur(canvas, (0, 0), focus, canvas)
    pixels = np.clip(np.rint(canvas), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _palette(rng: np.random.Generator) -> NDArray[np.float64]:
    """`(K, 3)`: colours of one image, mostly muted, of all lightnesses."""
    count = int(rng.integers(3, 12))
    lightness = 255 * rng.beta(1.1, 1.3, (count, 1))
    hue = rng.normal(0, 1, (count, 3))
    hue -= hue.mean(axis=1, keepdims=True)
    tint = rng.normal(0, 12, (1, 3))
    return np.asarray(lightness + tint + hue * rng.gamma(1.2, 14.0, (count, 1)))


def _power_law(
    rng: np.random.Generator, smallest: float, largest: float, count: int
) -> NDArray[np.float64]:
    """Radii of density r^-3 between two bounds: the law that makes the image scale invariant."""
    low, high = smallest**-2, largest**-2
    return np.asarray((low - rng.random(count) * (low - high)) ** -0.5)


def _outline(
    rng: np.random.Generator, radius: float, centre: NDArray[np.float64], straight: bool
) -> NDArray[np.int32]:
    """`(K, 1, 2)` corners of an ellipse or a polygon, turned and stretched, in 1/16 pixels."""
    if straight:
        corners = int(rng.integers(3, 7))
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    else:
        angles = np.linspace(0, 2 * np.pi, int(np.clip(3 * radius, 8, 48)), endpoint=False)
    points = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points[:, 1] *= rng.uniform(0.3, 1.0)
    turn = rng.uniform(0, np.pi)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    turned = points @ rotation.T + centre
    return np.asarray(np.rint(_FINE * turned)[:, None], np.int32)


def _shading(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """A smooth change of light over the whole image."""
    coarse = rng.normal(0, rng.uniform(0, 25), (4, 4)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC))


def _grating(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Stripes of one direction and wavelength, round or sharp, of unit variance."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn, wavelength = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(4), np.log(40)))
    bend = 3 * _cloud(rng, side) * rng.random()
    phase = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / wavelength + bend
    wave = np.sin(phase) * 2**0.5
    return np.asarray(np.sign(wave) if rng.random() < 0.3 else wave, np.float32)


def _cloud(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Noise of power spectrum 1 / f^2a, of unit variance: fur, grass, sand, sky."""
    noise = rng.standard_normal((side, side), np.float32)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    stretch = np.exp(rng.uniform(-1.2, 1.2))
    frequency = np.sqrt((fy * stretch) ** 2 + (fx / stretch) ** 2)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(noise) * frequency ** -rng.uniform(0.8, 1.8)
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, (side, side))
    return np.asarray(field / field.std(), np.float32)
