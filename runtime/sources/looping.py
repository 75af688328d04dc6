"""Files that start over at their end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.source import Source

__all__ = ["LoopedSource"]


class LoopedSource:
    """Opens a source again at its end; frame numbers go on counting.

    Ends with a SourceError after a round without any frame.
    """

    def __init__(self, opener: Callable[[], Source], name: str) -> None:
        self._opener = opener
        self._name = name
        self._source = opener()
        self.total: int | None = None
        self.frames_per_second = self._source.frames_per_second
        self.live = False
        self._sequence = self._in_round = 0
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        while not self._closed.is_set():
            frame = self._source.read()
            if frame is not None:
                self._sequence += 1
                self._in_round += 1
                return replace(frame, sequence=self._sequence - 1)
            if self._closed.is_set():
                break
            if not self._in_round:
                self.close()
                raise SourceError(f"{self._name} gave no frame in a whole round; it ends here")
            self._source.close()
            self._source, self._in_round = self._opener(), 0
            if self._closed.is_set():
                self._source.close()
        return None

    def close(self) -> None:
        self._closed.set()
        self._source.close()
