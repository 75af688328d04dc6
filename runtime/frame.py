"""One image from a source, and the check that every image passes once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import FrameError

__all__ = [
    "Box",
    "Colour",
    "Frame",
    "Matrix",
    "Range",
    "as_frame",
    "check_colour",
    "check_frame",
    "check_pixels",
]

Colour = Literal["rgb", "bgr", "gray", "nv12", "yuyv"]
Matrix = Literal["bt601", "bt709"]
Range = Literal["limited", "full"]
Box = tuple[int, int, int, int]
MAX_SIDE = 32768  # pixels; beyond it a frame is taken for a mistake

_SHAPES: dict[Colour, str] = {
    "rgb": "(H, W, 3) uint8",
    "bgr": "(H, W, 3) uint8",
    "gray": "(H, W) or (H, W, 1) uint8",
    "nv12": "(3 H / 2, W) uint8 with even H and W, the rows of luma above those of U and V",
    "yuyv": "(H, W, 2) uint8 with even W",
}


@dataclass(frozen=True, eq=False)
class Frame:
    """One image from a source.

    Attributes:
        pixels: uint8, of the shape that `colour` has.
        colour: what the bytes are. `"rgb"` or `"bgr"` (what OpenCV delivers): `(H, W, 3)`;
            `"gray"`: `(H, W)` or `(H, W, 1)`; `"nv12"`: `(3 H / 2, W)`; `"yuyv"` (YUY2):
            `(H, W, 2)`. The last two are cameras' own formats, and read at least as fast.
        source: id of the source, such as a path or a URI.
        sequence: number of the frame in its source, from 0.
        captured_at: when it was taken, in seconds of `time.monotonic()`.
        window: x0, y0, x1, y1 in pixels, half open: the part that is the image, as of a buffer
            with padding; None is all of it. No side needs to be even.
        matrix, range: how `"nv12"` and `"yuyv"` mean R, G, B, from ITU-R BT.601 or BT.709, with
            luma in 16..235 (`"limited"`) or 0..255; the defaults are what OpenCV converts by.
    """

    pixels: NDArray[np.uint8]
    colour: Colour = "rgb"
    source: str = ""
    sequence: int = 0
    captured_at: float = field(default_factory=time.monotonic)
    window: Box | None = None
    matrix: Matrix = "bt601"
    range: Range = "limited"

    @property
    def height(self) -> int:
        """Of the image, in pixels."""
        if self.window is not None:
            return self.window[3] - self.window[1]
        return _size(self.pixels, self.colour)[0]

    @property
    def width(self) -> int:
        """Of the image, in pixels."""
        if self.window is not None:
            return self.window[2] - self.window[0]
        return _size(self.pixels, self.colour)[1]

    def as_bgr(self) -> NDArray[np.uint8]:
        """The image `(height, width, 3)` uint8 BGR; not a copy where it is that already."""
        from blurvote.runtime.conversion import to_bgr

        return to_bgr(self)

    def as_rgb(self) -> NDArray[np.uint8]:
        """The image `(height, width, 3)` uint8 RGB; not a copy where it is that already."""
        from blurvote.runtime.conversion import to_rgb

        return to_rgb(self)


def as_frame(frame: Any, colour: Colour = "rgb") -> Frame:
    """A `Frame` of bare pixels, or the one given, checked.

    Raises:
        FrameError: as `check_frame`.
    """
    checked = frame if isinstance(frame, Frame) else Frame(frame, colour)
    check_frame(checked)
    return checked


def check_frame(frame: Frame) -> None:
    """Raises FrameError unless the frame's pixels are what its other fields say of them."""
    check_colour(frame.colour)
    check_pixels(frame.pixels, frame.colour)
    for name, value, known in (
        ("matrix", frame.matrix, ("bt601", "bt709")),
        ("range", frame.range, ("limited", "full")),
    ):
        if value not in known:
            raise FrameError(f"{name} is {value!r}; expected {known[0]!r} or {known[1]!r}")
    if frame.window is not None:
        _check_window(frame.window, *_size(frame.pixels, frame.colour))


def check_colour(colour: str) -> None:
    """Raises FrameError unless `colour` is one of `Colour`."""
    known = get_args(Colour)
    if colour not in known:
        names = ", ".join(repr(name) for name in known[:-1])
        raise FrameError(f"colour is {colour!r}; expected {names} or {known[-1]!r}")


def check_pixels(pixels: Any, colour: Colour = "rgb") -> None:
    """Raises FrameError unless `pixels` can be read in place: uint8, the shape that `colour` has.

    Rows may lie any distance apart, so cropped slices and vertically flipped frames pass.
    """
    if not isinstance(pixels, np.ndarray):
        raise FrameError(
            f"a frame is a numpy array; got {type(pixels).__module__}.{type(pixels).__qualname__}. "
            "Convert with numpy.asarray(frame)"
        )
    if pixels.dtype != np.uint8 or not _fits(pixels.shape, colour):
        raise FrameError(_what_is_wrong(pixels, colour))
    height, width = _size(pixels, colour)
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise FrameError(f"the frame is {width}x{height} px; expected sides of 1 to {MAX_SIDE} px")
    depth = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.strides[1] != depth or (depth > 1 and pixels.strides[2] != 1):
        raise FrameError(
            f"the frame's pixels are not packed (strides {pixels.strides}): it is a mirrored, "
            "subsampled or channel-reversed view. For reversed channels pass colour='bgr'; "
            "else copy with numpy.ascontiguousarray(frame)"
        )
    if colour == "nv12" and pixels.strides[0] < width:
        raise FrameError(
            f"the rows of nv12 overlap or run backwards (strides {pixels.strides}), but its U and "
            "V follow its luma; copy with numpy.ascontiguousarray(frame)"
        )


def _check_window(window: Any, height: int, width: int) -> None:
    # Python's integers alone: sums of a detector's numpy.uint8 would wrap around.
    if not (
        isinstance(window, tuple) and len(window) == 4 and all(isinstance(at, int) for at in window)
    ):
        raise FrameError(
            f"the window is {window!r}; expected a tuple of four integers x0, y0, x1, y1. "
            "tuple(map(int, window)) makes one of an array"
        )
    x0, y0, x1, y1 = window
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise FrameError(
            f"the window is {window}; expected x0, y0, x1, y1 with "
            f"0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}"
        )


def _fits(shape: tuple[int, ...], colour: Colour) -> bool:
    if colour == "nv12":
        return len(shape) == 2 and shape[0] % 3 == 0 and shape[1] % 2 == 0
    if colour == "yuyv":
        return len(shape) == 3 and shape[2] == 2 and shape[1] % 2 == 0
    if colour == "gray":
        return len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)
    return len(shape) == 3 and shape[2] == 3


def _size(pixels: NDArray[Any], colour: Colour) -> tuple[int, int]:
    rows, width = pixels.shape[:2]
    return (rows * 2 // 3 if colour == "nv12" else rows), width


def _what_is_wrong(pixels: NDArray[Any], colour: Colour) -> str:
    given = f"the frame has shape {pixels.shape} and dtype {pixels.dtype}"
    expected = f"expected {_SHAPES[colour]} for colour={colour!r}"
    return f"{given}; {expected}. {_fix(pixels, colour)}"


def _fix(pixels: NDArray[Any], colour: Colour) -> str:
    shape = pixels.shape
    if pixels.dtype != np.uint8 and len(shape) in (2, 3):
        return (
            "Scale to 0..255 and convert: (frame * 255).round().clip(0, 255).astype('uint8') "
            "for floats in [0, 1]"
        )
    if (colour == "nv12" and len(shape) == 2) or (colour == "yuyv" and shape[2:] == (2,)):
        return "Pixels share their colour in pairs: for odd sides pass a Frame with a window"
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        return "It looks greyscale (pass colour='gray') or like NV12 (colour='nv12')"
    if len(shape) == 3 and shape[2] == 2:
        return "It looks like YUYV: pass colour='yuyv'"
    if len(shape) == 3 and shape[2] == 3:
        return "It looks like RGB or BGR: pass colour='rgb' or colour='bgr'"
    if len(shape) == 3 and shape[2] == 4:
        return "It looks like RGBA: cv2.cvtColor(frame, cv2.COLOR_RGBA2RGB) drops the alpha channel"
    if len(shape) == 3 and shape[0] == 3:
        return "It looks channels-first: numpy.ascontiguousarray(frame.transpose(1, 2, 0)) turns it"
    if len(shape) == 4:
        return "It looks like a batch: pass frames one by one, or a list to classify_batch"
    return "Read pictures with cv2.imread, which delivers (H, W, 3) uint8 in BGR order"
