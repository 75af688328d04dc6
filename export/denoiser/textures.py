"""What the surfaces of a drawn image look like: fields of texture, of unit variance.

Each is a kind of pattern that classifiers know things by and that a denoiser must not take for
noise: fur and grass, foliage, scales and pebbles, stripes and weave, sand and cloud.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["texture"]

Field = NDArray[np.float32]


def texture(rng: np.random.Generator, side: int) -> Field:
    """Draw one kind of texture: `(side, side)` float32, mean 0, variance 1."""
    field = _KINDS[rng.choice(len(_KINDS), p=_SHARES)](rng, side)
    if rng.random() < 0.3:  # patchy: a texture is seldom equally strong everywhere
        field = field * np.maximum(0, 1 + _cloud(rng, side, slope=2.0))
    return np.asarray((field - field.mean()) / (field.std() + 1e-6), np.float32)


def _cloud(rng: np.random.Generator, side: int, slope: float | None = None) -> Field:
    """Noise whose amplitude falls with a power of the frequency, stretched one way."""
    noise = rng.standard_normal((side, side), np.float32)
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    stretch, turn = np.exp(rng.uniform(0, 1.2)), rng.uniform(0, np.pi)
    along, across = fx * np.cos(turn) + fy * np.sin(turn), fy * np.cos(turn) - fx * np.sin(turn)
    frequency = np.sqrt((along * stretch) ** 2 + (across / stretch) ** 2)
    frequency[0, 0] = 1.0
    spectrum = np.fft.rfft2(noise) * frequency ** -(slope or rng.uniform(0.6, 1.8))
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, (side, side))
    return np.asarray(field / field.std(), np.float32)


def _strands(rng: np.random.Generator, side: int) -> Field:
    """Fur, hair and grass: grains smeared along a flow (line integral convolution)."""
    turn = rng.uniform(0, np.pi) + rng.uniform(0.1, 1.2) * _cloud(rng, side, slope=2.0)
    dx, dy = np.cos(turn).astype(np.float32), np.sin(turn).astype(np.float32)
    y, x = np.mgrid[:side, :side].astype(np.float32)
    grain = float(np.exp(rng.uniform(np.log(0.6), np.log(2.5))))
    grains = _blurred(rng.standard_normal((side, side), np.float32), grain)
    total, stride = grains.copy(), np.float32(grain)
    steps = int(rng.integers(4, 12))
    ahead, behind = (x.copy(), y.copy()), (x.copy(), y.copy())
    for k in range(steps):
        for (u, v), sign in ((ahead, 1), (behind, -1)):
            u += sign * stride * dx
            v += sign * stride * dy
            fade = np.float32(1 - k / steps)
            smear = cv2.remap(grains, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            total += np.asarray(fade * smear, np.float32)
    return np.asarray(total, np.float32)


def _foliage(rng: np.random.Generator, side: int) -> Field:
    """Small leaves over each other: dead leaves inside a dead leaf."""
    field = np.zeros((side, side), np.float32)
    size = float(np.exp(rng.uniform(np.log(1.5), np.log(6))))
    count = int(1.3 * (side / size) ** 2 / 3)
    centres = (16 * rng.uniform(0, side, (count, 2))).astype(int)
    axes = (16 * size * rng.uniform(0.4, 2.0, (count, 2))).astype(int)
    turns, shades = rng.uniform(0, 180, count), rng.standard_normal(count)
    for centre, axis, turn, shade in zip(centres, axes, turns, shades, strict=True):
        corners = cv2.ellipse2Poly(centre.tolist(), axis.tolist(), int(turn), 0, 360, 45)
        points = np.asarray(corners, np.int32)
        cv2.fillConvexPoly(field, points, [float(shade)], cv2.LINE_AA, shift=4)
    return field


def _cells(rng: np.random.Generator, side: int) -> Field:
    """Scales, pebbles, cracks: the distance from the nearest of scattered points or lines."""
    spacing = np.exp(rng.uniform(np.log(4), np.log(30)))
    seeds = (rng.random((side, side)) >= 1 / spacing**2).astype(np.uint8)
    distance = cv2.distanceTransform(seeds, cv2.DIST_L2, 5)
    power = rng.uniform(0.5, 2.0)
    return np.asarray((distance / distance.mean()) ** power, np.float32)


def _grating(rng: np.random.Generator, side: int) -> Field:
    """Stripes or a weave of them, of one wavelength, round or sharp, bent a little."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn, wavelength = rng.uniform(0, np.pi), np.exp(rng.uniform(np.log(3), np.log(40)))
    bend = rng.uniform(0, 4) * _cloud(rng, side, slope=2.0)
    phase = 2 * np.pi * (x * np.cos(turn) + y * np.sin(turn)) / wavelength + bend
    wave = np.sin(phase)
    if rng.random() < 0.4:
        phase = 2 * np.pi * (y * np.cos(turn) - x * np.sin(turn)) / wavelength + bend
        wave = wave * np.sin(phase) if rng.random() < 0.5 else np.maximum(wave, np.sin(phase))
    return np.asarray(np.tanh(rng.choice([0.5, 2.0, 10.0]) * wave), np.float32)


def _grains(rng: np.random.Generator, side: int) -> Field:
    """Sand, gravel, spots: small blobs with a threshold."""
    noise = rng.standard_normal((side, side), np.float32)
    field = _blurred(noise, float(np.exp(rng.uniform(-0.3, 1.6))))
    field /= field.std()
    return np.asarray(np.tanh(4 * (field - rng.uniform(-1, 1))), np.float32)


def _blurred(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), np.float32)


_KINDS = (_cloud, _strands, _foliage, _cells, _grating, _grains)
_SHARES = (0.3, 0.22, 0.18, 0.12, 0.1, 0.08)
