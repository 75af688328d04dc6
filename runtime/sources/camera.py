"""Cameras at this machine, through OpenCV."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import cv2

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Colour, Frame
from blurvote.runtime.sources.addresses import pixels_in
from blurvote.runtime.sources.capture import Capture
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["CameraSource", "open_v4l2"]

CameraPixels = Literal["bgr", "yuyv", "nv12", "gray"]
_CODECS: dict[Colour, str] = {"yuyv": "YUYV", "nv12": "NV12", "gray": "GREY"}  # as V4L2 calls them

MAX_CAMERA = 99  # OpenCV takes hundreds for the choice of a driver
_OLDEST_S = 10.0  # a driver's time stamp further back is of another clock


class CameraSource:
    """A camera by its number, as OpenCV counts them, or by its V4L2 device.

    Its driver keeps one frame at most. OpenCV waits up to ten seconds for a V4L2 camera's frame,
    whatever the options say.

    Args:
        camera: a number, or a path such as `/dev/video0`.
        options: size, rate and codec to ask for; the camera must take them as they are.
        pixels: `"bgr"`, or what the camera itself delivers, not converted: `"yuyv"`, `"nv12"` or
            `"gray"`.

    Raises:
        SourceError: it cannot be opened, or delivers another size, rate or codec than asked for.
    """

    total: int | None = None
    live = True

    def __init__(
        self, camera: int | str, options: SourceOptions | None = None, pixels: CameraPixels = "bgr"
    ) -> None:
        options = options or SourceOptions()
        self._name = f"camera:{camera}" if isinstance(camera, int) else f"v4l2://{camera}"
        options.refuse(self._name, "a camera never ends and has its own pace", "loop", "pace")
        capture = _capture(camera)
        try:
            _ask(capture, _with_codec(options, pixels, self._name), self._name)
            if pixels != "bgr":
                _ask_unconverted(capture, pixels, self._name)
        except SourceError:
            capture.release()
            raise
        self._capture = Capture(capture)
        self.frames_per_second = self._capture.frames_per_second
        self._pixels: Colour = pixels
        self._size = None if options.width is None else (options.width, options.height)
        self._sequence = 0
        self._ended = False

    def read(self) -> Frame | None:
        if self._ended:
            return None
        pixels = self._capture.read()
        if self._capture.closed:
            return None
        if pixels is None:
            self._ended = True
            raise StreamLostError(f"{self._name} delivers no more frames after {self._sequence}")
        frame = Frame(pixels, self._pixels, self._name, self._sequence, self._taken())
        if self._size is not None and self._size != (frame.width, frame.height):
            self._ended = True
            raise SourceError(
                f"{self._name} delivers {frame.width} x {frame.height} pixels, not "
                f"{self._size[0]} x {self._size[1]}"
            )
        self._sequence += 1
        return frame

    def _taken(self) -> float:
        """When the driver says that the frame was taken, if that is on the monotonic clock."""
        now = time.monotonic()
        stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return stamp if now - _OLDEST_S < stamp <= now else now

    def close(self) -> None:
        self._ended = True
        self._capture.close()


def open_v4l2(uri: str, options: SourceOptions) -> CameraSource:
    """The camera of `v4l2:///dev/video0`; `#pixels=yuyv` (or `nv12`, `gray`) converts nothing.

    Raises:
        SourceError: as `CameraSource`, a setting is not known, or there is no such device.
    """
    address, pixels = pixels_in(uri, get_args(CameraPixels))
    path = address.partition(":")[2]
    path = path[2:] if path.startswith("//") else path
    if not path.startswith("/"):
        raise SourceError(f"{uri} names no device; expected a path, such as v4l2:///dev/video0")
    if not Path(path).exists():
        raise SourceError(f"{uri} cannot be opened: no such device (ls /dev/video* lists cameras)")
    return CameraSource(path, options, cast(CameraPixels, pixels))


def _capture(camera: int | str) -> Any:
    capture: Any = None
    if isinstance(camera, str):
        capture = cv2.VideoCapture(camera, cv2.CAP_V4L2)
    elif camera <= MAX_CAMERA:  # OpenCV itself fails on numbers that are no C int
        capture = cv2.VideoCapture(camera)
    if capture is None or not capture.isOpened():
        raise SourceError(
            f"camera {camera} cannot be opened; is it plugged in and free? "
            "(ls /dev/video* lists cameras on Linux)"
        )
    return capture


def _with_codec(options: SourceOptions, pixels: CameraPixels, name: str) -> SourceOptions:
    """The options with the codec that delivers those pixels."""
    codec = _CODECS.get(pixels)
    if codec is None:
        return options
    if options.codec not in (None, codec):
        raise SourceError(f"{name}: pixels={pixels} is the codec {codec}, not {options.codec}")
    return replace(options, codec=codec)


def _ask_unconverted(capture: Any, pixels: CameraPixels, name: str) -> None:
    capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
    if capture.get(cv2.CAP_PROP_CONVERT_RGB):
        raise SourceError(
            f"{name}: OpenCV's driver for this camera always converts; leave out pixels={pixels}"
        )


def _ask(capture: Any, options: SourceOptions, name: str) -> None:
    """Asks for what the options say; raises SourceError unless the camera agrees."""
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # older frames would wait in line
    # The codec first: it decides which sizes there are, and they decide the rates.
    if options.codec is not None:
        code = cv2.VideoWriter.fourcc(*options.codec)
        capture.set(cv2.CAP_PROP_FOURCC, code)
        got = int(capture.get(cv2.CAP_PROP_FOURCC))
        if got != code:
            kind = "".join(chr(got >> 8 * k & 0xFF) for k in range(4))
            raise SourceError(f"{name} has no codec {options.codec}; it delivers {kind!r}")
    if options.width is not None and options.height is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.width)
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.height)
        size = [int(capture.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        if size != [options.width, options.height]:
            raise SourceError(
                f"{name} has no {options.width} x {options.height} pixels; the nearest it gives "
                f"are {size[0]} x {size[1]}"
            )
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)
        rate = float(capture.get(cv2.CAP_PROP_FPS))
        if abs(rate - options.fps) > 0.01 * options.fps:
            raise SourceError(f"{name} has no {options.fps:g} frames/s; it gives {rate:g}")
