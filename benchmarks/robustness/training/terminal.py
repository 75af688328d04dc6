"""What a training says on stderr while it runs."""

from __future__ import annotations

import sys
import time

__all__ = ["Terminal"]

_EVERY_SECONDS = 0.2


class Terminal:
    """Lines that stay, and on a TTY one line that is written over."""

    def __init__(self, epochs: int) -> None:
        self._epochs = epochs
        self._live = sys.stderr is not None and sys.stderr.isatty()
        self._shown_at = 0.0

    def say(self, line: str) -> None:
        """A line that stays."""
        erase = "\r\x1b[K" if self._live else ""
        print(f"{erase}... {line}", file=sys.stderr, flush=True)

    def progress(self, epoch: int, step: int, steps: int, seconds_left: float) -> None:
        """How far the training is; written a few times a second at most."""
        now = time.monotonic()
        if not self._live or now - self._shown_at < _EVERY_SECONDS:
            return
        self._shown_at = now
        minutes, seconds = divmod(round(seconds_left), 60)
        line = f"epoch {epoch}/{self._epochs}, step {step}/{steps}, {minutes}:{seconds:02d} left"
        print(f"\r\x1b[K{line}", end="", file=sys.stderr, flush=True)
