"""Frames in real time, from sources that would deliver them as fast as they are read."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.source import Source

__all__ = ["Clock", "PacedSource"]


class Clock:
    """Says when frame after frame is due, without drift: at a start plus a multiple of 1/fps."""

    def __init__(self, frames_per_second: float) -> None:
        self._interval = 1 / frames_per_second
        self._start: float | None = None
        self._count = 0
        self._closed = threading.Event()

    def wait(self, skip: bool = False) -> float | None:
        """Sleeps until the next frame is due; the first is due at once.

        Args:
            skip: where the caller is late by more than a frame, frames are left out as a camera
                does, instead of being due long ago.

        Returns:
            When it was due, in seconds of `time.monotonic()`; None once closed.
        """
        now = time.monotonic()
        if self._start is None:
            self._start = now
        due = self._start + self._count * self._interval
        if skip and now - due > self._interval:
            self._count += int((now - due) / self._interval)
            due = self._start + self._count * self._interval
        self._count += 1
        if self._closed.wait(max(0.0, due - now)):
            return None
        return due

    def close(self) -> None:
        """Ends a `wait` of another thread."""
        self._closed.set()


class PacedSource:
    """A file's frames, each no sooner than it is due; every frame is delivered, late or not.

    A frame's `captured_at` is when it was due.

    Args:
        source: whose frames.
        fps: None takes the source's own rate.

    Raises:
        SourceError: neither gives a rate.
    """

    def __init__(self, source: Source, fps: float | None, name: str) -> None:
        rate = fps or source.frames_per_second
        if rate is None:
            source.close()
            raise SourceError(f"{name} has no frame rate of its own; pace needs fps, such as 10")
        self.total = source.total
        self.frames_per_second: float | None = rate
        self.live = False
        self._source = source
        self._clock = Clock(rate)

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is None:
            return None
        due = self._clock.wait()
        return None if due is None else replace(frame, captured_at=due)

    def close(self) -> None:
        self._clock.close()
        self._source.close()
