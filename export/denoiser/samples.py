"""Training pairs: a frame with noise, resized as the view kernel does, and the same without noise.

The noise is added at the frame's own resolution and rounded to 8 bits before the resize, as in a
camera. A resize averages noise: each grid pixel is a weighted sum of frame pixels, so white noise
of level `sigma` arrives with `sigma` times the root of the sum of the squared weights, which is
known exactly, and its neighbours are correlated, which the network has to learn.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from blurvote.export.reference import resize_matrix
from blurvote.runtime.noise import GAUSSIAN_PER_RESPONSE, laplacian_difference

__all__ = ["PATCH", "Batch", "draw_batch"]

PATCH = 96  # side of a training patch on the grid, in pixels
_MARGIN = 2  # grid pixels left out at each end, where the resize is cut at the border
_LARGEST_SIGMA = 0.5
_SHOT, _IMPULSE = 0.1, 0.05  # shares of batches with noise other than Gaussian
_STREAM = 41

Images = NDArray[np.float32]
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def draw_batch(
    frames: NDArray[np.uint8], seed: int, step: int, count: int, fixed: float | None = None
) -> Batch:
    """Draw the batch of one training step; the same for the same seed and step.

    Args:
        frames: `(K, 3, S, S)` uint8, to cut from.
        count: pairs, `B`.
        fixed: noise of this level alone, Gaussian and told exactly; None draws levels and kinds.

    Returns:
        Noisy images `(B, 3, PATCH, PATCH)` float32 in [0, 1], the levels `(B, 1)` that the network
        is told, and the clean images.
    """
    rng = np.random.default_rng([_STREAM, seed, step])
    # From enlarging a little to a 4K camera on a small grid; most often a few pixels to one.
    scale = float(np.exp(np.clip(rng.normal(np.log(1.5), 0.5), np.log(0.7), np.log(4.8))))
    resized = PATCH + 2 * _MARGIN
    size = min(round(resized * scale), frames.shape[2])
    matrix = resize_matrix(size, resized, "bilinear", antialias=True)[_MARGIN:-_MARGIN]
    weights = matrix.astype(np.float32)
    gain = float((matrix**2).sum(axis=1).mean())  # of both axes: root of gain times root of gain

    clean = np.empty((count, 3, size, size), np.float32)
    for image in clean:
        np.multiply(_cut(rng, frames, size), np.float32(1 / 255), out=image)
    kind, drawn = 1.0, np.full((count, 1, 1, 1), fixed or 0.0)
    if fixed is None:
        kind, drawn = rng.random(), rng.uniform(0.01, _LARGEST_SIGMA, (count, 1, 1, 1))
    sigmas = np.asarray(drawn, np.float32)
    if kind < _SHOT:
        noisy = _shot(clean, sigmas, rng)
    elif kind < _SHOT + _IMPULSE:
        noisy, sigmas = _impulse(clean, sigmas, rng)
    else:
        noisy = np.asarray(rng.standard_normal(clean.shape, np.float32))
        noisy *= sigmas
        noisy += clean
    noisy *= 255
    np.rint(noisy, out=noisy)
    np.clip(noisy, 0, 255, out=noisy)
    noisy *= np.float32(1 / 255)
    levels = np.float32(gain) * sigmas[:, :, 0, 0]
    if fixed is None:  # what the estimator says is never exact
        levels *= np.exp(rng.normal(0, 0.05, levels.shape))
    told = torch.from_numpy(levels.astype(np.float32))
    return _resize(noisy, weights), told, _resize(clean, weights)


def _cut(rng: np.random.Generator, frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square of a frame, turned and mirrored at random: `(3, size, size)`."""
    frame = frames[rng.integers(len(frames))]
    top, left = rng.integers(frame.shape[1] - size + 1, size=2)
    square = frame[:, top : top + size, left : left + size]
    square = np.rot90(square, int(rng.integers(4)), axes=(1, 2))
    return np.asarray(square[:, :, ::-1] if rng.random() < 0.5 else square)


def _resize(images: Images, weights: Images) -> torch.Tensor:
    """`(B, 3, n, n)` to `(B, 3, m, m)` by the `(m, n)` weights along both axes."""
    return torch.from_numpy(weights @ (images @ weights.T))


def _shot(clean: Images, sigmas: Images, rng: np.random.Generator) -> Images:
    """Noise whose variance grows with the light, of RMS `sigmas` in the mean over each image."""
    light = clean + np.float32(0.02)
    per_light = sigmas / np.sqrt(light.mean(axis=(1, 2, 3), keepdims=True))
    drawn = rng.standard_normal(clean.shape, np.float32)
    return np.asarray(clean + drawn * per_light * np.sqrt(light))


def _impulse(clean: Images, sigmas: Images, rng: np.random.Generator) -> tuple[Images, Images]:
    """Samples driven to black or white; its level is what the noise estimate reads of it."""
    drawn = rng.random(clean.shape, np.float32)
    noisy = np.where(drawn < sigmas / 4, np.float32(0), clean)
    noisy = np.where(drawn > 1 - sigmas / 4, np.float32(1), noisy)
    response = np.abs(laplacian_difference(noisy - clean))
    read = GAUSSIAN_PER_RESPONSE * response.mean(axis=(1, 2, 3), keepdims=True)
    return noisy, read
