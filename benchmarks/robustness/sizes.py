"""Pictures in the size of a camera's frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["resized"]


def resized(pixels: NDArray[np.uint8], short_side: int | None) -> NDArray[np.uint8]:
    """The picture as a camera of that many lines would show it, its sides' ratio kept.

    Noise that is added afterwards is the sensor's, per native pixel, of which a guard averages the
    more away the larger the frame is.

    Args:
        pixels: `(H, W, 3)` uint8.
        short_side: in pixels, such as 1080; None leaves the picture as it is.

    Returns:
        Enlarged by a bicubic filter, or shrunk by averaging areas.
    """
    height, width = pixels.shape[:2]
    if short_side is None or short_side == min(height, width):
        return pixels
    scale = short_side / min(height, width)
    size = (max(short_side, round(width * scale)), max(short_side, round(height * scale)))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)
