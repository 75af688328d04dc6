"""PyAV's decoded pictures as NV12 frames, their colours left alone."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Box, Matrix, Range

__all__ = ["colours_of", "nv12_of"]

# FFmpeg's AVColorSpace and AVColorRange. A stream may name none (2): its scaler takes BT.601 then.
_MATRICES: dict[int, Matrix] = {1: "bt709", 2: "bt601", 5: "bt601", 6: "bt601"}
_FULL = 2


def nv12_of(picture: Any, name: str) -> tuple[NDArray[np.uint8], Box | None]:
    """The planes in one array `(3 H / 2, W)`, and the window where a side is odd.

    FFmpeg's scaler would do the same, but squeezes the range of a full-range picture.

    Raises:
        SourceError: the picture is not 8-bit 4:2:0.
    """
    kind = picture.format.name
    if kind not in ("yuv420p", "yuvj420p", "nv12"):
        raise SourceError(
            f"{name} is coded as {kind}; pixels=nv12 takes 8-bit 4:2:0 alone. Leave it out"
        )
    height, width = picture.height, picture.width
    rows, columns = height + height % 2, width + width % 2
    pixels = np.zeros((rows * 3 // 2, columns), np.uint8)
    planes = [_plane(plane) for plane in picture.planes]
    pixels[:height, :width] = planes[0][:height, :width]
    if kind == "nv12":
        pixels[rows:] = planes[1][: rows // 2, :columns]
    else:
        chroma = pixels[rows:].reshape(rows // 2, columns // 2, 2)
        cv2.merge([plane[: rows // 2, : columns // 2] for plane in planes[1:]], chroma)
    odd = (rows, columns) != (height, width)
    return pixels, (0, 0, width, height) if odd else None


def colours_of(picture: Any, name: str) -> tuple[Matrix, Range]:
    """How the picture means R, G, B.

    Raises:
        SourceError: neither BT.601 nor BT.709.
    """
    matrix = _MATRICES.get(int(picture.colorspace))
    if matrix is None:
        raise SourceError(
            f"{name} has colours of FFmpeg's space {int(picture.colorspace)}; pixels=nv12 takes "
            "BT.601 and BT.709. Leave it out"
        )
    full = picture.format.name == "yuvj420p" or int(picture.color_range) == _FULL
    return matrix, "full" if full else "limited"


def _plane(plane: Any) -> NDArray[np.uint8]:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
