"""The noise of a frame, estimated from the frame alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["GAUSSIAN_PER_RESPONSE", "laplacian_difference"]

# Of white Gaussian noise of level 1 the response below is Gaussian of standard deviation 6 (the
# root of the mask's squared sum, 36), and sqrt(pi / 2) turns a mean magnitude into a deviation.
GAUSSIAN_PER_RESPONSE = math.sqrt(math.pi / 2) / 6


def laplacian_difference(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """The difference of two Laplacians, which no plane and no straight edge along an axis answers.

    The mask is 1 -2 1, -2 4 -2, 1 -2 1 (Immerkaer, Fast noise variance estimation, CVIU 1996).

    Args:
        planes: `(..., H, W)`.

    Returns:
        `(..., H - 2, W - 2)`.
    """
    rows = planes[..., :-2, :] - 2 * planes[..., 1:-1, :] + planes[..., 2:, :]
    return rows[..., :-2] - 2 * rows[..., 1:-1] + rows[..., 2:]
