"""Frames that wait for the guard: the newest of every camera, every one of a file.

A camera's slot holds one frame, and a newer one takes its place. A file's slot holds a few, and its
reader waits while it is full. The guard's thread takes at most one frame of each camera at a time,
those first that were served least recently, so that no camera can crowd out another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field

from blurvote.runtime.frame import Frame
from blurvote.runtime.verdict import Reason

__all__ = ["Counts", "Mailbox", "Waiting"]

READ_AHEAD = 2  # frames of a file that are decoded while the guard is busy
EXPECTED_S = 1.0  # a camera that was silent for longer is not waited for


@dataclass(frozen=True, eq=False)
class Waiting:
    """A frame in its slot.

    Attributes:
        camera: whose it is.
        frame: what was seen.
        flaw: why it will be rejected without inference, or None.
        since: when it came, in seconds of `time.monotonic()`.
    """

    camera: str
    frame: Frame
    flaw: Reason | None
    since: float


@dataclass(frozen=True)
class Counts:
    """Of one camera: `frames` that came, `dropped` for newer ones, `taken` by the guard's thread.

    `frames == dropped + taken + (what still waits)`, always. A file's frames count once they are
    taken, since those read ahead may never be asked for.
    """

    frames: int
    dropped: int
    taken: int


@dataclass
class _Slot:
    newest_wins: bool
    waiting: deque[Waiting] = field(default_factory=deque)
    shut: bool = False
    frames: int = 0
    dropped: int = 0
    taken: int = 0
    finished: int = 0
    last_put: float = float("-inf")
    last_taken: float = float("-inf")


class Mailbox:
    """One slot per camera, between the reader threads and the guard's thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._slots: dict[str, _Slot] = {}
        self._closed = False
        self._woken = False

    def open(self, camera: str, newest_wins: bool) -> None:
        """Makes a slot, or changes the kind of one that is there."""
        with self._changed:
            if camera in self._slots:
                self._slots[camera].newest_wins = newest_wins
                self._slots[camera].shut = False
            else:
                self._slots[camera] = _Slot(newest_wins)

    def put(self, camera: str, frame: Frame, flaw: Reason | None = None) -> bool:
        """Hands a frame over; waits for room in a file's slot.

        Returns:
            False when nobody wants frames of this camera any more.
        """
        with self._changed:
            slot = self._slots.get(camera)
            while (
                slot
                and not (slot.shut or self._closed or slot.newest_wins)
                and len(slot.waiting) >= READ_AHEAD
            ):
                self._changed.wait()
                slot = self._slots.get(camera)
            if slot is None or slot.shut or self._closed:
                return False
            now = time.monotonic()
            if slot.newest_wins:
                slot.frames += 1
                slot.dropped += len(slot.waiting)
                slot.waiting.clear()
            slot.waiting.append(Waiting(camera, frame, flaw, now))
            slot.last_put = now
            self._changed.notify_all()
            return True

    def take(self, most: int, linger_s: float, timeout_s: float) -> list[Waiting]:
        """Frames of up to `most` different cameras; empty after `timeout_s` without any.

        Args:
            most: frames to take at most.
            linger_s: how long after its arrival the oldest frame may be held for others to come.
            timeout_s: how long to wait for a first one.
        """
        with self._changed:
            deadline = time.monotonic() + timeout_s
            while not (full := self._full()):
                left = deadline - time.monotonic()
                if left <= 0 or self._closed or self._woken:
                    self._woken = False
                    return []
                self._changed.wait(left)
            until = min(slot.waiting[0].since for slot in full) + linger_s
            while len(full) < min(most, self._expected()) and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
                full = self._full()
            now = time.monotonic()
            taken = []
            for slot in sorted(full, key=lambda slot: slot.last_taken)[:most]:
                taken.append(slot.waiting.popleft())
                slot.taken += 1
                slot.frames += not slot.newest_wins
                slot.last_taken = now
            self._changed.notify_all()
            return taken

    def finish(self, taken: list[Waiting]) -> None:
        """The verdicts on frames that were taken are out."""
        with self._changed:
            for one in taken:
                if one.camera in self._slots:
                    self._slots[one.camera].finished += 1
            self._changed.notify_all()

    def settle(self, camera: str) -> None:
        """Waits until the verdicts on all frames of this camera are out, or nobody wants them."""
        with self._changed:
            while (
                (slot := self._slots.get(camera))
                and not (slot.shut or self._closed)
                and (slot.waiting or slot.finished < slot.taken)
            ):
                self._changed.wait()

    def wake(self) -> None:
        """Makes a `take` that waits for a first frame, or the next one to do so, return at once."""
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def shut(self, camera: str) -> None:
        """Takes no more frames of this camera; those that wait stay."""
        with self._changed:
            if camera in self._slots:
                self._slots[camera].shut = True
                self._changed.notify_all()

    def empty(self, camera: str) -> bool:
        """Whether no frame of this camera waits."""
        with self._changed:
            return camera not in self._slots or not self._slots[camera].waiting

    def counts(self, camera: str) -> Counts:
        """What became of a camera's frames so far."""
        with self._changed:
            slot = self._slots.get(camera) or _Slot(newest_wins=True)
            return Counts(slot.frames, slot.dropped, slot.taken)

    def forget(self, camera: str) -> None:
        """Removes a camera's slot with what waits in it."""
        with self._changed:
            self._slots.pop(camera, None)
            self._changed.notify_all()

    def close(self) -> None:
        """Takes no more frames; those that wait count as dropped."""
        with self._changed:
            self._closed = True
            for slot in self._slots.values():
                if slot.newest_wins:
                    slot.dropped += len(slot.waiting)
                slot.waiting.clear()
            self._changed.notify_all()

    def _full(self) -> list[_Slot]:
        return [slot for slot in self._slots.values() if slot.waiting]

    def _expected(self) -> int:
        """How many cameras have a frame waiting or are likely to deliver one soon."""
        since = time.monotonic() - EXPECTED_S
        return sum(
            bool(slot.waiting) or (slot.last_put > since and not slot.shut)
            for slot in self._slots.values()
        )
