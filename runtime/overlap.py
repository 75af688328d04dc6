"""Verdicts on a stream of frames, the work on one frame overlapping that on the next.

A verdict is view building and vote on the CPU, and on a GPU also a copy to the device and an
inference there, one after the other; each of them leaves idle what the others need. Several frames
in flight keep all of it busy: throughput for a little latency.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import PlanError
from blurvote.runtime.frame import Frame
from blurvote.runtime.noise_switch import Judge, NoiseSwitch
from blurvote.runtime.verdict import Verdict

__all__ = ["classify_stream"]

MOST = 16  # frames in flight

Given = Frame | NDArray[np.uint8]
Classify = Callable[[Given, Judge], Verdict]


def classify_stream(
    classify: Classify, frames: Iterable[Given], depth: int = 2
) -> Generator[Verdict, None, None]:
    """See `Guard.classify_stream`.

    Args:
        classify: the verdict on one frame, whose noise it has the judge decide on, if it has any.
        frames, depth: as there.
    """
    if type(depth) is not int or not 1 <= depth <= MOST:
        raise PlanError(f"depth is {depth!r}; expected an integer from 1 to {MOST}")
    return _Stream(classify, frames, depth).verdicts()


class _Turn:
    """One frame's turn to be judged: in the order of frames, though several are in flight.

    Its noise is measured while it waits, and no frame waits for the inference of another.

    Args:
        before: the turn of the frame before it; None for the first.
    """

    def __init__(self, before: _Turn | None) -> None:
        self.over = threading.Event()
        self._before: threading.Event | None = before.over if before else None
        # Of the frames without a source: this stream's alone, and gone with it.
        self._unnamed: list[NoiseSwitch] = before._unnamed if before else []

    def judge(self, switch: NoiseSwitch, level: float | None, source: str) -> bool:
        """A `Judge`."""
        self.wait()
        try:
            if source:
                return switch(level, source)
            if not self._unnamed:
                self._unnamed.append(NoiseSwitch(switch.low, switch.high))
            return self._unnamed[0](level, "this stream")
        finally:
            self.over.set()

    def wait(self) -> None:
        """Until the frames before it were judged, or need not be."""
        if self._before:
            self._before.wait()


class _Stream:
    """Threads that each take the next frame, classify it and put its verdict in its place."""

    def __init__(
        self,
        classify: Classify,
        frames: Iterable[Given],
        depth: int,
    ) -> None:
        self._classify = classify
        self._frames = iter(frames)
        self._depth = depth
        self._turn: _Turn | None = None  # of the frame that was taken last
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
                turn = self._turn = _Turn(self._turn)
            try:
                place.set_result(self._classify(frame, turn.judge))
            except BaseException as error:  # raised again in the consumer
                self._over = True
                place.set_exception(error)
                turn.wait()  # the next frame must not be judged before those that come before both
            finally:
                turn.over.set()

    def _end(self) -> None:
        self._over = True
        self._ordered.put(None)
