"""Thins out log lines that say the same again and again."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

__all__ = ["Repeats"]

_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_KINDS_OF_TEXT = 8  # per camera and kind; further ones, as with a name in each, count as one


@dataclass
class _Seen:
    until: float
    held: int = 0
    last: logging.LogRecord | None = None


class Repeats:
    """Lets one record per camera, kind and text through in a while, and counts the rest.

    Texts that differ in their numbers only are the same. What was held back comes out as its last
    record, with `(and 41 more like this)`, once the while is over and anything is logged.

    Args:
        every_s: how long a while is; 0 lets everything through.
        clock: seconds.
    """

    def __init__(self, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._every_s = every_s
        self._clock = clock
        self._seen: dict[tuple[object, object], dict[str, _Seen]] = {}
        self._lock = threading.Lock()

    def admit(self, record: logging.LogRecord) -> list[logging.LogRecord]:
        """What to write now that `record` has come."""
        if self._every_s <= 0:
            return [record]
        with self._lock:
            now = self._clock()
            due = list(self._due(now))
            event = getattr(record, "event", None)
            key = (event.camera, event.kind) if event else (None, record.name)
            texts = self._seen.setdefault(key, {})
            text = _NUMBER.sub("#", record.getMessage())
            if text not in texts and len(texts) >= _KINDS_OF_TEXT:
                text = ""
            seen = texts.get(text)
            if seen is None:
                texts[text] = _Seen(now + self._every_s)
                return [*due, record]
            seen.held += 1
            seen.last = record
            return due

    def flush(self) -> list[logging.LogRecord]:
        """All that was held back."""
        with self._lock:
            return list(self._due(float("inf")))

    def _due(self, now: float) -> Iterator[logging.LogRecord]:
        for key, texts in [*self._seen.items()]:
            for text, seen in [*texts.items()]:
                if now < seen.until:
                    continue
                if seen.last is None:
                    del texts[text]
                    continue
                record, more = seen.last, seen.held - 1
                if more:
                    record.msg = f"{record.getMessage()} (and {more} more like this)"
                    record.args = None
                # It counts as said just now.
                texts[text] = _Seen(now + self._every_s)
                yield record
            if not texts:
                del self._seen[key]
