"""Delivers to one sink from a thread of its own, so that a slow or broken one stalls nobody."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from blurvote.runtime.errors import SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.backlog import Backlog, Item

if TYPE_CHECKING:  # sinks need what flows in pipelines, not the other way round
    from blurvote.runtime.sinks.sink import Sink

__all__ = ["Delivery", "Overflow", "Retry", "without_pixels"]

Overflow = Literal["wait", "drop"]
State = Literal["ok", "failing", "failed"]

PICTURES, LINES = 4, 1000  # default capacities: a 4K frame is 25 MB, a verdict under 1 KB
FINISH_S = 30.0  # that a sink's own close may take, such as a video's index
GRACE_S = 1.0  # beyond its deadline that a thread may take to notice it
QUIET_S = 10.0  # a sink that fails again and again is told of no more often than this
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True)
class Retry:
    """How a failed write is tried again.

    Attributes:
        first_s: the first pause, doubled after each failure and shortened at random by up to half.
        longest_s: no pause is longer.
        attempts: retries of one item. Afterwards `wait` gives up. `drop` goes on for ever after a
            SinkError, which says that the sink is to blame; after any other exception it drops the
            item, which may be to blame itself.
    """

    first_s: float = 0.1
    longest_s: float = 30.0
    attempts: int = 3


def without_pixels(observation: Observation) -> Observation:
    """The same observation with a frame of shape `(0, 0, 3)`, so that a queue keeps none alive."""
    return replace(observation, frame=replace(observation.frame, pixels=_NO_PIXELS))


class Delivery:
    """One thread and one bounded queue for one sink.

    Call `open_sink` in the thread that starts the run: it raises at once for what can be known at
    once (an unknown scheme, a missing package, an impossible path). Sinks connect in their first
    write, in the delivery's thread, so a broker that is not there yet is just a write that fails.

    Observations and events keep their order. What of the two overflows is settled apart: at most
    `capacity` observations and `backlog.MAX_EVENTS` events wait, so events are never lost to make
    room for observations.

    Args:
        name: of the sink, as people know it; no password in it.
        sink: opened; used by the delivery's thread only, and closed by it.
        overflow: `"drop"` for live streams: `put` never blocks, the oldest waiting observation is
            dropped and counted, and failed writes are tried again for ever. `"wait"` for files,
            where nothing may be lost: `put` blocks while the queue is full, and raises once an
            item has failed all its retries.
        tell_event: called with `Event(kind="sink")` when the sink begins to fail and when it works
            again; from the delivery's thread, so it must not block; it may call `tell`.
        capacity: observations that may wait; None for 4 where the sink holds pictures, else 1000.
        retry: pauses between attempts.
    """

    def __init__(
        self,
        name: str,
        sink: Sink,
        overflow: Overflow,
        tell_event: Callable[[Event], None] | None = None,
        capacity: int | None = None,
        retry: Retry | None = None,
    ) -> None:
        self.name = name
        self._sink = sink
        self._waits = overflow == "wait"
        self._tell_event = tell_event
        self._retry = retry or Retry()
        self._holds_pictures = sink.holds_pictures
        self._backlog = Backlog(capacity or (PICTURES if self._holds_pictures else LINES))
        self._changed = threading.Condition()  # guards all below, and the backlog
        self._in_hand: Item | None = None  # taken from the backlog, not yet delivered
        self._put = self._delivered = self._dropped = self._failures = 0
        self._state: State = "ok"
        self._last_error: str | None = None
        self._error: SinkError | None = None  # for the caller of a delivery that waits
        self._raised = False
        self._pause_s = self._retry.first_s  # grows until something is delivered
        self._deadline: float | None = None  # set by `close`
        self._closing_sink = self._ended = self._abandoned = False
        self._told_failing, self._told_at = False, -QUIET_S
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)
        self._thread.start()

    def put(self, observation: Observation) -> None:
        """Queues one observation; of sinks that hold no pictures, without its pixels.

        Raises:
            SinkError: only with `overflow="wait"`: the sink failed, or the delivery is closed.
        """
        item = observation if self._holds_pictures else without_pixels(observation)
        with self._changed:
            if self._waits:
                self._changed.wait_for(self._may_put)
            if self._waits:
                self._raise_error()
                if self._deadline is not None:
                    raise SinkError(f"{self.name} is closed; nothing more can be written")
            self._put += 1
            if self._error is not None or self._deadline is not None:
                self._dropped += 1
            else:
                self._dropped += self._backlog.add(item)
            self._changed.notify_all()

    def tell(self, event: Event) -> None:
        """Queues one event; never blocks and never raises, whatever the overflow."""
        with self._changed:
            if self._deadline is None and self._error is None:
                self._backlog.add(event)
                self._changed.notify_all()

    def never_wait(self) -> None:
        """From now on `overflow` is `"drop"`; wakes whoever waits in `put`."""
        with self._changed:
            self._waits = False
            self._changed.notify_all()

    def begin_close(self, timeout_s: float) -> None:
        """Sets the time that `close` allows, and returns at once: several can end together."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_s
            self._changed.notify_all()

    def close(self, timeout_s: float = 10.0) -> None:
        """Delivers what waits for up to `timeout_s`, then drops the rest and closes the sink.

        Returns `GRACE_S` after `timeout_s` where the sink is stuck in a write (its thread is left
        behind), and at most `FINISH_S` later where its closing takes long. May be called again.

        Raises:
            SinkError: only with `overflow="wait"`: the sink failed and `put` has not told yet, or
                its output is not complete.
        """
        self.begin_close(timeout_s)
        with self._changed:
            if threading.current_thread() is self._thread:
                return  # a callback that ends the run cannot wait for itself
            self._changed.wait_for(lambda: self._closing_sink or self._ended, timeout_s + GRACE_S)
            if self._closing_sink:
                self._changed.wait_for(lambda: self._ended, FINISH_S)
            if not self._ended and not self._abandoned:
                self._abandoned = True
                lost = self._drop_rest()
                self._last_error = f"{self.name} is stuck; {lost} observations were left behind"
                self._state = "failing"
                if self._waits:
                    self._error = self._error or SinkError(self._last_error)
            self._raise_error()
        if self._ended:
            self._thread.join()

    def snapshot(self) -> dict[str, Any]:
        """Counts so far; of observations, `put` = `delivered` + `dropped` + `queued`.

        `state` is `ok`, `failing` (tried again) or `failed` (given up); `failures` counts failed
        attempts, of events too; `events_dropped` is apart.
        """
        with self._changed:
            return {
                "name": self.name,
                "state": self._state,
                "put": self._put,
                "queued": self._backlog.observations + self._observation_in_hand(),
                "delivered": self._delivered,
                "dropped": self._dropped,
                "events_dropped": self._backlog.events_dropped,
                "failures": self._failures,
                "last_error": self._last_error,
            }

    def _may_put(self) -> bool:
        over = self._error is not None or self._deadline is not None
        return over or not self._waits or not self._backlog.full

    def _observation_in_hand(self) -> int:
        return int(isinstance(self._in_hand, Observation))

    # ---- the thread ----

    def _run(self) -> None:
        while (item := self._take()) is not None:
            self._deliver(item)
        with self._changed:
            self._drop_rest()
            self._closing_sink = True
            self._changed.notify_all()
        try:
            self._sink.close()
        except BaseException as error:  # in a thread even SystemExit would go unseen
            self._note_failure(error)
            if self._waits and self._error is None:
                self._error = _as_sink_error(self.name, error)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self) -> Item | None:
        """The next item, also in hand; None when there is nothing more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._deadline is not None)
            if self._is_over() or not self._backlog:
                return None
            self._in_hand = self._backlog.take()
            self._changed.notify_all()
            return self._in_hand

    def _deliver(self, item: Item) -> None:
        failures = 0
        while (error := self._attempt(item)) is not None:
            failures += 1
            if failures > self._retry.attempts:
                if self._waits:
                    self._give_up()
                    return
                if not isinstance(error, SinkError):
                    self._drop(item)
                    return
            if not self._pause():
                return

    def _attempt(self, item: Item) -> BaseException | None:
        """Delivers the item, or returns why not."""
        try:
            if isinstance(item, Event):
                self._sink.tell(item)
            else:
                self._sink.write(item)
        except BaseException as error:
            self._note_failure(error)
            return error
        with self._changed:
            if self._abandoned:
                return None
            self._in_hand, self._pause_s = None, self._retry.first_s
            self._delivered += isinstance(item, Observation)
            works_again, self._state = self._state == "failing", "ok"
            self._changed.notify_all()
        if works_again and self._told_failing:
            self._told_failing = False
            self._tell_about(f"{self.name} works again", "ok")
        return None

    def _pause(self) -> bool:
        """Waits, while closing no longer than `first_s`; False when it is over."""
        seconds = self._pause_s * random.uniform(0.5, 1)
        self._pause_s = min(2 * self._pause_s, self._retry.longest_s)
        with self._changed:
            if not self._changed.wait_for(lambda: self._deadline is not None, seconds):
                return True
        if self._is_over():
            return False
        time.sleep(min(seconds, self._retry.first_s))
        return not self._is_over()

    def _is_over(self) -> bool:
        late = self._deadline is not None and time.monotonic() > self._deadline
        return late or self._error is not None or self._abandoned

    def _give_up(self) -> None:
        with self._changed:
            self._state = "failed"
            self._error = SinkError(self._last_error)
            self._drop_rest()
            self._changed.notify_all()

    def _drop(self, item: Item) -> None:
        with self._changed:
            if not self._abandoned:
                self._in_hand = None
                self._dropped += isinstance(item, Observation)
                self._backlog.events_dropped += isinstance(item, Event)

    def _drop_rest(self) -> int:
        """Counts all that waits as dropped; the caller holds the lock."""
        lost = self._backlog.clear() + self._observation_in_hand()
        self._in_hand = None
        self._dropped += lost
        return lost

    # ---- telling ----

    def _note_failure(self, error: BaseException) -> None:
        with self._changed:
            self._failures += 1
            self._state = "failing"
            self._last_error = str(_as_sink_error(self.name, error))
        if self._waits:
            return  # whoever puts is told by an exception
        if not self._told_failing and time.monotonic() - self._told_at >= QUIET_S:
            self._told_failing, self._told_at = True, time.monotonic()
            self._tell_about(f"{self.name} fails: {self._last_error}", "failing")

    def _tell_about(self, text: str, state: State) -> None:
        if self._tell_event is None:
            return
        data = {"sink": self.name, "state": state}
        try:
            self._tell_event(Event("sink", None, text, time.time(), data))
        except Exception as error:
            self._last_error = f"an event could not be told: {error}"

    def _raise_error(self) -> None:
        """Raises what stopped the thread; `close` after `put` does not raise it again."""
        if self._error is not None and not (self._raised and self._deadline is not None):
            self._raised = True
            raise self._error


def _as_sink_error(name: str, error: BaseException) -> SinkError:
    if isinstance(error, SinkError):
        return error
    return SinkError(f"{name} raised {type(error).__name__}: {error}")
