"""RTSP and HTTP video through the FFmpeg that OpenCV carries."""

from __future__ import annotations

import os
import threading
import time
from importlib.util import find_spec

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.addresses import StreamAddress
from blurvote.runtime.sources.av import AvSource
from blurvote.runtime.sources.capture import Capture
from blurvote.runtime.sources.source import Source, SourceOptions

__all__ = ["NetworkSource", "open_stream"]

_PATIENCE = 8  # pictures in a row that may fail to decode before the stream counts as lost


def open_stream(uri: str, options: SourceOptions) -> Source:
    """The stream at an address such as `rtsp://user:password@camera/stream`.

    Decoded by PyAV where that is installed (`blurvote[stream]`), else by OpenCV; PyAV notices
    damaged pictures and changes of size, OpenCV does not. Settings may follow the address:
    `#transport=udp` (RTSP goes over TCP otherwise), `#decoder=opencv` or `av`, `#threads=4` for
    decoding large pictures, and `#pixels=nv12` (PyAV only) to leave out the conversion to BGR.

    Raises:
        StreamLostError: it cannot be opened within the timeout; it may be there later.
        SourceError: a setting is not known, or the decoder asked for is not installed.
    """
    address = StreamAddress.parse(uri)
    options.refuse(address.name, "it sends what it sends", "width", "fps", "codec", "loop", "pace")
    if address.pixels != "bgr" and address.decoder == "opencv":
        raise SourceError(f"{address.name}: pixels={address.pixels} needs decoder=av")
    asked = address.decoder == "av" or address.pixels != "bgr"
    if asked or (not address.decoder and find_spec("av") is not None):
        return AvSource(address, options.timeout_s)
    return NetworkSource(address, options.timeout_s)


class NetworkSource:
    """A stream through OpenCV, which keeps some things to itself.

    It hands out a damaged picture like any other wherever the decoder could hide the damage, and
    scales pictures of a changed size to the size that the stream began with (OpenCV 5; older ones
    mangle them). Each thread after the first costs a frame of delay.

    Raises:
        StreamLostError: it cannot be opened within the timeout.
    """

    def __init__(self, address: StreamAddress, timeout_s: float = 5.0) -> None:
        self._name = address.name
        self._timeout_s = timeout_s
        self._capture = self._open(address)
        self.frames_per_second = self._capture.frames_per_second
        # A file on a web server has an end; a camera has none.
        count = 0 if address.rtsp else int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if count > 0 else None
        self.live = self.total is None
        self._next: NDArray[np.uint8] | None = None
        self._sequence = 0
        self._ended = False

    def _open(self, address: StreamAddress) -> Capture:
        url = address.url
        if address.rtsp:  # FFmpeg takes this one setting from the address
            url += f"{'&' if '?' in url else '?'}{address.transport}"
        milliseconds = max(1, round(1000 * self._timeout_s))
        parameters = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, milliseconds]
        parameters += [cv2.CAP_PROP_READ_TIMEOUT_MSEC, milliseconds]
        if hasattr(cv2, "CAP_PROP_N_THREADS"):
            parameters += [cv2.CAP_PROP_N_THREADS, address.threads]
        with _ENVIRONMENT:
            capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, parameters)
        if not capture.isOpened():
            raise StreamLostError(
                f"{self._name} cannot be opened within {self._timeout_s:g} s; check that it is "
                "there, its name, password and path, and that it sends video"
            )
        return Capture(capture)

    def read(self) -> Frame | None:
        """The next frame; None once closed, and at the end of a file.

        Raises:
            StreamLostError: it broke off, or delivered nothing within the timeout.
            SourceError: pictures could not be decoded; the next call goes on.
        """
        pixels, self._next = self._next, None
        if pixels is None and not self._ended:
            pixels = self._decode()
            if pixels is None and not self._ended:
                self._lost_or_damaged()
        if pixels is None or self._capture.closed:
            return None
        self._sequence += 1
        return Frame(pixels, "bgr", self._name, self._sequence - 1)

    def _lost_or_damaged(self) -> None:
        """OpenCV fails alike for a picture that cannot be decoded and for the end of a stream."""
        for bad in range(1, _PATIENCE):
            self._next = self._decode()
            if self._next is not None:
                raise SourceError(f"{self._name} sent {bad} pictures that cannot be decoded")
            if self._ended:
                return
        self._ended = True
        # Containers may miscount by a frame or two.
        if self.total and self._sequence >= 0.99 * self.total - 2:
            return
        raise StreamLostError(f"{self._name} broke off after {self._sequence} frames")

    def _decode(self) -> NDArray[np.uint8] | None:
        began = time.monotonic()
        pixels = self._capture.read()
        # After a timeout OpenCV still hands out old pictures that its decoder held back.
        if time.monotonic() - began >= self._timeout_s and not self._capture.closed:
            self._ended = True
            raise StreamLostError(f"{self._name} delivered nothing for {self._timeout_s:g} s")
        return pixels

    def close(self) -> None:
        """Ends the stream; waits for a `read` of another thread, which its timeout bounds."""
        self._ended = True
        self._capture.close()


class _Environment:
    """The variable that OpenCV reads FFmpeg's options from, set while any capture is opened."""

    _NAME = "OPENCV_FFMPEG_CAPTURE_OPTIONS"
    _OPTIONS = "fflags;discardcorrupt|fpsprobesize;0"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before: str | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._users:
                self._before = os.environ.get(self._NAME)
                theirs = f"|{self._before}" if self._before else ""
                os.environ[self._NAME] = self._OPTIONS + theirs
            self._users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if self._users:
                return
            if self._before is None:
                os.environ.pop(self._NAME, None)
            else:
                os.environ[self._NAME] = self._before


# Openings share it, so that a dead camera's long one does not hold up the others'.
_ENVIRONMENT = _Environment()
