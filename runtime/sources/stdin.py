"""Lines of stdin, for a thread that others must be able to get back."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator

__all__ = ["StdinLines"]

LOOK_S = 0.1


class StdinLines:
    """Lines that are not empty, as file names, from any thread.

    A thread that waits inside Python's own stdin cannot be ended, and the interpreter then dies of
    it at exit; this one looks every tenth of a second whether it was closed.
    """

    def __init__(self) -> None:
        self._closed = False
        self._lines = self._read()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        return next(self._lines)

    def close(self) -> None:
        """Ends the iteration, also one that waits."""
        self._closed = True

    def _read(self) -> Iterator[str]:
        # As bytes: a file name need not be text in the locale's encoding.
        rest = b""
        while not self._closed and (piece := self._piece()) is not None:
            *lines, rest = (rest + piece).split(b"\n")
            yield from (os.fsdecode(line) for line in map(_bare, lines) if line)
        if _bare(rest) and not self._closed:
            yield os.fsdecode(_bare(rest))

    def _piece(self) -> bytes | None:
        """What can be read now; None at the end, and once closed."""
        try:
            number = sys.stdin.fileno()
        except (OSError, ValueError):  # a stand-in for stdin, which never makes anybody wait
            return sys.stdin.buffer.read() or None
        while not self._closed:
            ready, _, _ = select.select([number], [], [], LOOK_S)
            if ready:
                return os.read(number, 1 << 16) or None
        return None


def _bare(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")
