"""What the bytes of a GStreamer buffer are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Box, Colour, Matrix, Range

__all__ = ["CAMERA_FORMATS", "RGB_FORMATS", "Picture", "picture_of"]

# What an appsink may be given: bytes per pixel, and the order in which three of them are delivered.
RGB_FORMATS: dict[str, tuple[int, Colour]] = {
    "BGR": (3, "bgr"),
    "RGB": (3, "rgb"),
    "BGRx": (4, "bgr"),
    "BGRA": (4, "bgr"),
    "RGBx": (4, "rgb"),
    "RGBA": (4, "rgb"),
}
# And what it may be told to take as it is.
CAMERA_FORMATS: dict[str, Colour] = {"NV12": "nv12", "YUY2": "yuyv", "GRAY8": "gray"}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """The fields of a `Frame` that describe its pixels."""

    pixels: Pixels
    colour: Colour
    window: Box | None = None
    matrix: Matrix = "bt601"
    range: Range = "limited"


def picture_of(video: Any, caps: Any, buffer: Any, data: bytes, name: str) -> Picture:
    """The picture in the bytes of a buffer, which it shares where their layout allows.

    Args:
        video: the module GstVideo.
        name: of the source, for messages.

    Raises:
        SourceError: the format or its colours are none that blurvote takes, or bytes are missing.
    """
    form = caps.get_structure(0)
    kind = form.get_string("format")
    if form.get_name() != "video/x-raw" or kind not in {**RGB_FORMATS, **CAMERA_FORMATS}:
        raise SourceError(
            f"{name} delivers {form.get_name()}{f' {kind}' if kind else ''}; expected 8-bit BGR, "
            "BGRx, RGB, NV12, YUY2 or GRAY8: put videoconvert ! video/x-raw,format=BGR before its "
            "appsink"
        )
    info = video.VideoInfo.new_from_caps(caps)
    meta = video.buffer_get_video_meta(buffer) or info  # the buffer itself knows better
    height, width = int(meta.height), int(meta.width)
    planes = _Planes(data, list(meta.offset), list(meta.stride), name)
    if kind in RGB_FORMATS:
        depth, colour = RGB_FORMATS[kind]
        pixels = planes.view(0, height, width, depth)
        if depth == 4:
            pixels = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), np.uint8)
        return Picture(pixels, colour)
    colour = CAMERA_FORMATS[kind]
    matrix, range_ = _colours(video, info, colour, name)
    if colour == "gray":
        return Picture(planes.view(0, height, width, 1)[..., 0], colour)
    if colour == "yuyv":
        pixels, odd = planes.view(0, height, width + width % 2, 2), width % 2
    else:
        pixels, odd = planes.nv12(height, width), height % 2 or width % 2
    return Picture(pixels, colour, (0, 0, width, height) if odd else None, matrix, range_)


class _Planes:
    """A buffer's bytes by plane."""

    def __init__(self, data: bytes, offsets: list[int], strides: list[int], name: str) -> None:
        self._data, self._offsets, self._strides, self._name = data, offsets, strides, name

    def view(self, plane: int, height: int, width: int, depth: int) -> Pixels:
        """`(height, width, depth)`, not copied."""
        start, stride = self._offsets[plane], self._strides[plane]
        if len(self._data) < start + stride * (height - 1) + depth * width:
            raise SourceError(f"{self._name} delivers a frame that is cut short")
        shape, strides = (height, width, depth), (stride, depth, 1)
        pixels: Pixels = np.ndarray(shape, np.uint8, self._data, start, strides)
        return pixels

    def nv12(self, height: int, width: int) -> Pixels:
        """`(3 H / 2, W)` with both sides made even; copied only where planes do not follow."""
        rows, columns = height + height % 2, width + width % 2
        offsets, strides = self._offsets, self._strides
        follow = offsets[1] == offsets[0] + rows * strides[0] and strides[0] == strides[1]
        if follow and columns <= strides[0]:
            return self.view(0, rows * 3 // 2, columns, 1)[..., 0]
        packed = np.zeros((rows * 3 // 2, columns), np.uint8)
        packed[:height, :width] = self.view(0, height, width, 1)[..., 0]
        packed[rows:] = self.view(1, rows // 2, columns, 1)[..., 0]
        return packed


def _colours(video: Any, info: Any, colour: Colour, name: str) -> tuple[Matrix, Range]:
    """The matrix and range in the caps; where they say none, what GStreamer itself assumes."""
    said, full = info.colorimetry, getattr(video.VideoColorRange, "0_255")
    matrices: dict[Any, Matrix] = {
        video.VideoColorMatrix.BT601: "bt601",
        video.VideoColorMatrix.BT709: "bt709",
        video.VideoColorMatrix.UNKNOWN: "bt601",
    }
    range_: Range = "full" if said.range == full else "limited"
    if colour == "gray":
        fits, expected = range_ == "full", "the range 0..255"
    else:
        fits, expected = said.matrix in matrices, "bt601 or bt709"
    if not fits:
        raise SourceError(
            f"{name} delivers the colours {said.to_string()}; expected {expected}: put "
            "videoconvert ! video/x-raw,format=BGR before its appsink"
        )
    return matrices.get(said.matrix, "bt601"), range_
