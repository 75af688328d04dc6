"""From the guard's thread to everybody who wants to know: sinks and iterators."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from blurvote.runtime.errors import BlurvoteError, SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.backlog import Item
from blurvote.runtime.pipeline.delivery import Delivery
from blurvote.runtime.pipeline.outlet import Outlet
from blurvote.runtime.sinks import CallbackSink, Sink, SinkContext, open_sink
from blurvote.runtime.sinks.options import split_options
from blurvote.runtime.sources.redact import without_password

__all__ = ["AnySink", "FanOut"]

AnySink = str | Sink | Callable[[Observation], None]
"""A URI (see `open_sink`), an open sink, or a function."""

PICTURES, LINES = 4, 1000  # items that may wait for an iterator, with and without pixels
LEAST_S = 1.0  # that sinks get to deliver what waits, however late it is


class FanOut:
    """Sinks and outlets of one pipeline. Any thread may call.

    Args:
        emit: takes events about the sinks.
    """

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._lock = threading.Lock()  # what outlets there are, and what is said to all of them
        self._deliveries: list[Delivery] = []
        self._outlets: tuple[Outlet, ...] = ()
        self._waits = True
        self._ended = False

    def open(self, sinks: Sequence[AnySink], context: SinkContext) -> None:
        """Opens sinks, each with a thread of its own.

        Raises:
            SinkError: one cannot be opened, or two write to the same place; none is opened then.
        """
        _refuse_twins([given for given in sinks if isinstance(given, str)])
        opened: list[tuple[str, Sink]] = []
        try:
            for given in sinks:
                if isinstance(given, str):
                    opened.append((without_password(given), open_sink(given, context)))
                elif callable(given):
                    name = getattr(given, "__qualname__", repr(given))
                    opened.append((name, CallbackSink(given)))
                else:
                    opened.append((type(given).__name__, given))
        except BlurvoteError:
            for _, sink in opened:
                with contextlib.suppress(BlurvoteError):
                    sink.close()
            raise
        self._deliveries = [Delivery(name, sink, "wait", self._emit) for name, sink in opened]

    def outlet(self, pixels: bool) -> Outlet:
        """A new queue of what is put from now on; see `Pipeline.outlet`."""
        with self._lock:
            overflow: Literal["drop", "wait"] = "wait" if self._waits else "drop"
            made = Outlet(PICTURES if pixels else LINES, overflow, pixels)
            if self._ended:
                made.close()
            self._outlets = (*(one for one in self._outlets if not one.closed), made)
            return made

    def put(self, observation: Observation) -> None:
        """Hands an observation to all.

        Raises:
            SinkError: a sink failed that may not lose anything.
        """
        for delivery in self._deliveries:
            delivery.put(observation)
        self._to_outlets(observation)

    def tell(self, event: Event) -> None:
        """Hands an event to all."""
        for delivery in self._deliveries:
            delivery.tell(event)
        self._to_outlets(event)

    def _to_outlets(self, item: Item) -> None:
        for outlet in self._outlets:
            outlet.put(item)

    def never_wait(self) -> None:
        """From now on nobody is waited for: a live source has joined, or all is to end."""
        with self._lock:
            self._waits = False
            for outlet in self._outlets:
                outlet.never_wait()
        for delivery in self._deliveries:
            delivery.never_wait()

    def let_go(self) -> None:
        """Iterators that do not come for their items are not waited for any more."""
        with self._lock:
            for outlet in self._outlets:
                outlet.never_wait()

    def end(self) -> None:
        """No more items will come; those that wait can still be got."""
        with self._lock:
            self._ended = True
            for outlet in self._outlets:
                outlet.close()

    def close(self, deadline: float) -> BlurvoteError | None:
        """Ends all, and has every sink deliver what waits until `deadline` (monotonic).

        Returns:
            The first failure of a sink that may not lose anything.
        """
        self.end()
        for delivery in self._deliveries:
            delivery.begin_close(max(LEAST_S, deadline - time.monotonic()))
        failure = None
        for delivery in self._deliveries:
            try:
                delivery.close(max(LEAST_S, deadline - time.monotonic()))
            except BlurvoteError as error:
                failure = failure or error
        return failure

    def snapshot(self) -> list[dict[str, Any]]:
        """Of every sink; see `Delivery.snapshot`."""
        return [delivery.snapshot() for delivery in self._deliveries]


def _refuse_twins(uris: Sequence[str]) -> None:
    places: set[str] = set()
    for uri in uris:
        name = split_options(uri.removeprefix("jsonl:"))[0]
        place = name if "://" in name else str(Path(name).resolve())
        if place in places and not name.startswith(("gst:", "window:")):
            raise SinkError(f"two sinks write to {without_password(name)}; give each its own")
        places.add(place)
