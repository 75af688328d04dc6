"""Pictures as a source: by path, folder, glob, or paths on stdin."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.stdin import StdinLines

__all__ = ["IMAGE_SUFFIXES", "ImageSource", "decode_image", "read_image"]

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2"}
)


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
    return decode_image(data, path)


def decode_image(data: bytes, name: str) -> NDArray[np.uint8]:
    """The picture in the bytes of a picture file, called `name`; as `read_image`.

    Raises:
        SourceError: it is empty, not a picture, or cut short.
    """
    if not data:
        raise SourceError(f"{name} is empty")
    why = _cut_short(data)
    if why:
        raise SourceError(f"{name} is truncated: {why}")
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise SourceError(f"{name} cannot be decoded: {error.err}") from error
    if pixels is None:
        raise SourceError(f"{name} is not a picture that OpenCV can decode, or is damaged")
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
    live = False

    def __init__(self, paths: Iterable[str]) -> None:
        self.total: int | None = len(paths) if isinstance(paths, list) else None
        self._paths: Iterator[str] = iter(paths)
        self._stdin = paths if isinstance(paths, StdinLines) else None
        self._sequence = 0

    def read(self) -> Frame | None:
        path = next(self._paths, None)
        if path is None:
            return None
        self._sequence += 1
        return Frame(read_image(path), "bgr", path, self._sequence - 1)

    def close(self) -> None:
        if self._stdin is not None:
            self._stdin.close()
        self._paths = iter(())
