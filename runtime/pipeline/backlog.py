"""Observations and events that wait for a sink: in order, bounded each on their own."""

from __future__ import annotations

from collections import deque

from blurvote.runtime.observation import Event, Observation

__all__ = ["MAX_EVENTS", "Backlog", "Item"]

MAX_EVENTS = 1000

Item = Observation | Event


class Backlog:
    """A queue of at most `capacity` observations and `MAX_EVENTS` events; not thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._observations: deque[tuple[int, Observation]] = deque()
        self._events: deque[tuple[int, Event]] = deque()
        self._turn = 0  # of the next item; the lower turn of the two queues' heads comes first
        self.events_dropped = 0

    def __bool__(self) -> bool:
        return bool(self._observations or self._events)

    @property
    def observations(self) -> int:
        """How many observations wait."""
        return len(self._observations)

    @property
    def full(self) -> bool:
        """Whether one more observation would push out the oldest."""
        return len(self._observations) >= self._capacity

    def add(self, item: Item) -> int:
        """Queues it; returns how many observations (0 or 1) were pushed out for it."""
        self._turn += 1
        if isinstance(item, Event):
            self._events.append((self._turn, item))
            if len(self._events) > MAX_EVENTS:
                self._events.popleft()
                self.events_dropped += 1
            return 0
        pushed_out = self.full
        if pushed_out:
            self._observations.popleft()
        self._observations.append((self._turn, item))
        return int(pushed_out)

    def take(self) -> Item:
        """The oldest item; there must be one."""
        if not self._observations:
            return self._events.popleft()[1]
        if self._events and self._events[0][0] < self._observations[0][0]:
            return self._events.popleft()[1]
        return self._observations.popleft()[1]

    def clear(self) -> int:
        """Drops all; returns how many observations that were."""
        lost = len(self._observations)
        self.events_dropped += len(self._events)
        self._observations.clear()
        self._events.clear()
        return lost
