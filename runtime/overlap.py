"""Verdicts on a stream of frames, the work on one frame overlapping that on the next.

A verdict is view building and vote on the CPU, and on a GPU also a copy to the device and an
inference there, one after the other; each of them leaves idle what the others need. Several frames
in flight keep all of it busy: throughput for a little latency.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import PlanError
from blurvote.runtime.frame import Colour, Frame
from blurvote.runtime.verdict import Verdict

if TYPE_CHECKING:
    from blurvote.runtime.guard import Guard

__all__ = ["classify_stream"]

MOST = 16  # frames in flight


def classify_stream(
    guard: Guard,
    frames: Iterable[Frame | NDArray[np.uint8]],
    depth: int = 2,
    colour: Colour = "rgb",
) -> Generator[Verdict, None, None]:
    """See `Guard.classify_stream`."""
    if type(depth) is not int or not 1 <= depth <= MOST:
        raise PlanError(f"depth is {depth!r}; expected an integer from 1 to {MOST}")
    return _Stream(guard, frames, depth, colour).verdicts()


class _Stream:
    """Threads that each take the next frame, classify it and put its verdict in its place."""

    def __init__(
        self,
        guard: Guard,
        frames: Iterable[Frame | NDArray[np.uint8]],
        depth: int,
        colour: Colour,
    ) -> None:
        self._guard = guard
        self._frames = iter(frames)
        self._colour = colour
        self._depth = depth
        self._taking = threading.Lock()  # of the next frame, and its place in the order
        self._room = threading.Semaphore(depth)  # for frames whose verdict nobody has yet
        self._ordered: queue.SimpleQueue[Future[Verdict] | None] = queue.SimpleQueue()
        self._over = False

    def verdicts(self) -> Generator[Verdict, None, None]:
        threads = [
            threading.Thread(target=self._work, name=f"blurvote-stream-{n}", daemon=True)
            for n in range(self._depth)
        ]
        started = []
        try:
            for thread in threads:
                thread.start()  # for which the system may have no room
                started.append(thread)
            while (place := self._ordered.get()) is not None:
                yield place.result()
                self._room.release()
        finally:
            self._over = True
            self._room.release(self._depth)  # wakes those who wait for room
            for thread in started:
                thread.join()

    def _work(self) -> None:
        while True:
            self._room.acquire()
            with self._taking:
                if self._over:
                    return
                place: Future[Verdict] = Future()
                try:
                    frame = next(self._frames)
                except StopIteration:
                    self._end()
                    return
                except BaseException as error:  # of the caller's own code; told where it belongs
                    place.set_exception(error)
                    self._ordered.put(place)
                    self._end()
                    return
                self._ordered.put(place)
            try:
                place.set_result(self._guard.classify(frame, self._colour))
            except BaseException as error:  # raised again in the consumer
                self._over = True
                place.set_exception(error)

    def _end(self) -> None:
        self._over = True
        self._ordered.put(None)
