"""One image from a source, and the check that every image passes once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import FrameError

__all__ = ["Colour", "Frame", "as_frame", "check_colour", "check_pixels"]

Colour = Literal["rgb", "bgr"]
MAX_SIDE = 32768  # pixels; beyond it a frame is taken for a mistake


@dataclass(frozen=True, eq=False)
class Frame:
    """One image from a source.

    Attributes:
        pixels: `(H, W, 3)` uint8, in the order that `colour` names.
        colour: `"rgb"` or `"bgr"` (what OpenCV delivers).
        source: id of the source, such as a path or a URI.
        sequence: number of the frame in its source, from 0.
        captured_at: when it was taken, in seconds of `time.monotonic()`.
    """

    pixels: NDArray[np.uint8]
    colour: Colour = "rgb"
    source: str = ""
    sequence: int = 0
    captured_at: float = field(default_factory=time.monotonic)


def as_frame(frame: Any, colour: Colour = "rgb") -> Frame:
    """A `Frame` of bare pixels, or the one given, checked.

    Raises:
        FrameError: as `check_pixels` and `check_colour`.
    """
    checked = frame if isinstance(frame, Frame) else Frame(frame, colour)
    check_pixels(checked.pixels)
    check_colour(checked.colour)
    return checked


def check_colour(colour: str) -> None:
    """Raises FrameError unless `colour` is `"rgb"` or `"bgr"`."""
    if colour not in ("rgb", "bgr"):
        raise FrameError(f"colour is {colour!r}; expected 'rgb' or 'bgr'")


def check_pixels(pixels: Any) -> None:
    """Raises FrameError unless `pixels` can be read in place: `(H, W, 3)` uint8, pixels packed.

    Rows may lie any distance apart, so cropped slices and vertically flipped frames pass.
    """
    if not isinstance(pixels, np.ndarray):
        raise FrameError(
            f"a frame is a numpy array; got {type(pixels).__module__}.{type(pixels).__qualname__}. "
            "Convert with numpy.asarray(frame)"
        )
    if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        height, width, _ = pixels.shape
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise FrameError(
                f"the frame is {width}x{height} px; expected sides of 1 to {MAX_SIDE} px"
            )
        if pixels.strides[2] != 1 or pixels.strides[1] != 3:
            raise FrameError(
                f"the frame's pixels are not packed (strides {pixels.strides}): it is a mirrored, "
                "subsampled or channel-reversed view. For reversed channels pass colour='bgr'; "
                "else copy with numpy.ascontiguousarray(frame)"
            )
        return
    raise FrameError(_what_is_wrong(pixels))


def _what_is_wrong(pixels: NDArray[Any]) -> str:
    given = f"the frame has shape {pixels.shape} and dtype {pixels.dtype}"
    expected = "expected (H, W, 3) uint8"
    if pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1):
        fix = "It looks greyscale: cv2.cvtColor(frame, cv2.COLOR_GRAY2RGB) makes it RGB"
    elif pixels.ndim == 3 and pixels.shape[2] == 4:
        fix = "It looks like RGBA: cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB) drops the alpha channel"
    elif pixels.ndim == 3 and pixels.shape[0] == 3:
        fix = "It looks channels-first: numpy.ascontiguousarray(frame.transpose(1, 2, 0)) turns it"
    elif pixels.ndim == 4:
        fix = "It looks like a batch: pass frames one by one, or a list to classify_batch"
    elif pixels.dtype != np.uint8 and pixels.ndim == 3:
        fix = (
            "Scale to 0..255 and convert: (frame * 255).round().clip(0, 255).astype('uint8') "
            "for floats in [0, 1]"
        )
    else:
        fix = "Read pictures with cv2.imread, which delivers (H, W, 3) uint8 in BGR order"
    return f"{given}; {expected}. {fix}"
