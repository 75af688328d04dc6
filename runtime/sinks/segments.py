"""A video in pieces, so that a crash costs one of them and the disk is bounded."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SinkError
from blurvote.runtime.sinks.writers import VideoFileWriter

__all__ = ["SegmentedVideoWriter"]


class SegmentedVideoWriter:
    """Videos `name_20261231-235959.mp4`, each named by when it begins (UTC).

    Args:
        path: `name.mp4`.
        frames_per_second: that the videos are played at; asked at each one's first picture.
        segment_s: a video ends after so many seconds, by the clock or of its own length.
        keep: how many stay, those of earlier runs included; the oldest are deleted. 0 keeps all.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(
        self, path: str, frames_per_second: Callable[[], float], segment_s: float, keep: int = 0
    ) -> None:
        self._path = Path(path)
        self._fps = frames_per_second
        self._segment_s = segment_s
        self._keep = keep
        self._segment: VideoFileWriter | None = None
        self._started_at = 0.0
        self._left = 0
        # With what a crash left unfinished, or restart after restart would fill the disk.
        self._ours = re.compile(
            rf"{re.escape(self._path.stem)}_\d{{8}}-\d{{6}}(_\d+)?(\.part)?"
            rf"{re.escape(self._path.suffix)}"
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error

    def write(self, picture: NDArray[np.uint8], name: str) -> None:
        over = time.monotonic() - self._started_at >= self._segment_s or self._left <= 0
        if self._segment is not None and over:
            self._finish()
        if self._segment is None:
            self._segment = VideoFileWriter(str(self._next_path()), self._fps)
            self._started_at = time.monotonic()
            self._left = max(1, round(self._segment_s * self._fps()))
        self._segment.write(picture, name)
        self._left -= 1

    def close(self) -> None:
        self._finish()

    def _finish(self) -> None:
        segment, self._segment = self._segment, None
        try:
            if segment is not None:
                segment.close()
        finally:
            self._delete_oldest()

    def _next_path(self) -> Path:
        moment = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        path, count = self._with(moment), 1
        while path.exists():  # a short segment, or a clock that was set back
            count += 1
            path = self._with(f"{moment}_{count}")
        return path

    def _with(self, ending: str) -> Path:
        return self._path.with_name(f"{self._path.stem}_{ending}{self._path.suffix}")

    def _delete_oldest(self) -> None:
        if not self._keep:
            return
        found = [p for p in self._path.parent.iterdir() if self._ours.fullmatch(p.name)]
        # By when they were last written: the names' clock may have been set.
        found.sort(key=lambda p: p.stat().st_mtime_ns)
        for path in found[: -self._keep]:
            with contextlib.suppress(OSError):
                path.unlink()
