"""Where frames come from: pictures, folders, globs, videos, cameras, paths on stdin.

A source is one small class with `read()` and `close()`. `read()` returns the next `Frame`, None at
the end, and raises SourceError for a frame that cannot be read; it may be called again after that,
so that one broken picture does not end a folder.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame

__all__ = ["CameraSource", "ImageSource", "Source", "VideoSource", "open_source", "read_image"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"}
)
MAX_CAMERA = 99  # OpenCV takes hundreds for the choice of a driver


class Source(Protocol):
    """One stream of frames.

    Attributes:
        total: how many frames to expect; None where nobody knows.
        frames_per_second: the rate at which they were taken; None where there is none.
    """

    total: int | None
    frames_per_second: float | None

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            SourceError: this frame cannot be read; the next call goes on.
        """

    def close(self) -> None:
        """Gives back the file or device."""


def open_source(uri: str) -> Source:
    """The source that `uri` names.

    `-` reads picture paths from stdin, a number is a camera, a folder is its pictures in name
    order, a pattern with `*`, `?` or `[` is a glob, other names are files.

    Raises:
        SourceError: there is no such thing, or it cannot be opened.
    """
    try:
        return _open(uri)
    except OSError as error:
        raise SourceError(f"{uri} cannot be opened: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"{uri!r} cannot be opened: {error}") from error


def _open(uri: str) -> Source:
    if uri == "-":
        if sys.stdin is None:
            raise SourceError("- reads picture paths from stdin, which is closed")
        # As bytes: a file name need not be text in the locale's encoding.
        lines = (line.rstrip(b"\r\n") for line in sys.stdin.buffer)
        return ImageSource(os.fsdecode(line) for line in lines if line)
    if uri.isdecimal():
        return CameraSource(int(uri))
    path = Path(uri)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            kinds = ", ".join(sorted(IMAGE_SUFFIXES))
            raise SourceError(f"the folder {uri} holds no pictures ({kinds})")
        return ImageSource([str(p) for p in found])
    if not path.exists() and glob.has_magic(uri):
        matches = sorted(glob.glob(uri, recursive=True))
        if not matches:
            raise SourceError(f"nothing matches {uri}")
        return ImageSource(matches)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return VideoSource(uri)
    return ImageSource([uri])


def read_image(path: str) -> NDArray[np.uint8]:
    """The picture at `path` as `(H, W, 3)` uint8 BGR, turned upright by its EXIF orientation.

    Raises:
        SourceError: it is missing, not a picture, or cut short.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in the name
        raise SourceError(f"{path!r} cannot be read: {error}") from error
    if not data:
        raise SourceError(f"{path} is empty")
    why = _cut_short(data)
    if why:
        raise SourceError(f"{path} is truncated: {why}")
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {error.err}") from error
    if pixels is None:
        raise SourceError(f"{path} is not a picture that OpenCV can decode, or is damaged")
    image: NDArray[np.uint8] = pixels
    return image


def _cut_short(data: bytes) -> str | None:
    """Why a JPEG or PNG is incomplete; decoders would fill the rest with grey and say nothing."""
    if data.startswith(b"\xff\xd8\xff") and not _reaches_end_of_jpeg(data):
        return "its JPEG data has no end marker"
    if data.startswith(b"\x89PNG\r\n\x1a\n") and b"IEND\xae\x42\x60\x82" not in data:
        return "its PNG data has no end chunk"
    return None


# Any marker but the stuffing and the restarts within a scan.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)


def _reaches_end_of_jpeg(data: bytes) -> bool:
    """Walks from segment to segment, so that an embedded thumbnail's end marker does not count."""
    at = 2
    while marker := _MARKER.search(data, at):
        at = marker.end()
        if marker[1] == b"\xd9":
            return True
        at += int.from_bytes(data[at : at + 2], "big")
    return False


class ImageSource:
    """Pictures by path, read when their turn comes."""

    frames_per_second: float | None = None

    def __init__(self, paths: Iterable[str]) -> None:
        self.total: int | None = len(paths) if isinstance(paths, list) else None
        self._paths: Iterator[str] = iter(paths)
        self._sequence = 0

    def read(self) -> Frame | None:
        path = next(self._paths, None)
        if path is None:
            return None
        self._sequence += 1
        return Frame(read_image(path), "bgr", path, self._sequence - 1)

    def close(self) -> None:
        self._paths = iter(())


class _CaptureSource:
    """What video files and cameras share: an OpenCV capture."""

    def __init__(self, name: str, capture: Any, total: int | None) -> None:
        self.total = total
        self.frames_per_second: float | None = float(capture.get(cv2.CAP_PROP_FPS)) or None
        self._name = name
        self._capture = capture
        self._sequence = 0
        self._ended = False

    def read(self) -> Frame | None:
        if self._ended:
            return None
        ok, pixels = self._capture.read()
        if not ok or pixels is None:
            self._ended = True
            self._end()
            return None
        self._sequence += 1
        return Frame(pixels, "bgr", self._name, self._sequence - 1)

    def _end(self) -> None:
        """Called once, when no frame came; raises where that is not a proper end."""

    def close(self) -> None:
        self._ended = True
        self._capture.release()


class VideoSource(_CaptureSource):
    """Every frame of a video file, as fast as it can be read."""

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise SourceError(f"{path} cannot be read: no such file")
        capture = cv2.VideoCapture(path)
        if not capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV can decode, or is truncated")
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        super().__init__(path, capture, count if count > 0 else None)

    def _end(self) -> None:
        # Containers may miscount by a frame or two; a hundredth missing means damage.
        if self.total and self._sequence < 0.99 * self.total - 2:
            raise SourceError(
                f"{self._name} ended after {self._sequence} of {self.total} frames: it is damaged"
            )


class CameraSource(_CaptureSource):
    """A camera by its number, as OpenCV counts them."""

    def __init__(self, index: int) -> None:
        # OpenCV itself fails on numbers that are no C int.
        capture = cv2.VideoCapture(index) if index <= MAX_CAMERA else None
        if capture is None or not capture.isOpened():
            raise SourceError(
                f"camera {index} cannot be opened; is it plugged in and free? "
                "(ls /dev/video* lists cameras on Linux)"
            )
        super().__init__(f"camera:{index}", capture, None)

    def _end(self) -> None:
        raise SourceError(f"{self._name} delivers no more frames after {self._sequence}")
