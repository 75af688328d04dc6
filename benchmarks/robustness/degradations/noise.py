"""Noise of the sensor and of the encoder, each on `(H, W, 3)` uint8 RGB frames.

Each function returns `(H, W, 3)` float32 in [0, 1], not rounded (JPEG apart, whose decoder rounds).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "EXPOSURE_STOPS",
    "FULL_SCALE_ELECTRONS",
    "IMPULSE_SHARES",
    "JPEG_QUALITIES",
    "READ_NOISE_ELECTRONS",
    "SHOT_PHOTONS",
    "SPECKLE_SIGMAS",
    "gaussian",
    "impulse",
    "jpeg",
    "low_light",
    "shot",
    "speckle",
    "to_linear",
    "to_srgb",
]

Frame = NDArray[np.uint8]
Image = NDArray[np.float32]

# ImageNet-C (Hendrycks and Dietterich 2019), severity 1 to 5.
SHOT_PHOTONS = (60.0, 25.0, 12.0, 5.0, 3.0)
"""Photons of a white pixel."""
IMPULSE_SHARES = (0.03, 0.06, 0.09, 0.17, 0.27)
"""Share of the values, channel by channel, that become 0 or 1."""
SPECKLE_SIGMAS = (0.15, 0.2, 0.35, 0.45, 0.6)
"""Standard deviation as a share of the value."""
JPEG_QUALITIES = (25, 18, 15, 10, 7)
"""Quality on libjpeg's scale."""

# Ours: a small sensor pixel at moderate gain, losing one stop of light per severity.
EXPOSURE_STOPS = (1, 2, 3, 4, 5)
"""Stops of light that are missing: the exposure is `2 ** -stops`."""
FULL_SCALE_ELECTRONS = 2000.0
"""Electrons of a white pixel at full exposure."""
READ_NOISE_ELECTRONS = 5.0
"""Standard deviation of the read-out."""


def gaussian(pixels: Frame, sigma: float, random: np.random.Generator) -> Image:
    """Adds normal noise in [0, 1] and clamps: the blog's float pipeline.

    Draws the same numbers as `blurvote.runtime.demo.scenes.add_noise`, which delivers 8 bits.
    """
    noisy = random.standard_normal(pixels.shape, dtype=np.float32) * np.float32(sigma)
    return np.asarray(np.clip(noisy + _unit(pixels), 0, 1), np.float32)


def shot(pixels: Frame, severity: int, random: np.random.Generator) -> Image:
    """Counts photons: Poisson with `SHOT_PHOTONS` for a white pixel; the variance is `x / c`."""
    photons = SHOT_PHOTONS[severity - 1]
    return _clamped(random.poisson(_unit(pixels) * photons) / photons)


def impulse(pixels: Frame, severity: int, random: np.random.Generator) -> Image:
    """Salt and pepper: a share of the values becomes 0 or 1, either with probability 1/2."""
    share = IMPULSE_SHARES[severity - 1]
    draw = random.random(pixels.shape, dtype=np.float32)
    clean = _unit(pixels)
    return np.where(draw < share / 2, np.float32(0), np.where(draw < share, np.float32(1), clean))


def speckle(pixels: Frame, severity: int, random: np.random.Generator) -> Image:
    """Noise in proportion to the value: `x + x n`, n normal."""
    clean = _unit(pixels)
    draw = random.standard_normal(pixels.shape, dtype=np.float32)
    return _clamped(clean + clean * draw * np.float32(SPECKLE_SIGMAS[severity - 1]))


def jpeg(pixels: Frame, quality: int) -> Image:
    """Encodes and decodes by OpenCV's libjpeg, chroma at half resolution (4:2:0)."""
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None  # what imencode wrote, imdecode reads
    return _unit(np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8))


def low_light(pixels: Frame, severity: int, random: np.random.Generator) -> Image:
    """An exposure too short for the light, with no gain to make up for it.

    With `L` the linear light of the sRGB value (IEC 61966-2-1) and `W` the electrons of a white
    pixel at full exposure, the sensor reads

        `electrons = Poisson(L * 2 ** -stops * W) + Normal(0, read noise)`

    and the frame is `electrons / W`, clamped at black and encoded as sRGB again: the usual model of
    a raw sensor (Foi et al. 2008, *Practical Poissonian-Gaussian noise modeling*). Each channel is
    a sensor of its own: no colour filter array, no dark current, no noise reduction.
    """
    light = to_linear(_unit(pixels)) * (FULL_SCALE_ELECTRONS * 2.0 ** -EXPOSURE_STOPS[severity - 1])
    electrons = random.poisson(light) + random.normal(0, READ_NOISE_ELECTRONS, light.shape)
    return np.asarray(to_srgb(np.clip(electrons / FULL_SCALE_ELECTRONS, 0, 1)), np.float32)


def to_linear(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Linear light of sRGB values, both in [0, 1] (IEC 61966-2-1)."""
    values = np.asarray(values, np.float64)
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def to_srgb(light: NDArray[np.floating]) -> NDArray[np.float64]:
    """sRGB values of linear light, both in [0, 1] (IEC 61966-2-1)."""
    light = np.asarray(light, np.float64)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _unit(pixels: Frame) -> Image:
    return np.asarray(pixels / np.float32(255), np.float32)


def _clamped(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values, 0, 1), np.float32)
