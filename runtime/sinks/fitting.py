"""Pictures of any size into outputs of one size."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["even_size", "fit"]


def even_size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """`(width, height)` of the picture, rounded up to even numbers, which codecs want."""
    height, width = picture.shape[:2]
    return width + width % 2, height + height % 2


def fit(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture on a black `size` (width, height) canvas, shrunk or enlarged as needed."""
    width, height = size
    if picture.shape[:2] == (height, width):
        return picture
    scale = min(width / picture.shape[1], height / picture.shape[0])
    if width - picture.shape[1] not in (0, 1) or height - picture.shape[0] not in (0, 1):
        inner = (
            max(1, round(picture.shape[1] * scale)),
            max(1, round(picture.shape[0] * scale)),
        )
        picture = cv2.resize(picture, inner, interpolation=cv2.INTER_AREA).astype(np.uint8)
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture[:height, :width]
    return canvas
