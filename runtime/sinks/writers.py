"""Pictures to a video file or a folder."""

from __future__ import annotations

import contextlib
import re
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SinkError
from blurvote.runtime.sinks.fitting import even_size, fit

__all__ = ["CODECS", "FolderWriter", "VideoFileWriter"]

CODECS = {".mp4": "mp4v", ".mov": "mp4v", ".m4v": "mp4v", ".avi": "MJPG", ".mkv": "MJPG"}
_NAME_PART = 60  # characters of a source's name that a picture's name takes over
_NUMBERED = re.compile(r"\d{6,}_.*\.(jpg|part)")  # a crash may leave a partial one


class FolderWriter:
    """Numbered JPEGs in a folder.

    Args:
        path: made if missing.
        keep: how many of them stay, those of earlier runs included, whose numbers go on; the
            oldest are deleted. None keeps all, and begins at 0.
    """

    def __init__(self, path: str, keep: int | None = None) -> None:
        self._folder = Path(path)
        self._keep = keep
        self._files: deque[str] = deque()  # oldest first; only where some are deleted
        self._count = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if keep is not None:
                found = filter(_NUMBERED.fullmatch, (path.name for path in self._folder.iterdir()))
                self._files.extend(sorted(found, key=_number))
                self._count = _number(self._files[-1]) + 1 if self._files else 0
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
        if self._keep is not None:
            self._files.append(file.name)
            while len(self._files) > self._keep:
                with contextlib.suppress(OSError):  # deleted by hand
                    (self._folder / self._files[0]).unlink()
                self._files.popleft()

    def close(self) -> None:
        """Nothing is left open."""


class VideoFileWriter:
    """A video file of the first picture's size; others are fitted into it.

    It is written beside its place and moved there when complete, so that a video may be annotated
    onto itself and a failed run costs no earlier one.

    Args:
        path: its folder is made if missing.
        frames_per_second: that the video is played at; asked at the first picture.
    """

    def __init__(self, path: str, frames_per_second: Callable[[], float]) -> None:
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
            self._size = even_size(picture)
            codec = CODECS[self._path.suffix.lower()]
            writer = cv2.VideoWriter(
                str(self._partial), cv2.VideoWriter.fourcc(*codec), self._fps(), self._size
            )
            if not writer.isOpened():
                raise SinkError(
                    f"{self._path} cannot be written as a {codec} video: the folder is not "
                    "writable, or this OpenCV lacks the encoder (then use .avi, or a folder)"
                )
            self._writer = writer
        self._writer.write(fit(picture, self._size))
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


def _number(file: str) -> int:
    return int(file.partition("_")[0])
