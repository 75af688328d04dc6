"""Where annotated frames go: a video file or a folder of pictures."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SinkError
from blurvote.runtime.sources import VIDEO_SUFFIXES

__all__ = ["FolderSink", "Sink", "VideoSink", "open_sink"]

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".avi": "MJPG", ".mkv": "MJPG"}
_NAME_PART = 60  # characters of a source's name that a picture's name takes over


class Sink(Protocol):
    """Takes pictures, one after the other."""

    def write(self, picture: NDArray[np.uint8], name: str) -> None:
        """Stores one `(H, W, 3)` uint8 BGR picture; `name` is its source.

        Raises:
            SinkError: it cannot be stored.
        """

    def close(self) -> None:
        """Finishes the output.

        Raises:
            SinkError: the output is not complete.
        """


def open_sink(path: str, frames_per_second: float) -> Sink:
    """A video where `path` ends in a video suffix, else a folder of JPEGs (made if missing).

    Raises:
        SinkError: it cannot be created, or is a kind of video that cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix in CODECS:
        return VideoSink(path, frames_per_second)
    if suffix in VIDEO_SUFFIXES:
        raise SinkError(
            f"{path} is a {suffix} video, which cannot be written; use {', '.join(CODECS)} "
            "or a folder"
        )
    return FolderSink(path)


class FolderSink:
    """Numbered JPEGs in a folder."""

    def __init__(self, path: str) -> None:
        self._folder = Path(path)
        self._count = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{path} cannot be made a folder: {error.strerror}") from error

    def write(self, picture: NDArray[np.uint8], name: str) -> None:
        stem = Path(name).stem[:_NAME_PART] or "frame"
        file = self._folder / f"{self._count:06d}_{stem}.jpg"
        partial = file.with_suffix(".part")  # so that a full disk leaves no half picture behind
        _, data = cv2.imencode(".jpg", picture)
        try:
            partial.write_bytes(data.tobytes())
            partial.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise SinkError(f"{file} cannot be written: {error.strerror}") from error
        self._count += 1

    def close(self) -> None:
        """Nothing is left open."""


class VideoSink:
    """A video file of the first picture's size; others are fitted into it.

    It is written beside its place and moved there when complete, so that a video may be annotated
    onto itself and a failed run costs no earlier one.
    """

    def __init__(self, path: str, frames_per_second: float) -> None:
        self._path = Path(path)
        self._partial = self._path.with_name(f"{self._path.stem}.part{self._path.suffix}")
        self._fps = frames_per_second
        self._writer: Any = None
        self._size = (0, 0)
        self._count = 0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, picture: NDArray[np.uint8], name: str) -> None:
        if self._writer is None:
            height, width = picture.shape[:2]
            self._size = (width + width % 2, height + height % 2)  # codecs want even sides
            codec = CODECS[self._path.suffix.lower()]
            writer = cv2.VideoWriter(
                str(self._partial), cv2.VideoWriter.fourcc(*codec), self._fps, self._size
            )
            if not writer.isOpened():
                raise SinkError(
                    f"{self._path} cannot be written as a {codec} video: the folder is not "
                    "writable, or this OpenCV lacks the encoder (then use .avi, or a folder)"
                )
            self._writer = writer
        self._writer.write(_fit(picture, self._size))
        self._count += 1

    def close(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        # VideoWriter reports no failed write (a full disk, say), so count what can be read back.
        readable = cv2.VideoCapture(str(self._partial))
        stored = max(0, int(readable.get(cv2.CAP_PROP_FRAME_COUNT)))
        readable.release()
        if stored < self._count:
            raise SinkError(
                f"{self._partial} holds {stored} of {self._count} frames; is the disk full?"
            )
        try:
            self._partial.replace(self._path)
        except OSError as error:
            raise SinkError(
                f"{self._path} cannot be written: {error.strerror}; the video is {self._partial}"
            ) from error


def _fit(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
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
