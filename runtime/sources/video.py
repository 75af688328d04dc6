"""Video files through OpenCV's FFmpeg."""

from __future__ import annotations

from pathlib import Path

import cv2

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.capture import Capture

__all__ = ["VIDEO_SUFFIXES", "VideoSource"]

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".ts"}
)
# Pictures in a row that may fail to decode before the rest counts as missing.
_PATIENCE = 100


class VideoSource:
    """Every frame of a video file, as fast as it can be read.

    Pictures that cannot be decoded raise SourceError and are skipped. A decoder hides most damage
    inside of a picture, and OpenCV does not tell.
    """

    live = False

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise SourceError(f"{path} cannot be read: no such file")
        capture = cv2.VideoCapture(path)
        if not capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV can decode, or is truncated")
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total = count if count > 0 else None
        self._path = path
        self._capture = Capture(capture)
        self.frames_per_second = self._capture.frames_per_second
        self._sequence = 0
        self._next: Frame | None = None
        self._ended = False

    def read(self) -> Frame | None:
        if self._ended:
            return None
        frame, self._next = self._next or self._decode(), None
        if self._capture.closed:
            return None
        if frame is None:
            self._end_or_damage()
        return frame

    def _end_or_damage(self) -> None:
        """Ends the source, or raises SourceError where that is not a proper end."""
        bad = 1
        # Containers may miscount by a frame or two; a hundredth missing means damage.
        while self.total and self._sequence + bad < 0.99 * self.total - 2 and bad <= _PATIENCE:
            self._next = self._decode(bad)
            if self._next is not None:
                first = self._next.sequence - bad
                raise SourceError(
                    f"{self._path} is damaged: {bad} pictures from number {first} on cannot be "
                    "decoded"
                )
            bad += 1
        self._ended = True
        if self.total and self._sequence < 0.99 * self.total - 2:
            raise SourceError(
                f"{self._path} ended after {self._sequence} of {self.total} frames: it is damaged"
            )

    def _decode(self, skipped: int = 0) -> Frame | None:
        pixels = self._capture.read()
        if pixels is None:
            return None
        self._sequence += skipped + 1
        return Frame(pixels, "bgr", self._path, self._sequence - 1)

    def close(self) -> None:
        self._ended = True
        self._capture.close()
