"""Frames of any format as the pictures that people and other programs look at.

The guard itself needs none of this: its kernel reads every format as it is. A conversion reads and
writes the whole frame, which costs more than building its views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import _kernels

if TYPE_CHECKING:
    from blurvote.runtime.frame import Frame

__all__ = ["some_pixels", "to_bgr", "to_rgb", "unclipped_rgb"]

Pixels = NDArray[np.uint8]

_YUV: dict[tuple[str, str], int] = {
    ("nv12", "rgb"): cv2.COLOR_YUV2RGB_NV12,
    ("nv12", "bgr"): cv2.COLOR_YUV2BGR_NV12,
    ("yuyv", "rgb"): cv2.COLOR_YUV2RGB_YUY2,
    ("yuyv", "bgr"): cv2.COLOR_YUV2BGR_YUY2,
}


def to_bgr(frame: Frame, out: Pixels | None = None) -> Pixels:
    """The image of a checked frame, `(height, width, 3)` BGR; not a copy where it is that already.

    Colours beyond 0..255 are clipped, chroma samples stand for all their pixels, and by default
    all is as OpenCV's own conversion.

    Args:
        out: C-contiguous, to write to and return; None allocates where it must.
    """
    return _converted(frame, "bgr", out)


def to_rgb(frame: Frame, out: Pixels | None = None) -> Pixels:
    """The same in RGB order."""
    return _converted(frame, "rgb", out)


def unclipped_rgb(frame: Frame) -> NDArray[np.float32]:
    """`(height, width, 3)` RGB in 0..255 and, where the frame's colours are, beyond: for study."""
    if frame.colour in ("rgb", "bgr", "gray"):
        return to_rgb(frame).astype(np.float32)
    yuv = _cut(frame, _full_chroma(frame)).astype(np.float32)
    return np.asarray(cv2.transform(yuv, _table(frame)), np.float32)


def some_pixels(frame: Frame, side: int) -> Pixels:
    """About `side` by `side` pixels, evenly spread, as the samples of the frame's own format.

    Returns:
        `(rows, columns, samples)`: the channels; or Y; or Y, U, V; or Y, U, Y, V.
    """
    pixels, height, width = frame.pixels, frame.height, frame.width
    x0, y0 = frame.window[:2] if frame.window else (0, 0)
    down, across = max(1, height // side), max(1, width // side)
    if frame.colour == "nv12":
        # Pairs of rows and columns: a U and V, and the first luma of the four beside them.
        rows = pixels.shape[0] * 2 // 3
        down, across = max(1, down // 2), max(1, across // 2)
        part = np.s_[y0 // 2 : (y0 + height + 1) // 2 : down, x0 // 2 : (x0 + width + 1) // 2]
        luma = pixels[:rows].reshape(rows // 2, 2, -1, 2)[:, 0, :, :1][part][:, ::across]
        chroma = pixels[rows:].reshape(rows // 2, -1, 2)[part][:, ::across]
        return np.concatenate([luma, chroma], axis=2)
    if frame.colour == "yuyv":
        pairs = pixels.reshape(len(pixels), -1, 4)[y0 : y0 + height : down]
        return pairs[:, x0 // 2 : (x0 + width + 1) // 2 : max(1, across // 2)]
    grid = pixels[y0 : y0 + height : down, x0 : x0 + width : across]
    return grid if grid.ndim == 3 else grid[..., None]


def _converted(frame: Frame, order: Literal["rgb", "bgr"], out: Pixels | None) -> Pixels:
    if frame.colour in ("rgb", "bgr", "gray"):
        pixels = _cut(frame, frame.pixels)
        if frame.colour == order:
            return pixels if out is None else _copied(pixels, out)
        return _opencv(
            pixels, cv2.COLOR_GRAY2BGR if frame.colour == "gray" else cv2.COLOR_BGR2RGB, out
        )
    if (frame.matrix, frame.range) == ("bt601", "limited"):
        if frame.window is None:
            return _opencv(frame.pixels, _YUV[frame.colour, order], out)
        # OpenCV takes whole pairs of pixels only: the window is cut out afterwards.
        part = _cut(frame, _opencv(frame.pixels, _YUV[frame.colour, order], None))
    else:
        rows = _table(frame)[:: 1 if order == "rgb" else -1]
        part = np.asarray(cv2.transform(_cut(frame, _full_chroma(frame)), rows), np.uint8)
    return part if out is None else _copied(part, out)


def _table(frame: Frame) -> NDArray[np.float64]:
    """`(3, 4)`: R, G, B by Y, U, V and 1."""
    table = _kernels.yuv_to_rgb(frame.matrix == "bt709", frame.range == "full")
    return np.asarray(table).reshape(3, 4)


def _full_chroma(frame: Frame) -> Pixels:
    """`(H, W, 3)` Y, U, V of the whole frame."""
    pixels = frame.pixels
    if frame.colour == "yuyv":
        chroma = pixels[..., 1].reshape(len(pixels), -1, 2)
        return np.dstack([pixels[..., 0], np.repeat(chroma, 2, axis=1)])
    rows = len(pixels) * 2 // 3
    chroma = pixels[rows:].reshape(rows // 2, -1, 2)
    return np.dstack([pixels[:rows], chroma.repeat(2, axis=0).repeat(2, axis=1)])


def _cut(frame: Frame, pixels: Pixels) -> Pixels:
    if frame.window is None:
        return pixels
    x0, y0, x1, y1 = frame.window
    return pixels[y0:y1, x0:x1]


def _copied(pixels: Pixels, out: Pixels) -> Pixels:
    np.copyto(out, pixels)
    return out


def _opencv(pixels: Pixels, code: int, out: Pixels | None) -> Pixels:
    converted: Any = cv2.cvtColor(pixels, code, dst=out)
    return np.asarray(converted, np.uint8)
