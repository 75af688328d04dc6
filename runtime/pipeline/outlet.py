"""A bounded queue from a pipeline to whoever iterates over it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Literal

from blurvote.runtime.observation import Observation
from blurvote.runtime.pipeline.backlog import Item
from blurvote.runtime.pipeline.delivery import without_pixels

__all__ = ["Outlet"]


class Outlet:
    """Items for one consumer.

    Args:
        capacity: items that may wait.
        overflow: what `put` does when that many wait: `"drop"` loses the oldest and counts it,
            `"wait"` waits for the consumer.
        pixels: whether the consumer needs those of the frames; else they are not kept alive.
    """

    def __init__(
        self, capacity: int, overflow: Literal["drop", "wait"], pixels: bool = True
    ) -> None:
        self.dropped = 0
        self._waits = overflow == "wait"
        self._items: deque[Item] = deque()
        self._capacity = capacity
        self._pixels = pixels
        self._changed = threading.Condition()
        self._closed = False
        self._wake: Callable[[], None] = lambda: None

    def put(self, item: Item) -> None:
        """Adds an item; ignored once closed."""
        if isinstance(item, Observation) and not self._pixels:
            item = without_pixels(item)
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed:
                if self._waits:
                    self._changed.wait()
                else:
                    self._items.popleft()
                    self.dropped += 1
            if self._closed:
                return
            self._items.append(item)
            self._changed.notify_all()
        self._wake()

    def get(self, timeout_s: float) -> Item | None:
        """The oldest item; None when none came in time or the outlet is finished."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout_s)
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
            return item

    def never_wait(self) -> None:
        """From now on `put` loses the oldest item where it would have waited."""
        with self._changed:
            self._waits = False
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether it takes no more items."""
        return self._closed

    @property
    def finished(self) -> bool:
        """Whether it is closed and nothing waits any more."""
        with self._changed:
            return self._closed and not self._items

    def close(self) -> None:
        """Takes no more items; those that wait can still be got."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._wake()

    def on_change(self, wake: Callable[[], None]) -> None:
        """Calls `wake`, from any thread, whenever there may be something to get."""
        self._wake = wake
