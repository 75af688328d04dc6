"""The views of noisy frames once more, in NumPy and float64: what the graphs must match."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blurvote.export.denoiser.loading import Reference
from blurvote.export.reference import blur_matrix, view_matrices
from blurvote.runtime.defense import Defense
from blurvote.runtime.noise import SEGMENT, estimate_noise
from blurvote.runtime.views import ViewBuilder

__all__ = ["noise_estimate", "noise_gain", "noisy_views"]

Float64 = NDArray[np.float64]


def noise_gain(defense: Defense, height: int, width: int) -> float:
    """What white noise of a frame is multiplied by on its way to the clean view.

    A pixel of the view is a weighted sum of frame pixels, so its noise has the root of the sum of
    the squared weights; this is the root mean square over the view.

    Raises:
        DefenseError: frames of that size cannot be served.
    """
    matrices = view_matrices(defense, height, width)
    clean = defense.passes.index(0)
    per_axis = [(axis[clean] ** 2).sum(axis=1).mean() for axis in (matrices.rows, matrices.cols)]
    return float(np.sqrt(per_axis[0] * per_axis[1]))


def noise_estimate(defense: Defense, frame: NDArray[np.uint8]) -> float:
    """The noise level of an RGB frame where the clean view reads it, in [0, 1]; NaN without one.

    Raises:
        DefenseError: frames of that size cannot be served.
    """
    rows, begin, segments = ViewBuilder(defense).noise_grid(*frame.shape[:2])
    columns = (begin, begin + SEGMENT * segments + 2)
    level = estimate_noise(frame, rows=rows.tolist(), columns=columns) if segments else None
    return np.nan if level is None else level


def noisy_views(
    defense: Defense,
    denoise: Reference,
    views: Float64,
    level: float,
    used: Sequence[int] | None = None,
) -> Float64:
    """The noisy views of one frame.

    Args:
        denoise: see `DenoiserModel.reference`; it alone computes in float32.
        views: `(V, 3, h, w)`, the quiet ones.
        level: of the noise on the backbone's grid, in [0, 1] RGB units.
        used: indices of the noisy views that are wanted; None means all.

    Returns:
        `(len(used), 3, h, w)` float64, normalised.
    """
    mean, std = (np.array(value)[:, None, None] for value in (defense.mean, defense.std))
    pixels = np.clip(views[defense.passes.index(0)] * std + mean, 0, 1)
    levels = np.array([level], np.float32)
    denoised = np.clip(np.float64(denoise(pixels[None].astype(np.float32), levels)[0]), 0, 1)
    rows, cols = (blur_matrix(side, defense.gaussian_taps()) for side in defense.crop)
    kinds = defense.kinds(noisy=True)
    found = []
    for index in range(len(kinds)) if used is None else used:
        kind = kinds[index]
        if kind.denoised:
            part = kind.strength / 100
            blurred = part * denoised + (1 - part) * pixels
            for _ in range(kind.passes):
                blurred = rows @ blurred @ cols.T
            found.append((blurred - mean) / std)
        else:
            found.append(views[defense.passes.index(kind.passes)])
    return np.stack(found)
