"""Frames that wait for the guard: the newest of every camera, every one of a file.

A camera's slot holds one frame, and a newer one takes its place. A file's slot holds a few, and its
reader waits while it is full. The guard's thread takes at most one frame of each slot at a time,
those first that were served least recently, so that no camera can crowd out another.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

from blurvote.runtime.frame import Frame
from blurvote.runtime.verdict import Reason

__all__ = ["Counts", "Mailbox", "Slot", "Waiting"]

READ_AHEAD = 2  # frames of a file that are decoded while the guard is busy
EXPECTED_S = 1.0  # a camera that was silent for longer is not waited for

Owner = TypeVar("Owner")


@dataclass(frozen=True, eq=False)
class Waiting(Generic[Owner]):
    """A frame in its slot.

    Attributes:
        slot: whose it is.
        frame: what was seen.
        flaw: why it will be rejected without inference, or None.
        since: when it came, in seconds of `time.monotonic()`.
    """

    slot: Slot[Owner]
    frame: Frame
    flaw: Reason | None
    since: float


@dataclass(frozen=True)
class Counts:
    """What became of one slot's frames: `frames == dropped + finished + pending`.

    Attributes:
        frames: all that came; of a file those that were taken, since what was read ahead may never
            be asked for.
        dropped: gave way to newer ones, or were left when nobody wanted them any more.
        finished: have their verdict.
        pending: wait, or are with the guard; counted on its own, not as the rest of the others.
    """

    frames: int
    dropped: int
    finished: int
    pending: int


class Slot(Generic[Owner]):
    """Where one reader puts its frames. Made by `Mailbox.slot`; any thread may call."""

    def __init__(self, mailbox: Mailbox[Owner], owner: Owner) -> None:
        self.owner = owner
        self.newest_wins = True
        self.waiting: deque[Waiting[Owner]] = deque()
        self.shut_down = False
        self.frames = self.dropped = self.in_hand = self.finished = 0
        self.last_put = self.last_taken = float("-inf")
        self._mailbox = mailbox
        self._changed = mailbox.changed

    def put(self, frame: Frame, flaw: Reason | None = None) -> bool:
        """Hands a frame over; waits for room in a file's slot.

        Returns:
            False when nobody wants frames of this slot any more.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self.shut_down or self.newest_wins or len(self.waiting) < READ_AHEAD
            )
            if self.shut_down:
                return False
            self.last_put = time.monotonic()
            if self.newest_wins:
                self.frames += 1
                self.dropped += len(self.waiting)
                self.waiting.clear()
            self.waiting.append(Waiting(self, frame, flaw, self.last_put))
            self._changed.notify_all()
            return True

    def settle(self) -> None:
        """Waits until the verdicts on all frames are out, or nobody wants them."""
        with self._changed:
            self._changed.wait_for(lambda: self.shut_down or not (self.waiting or self.in_hand))

    def shut(self) -> None:
        """Takes no more frames; those that wait stay."""
        with self._changed:
            self.shut_down = True
            self._changed.notify_all()

    def remove(self, timeout_s: float) -> None:
        """Shuts it, drops what waits, and waits for the verdict on what the guard has in hand."""
        with self._changed:
            self._discard()
            self._mailbox.slots.remove(self)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self.in_hand, timeout_s)

    @property
    def idle(self) -> bool:
        """Whether no frame waits."""
        with self._changed:
            return not self.waiting

    @property
    def counts(self) -> Counts:
        """What became of its frames so far."""
        with self._changed:
            waiting = len(self.waiting) if self.newest_wins else 0
            return Counts(self.frames, self.dropped, self.finished, waiting + self.in_hand)

    def _take(self) -> Waiting[Owner]:
        self.frames += not self.newest_wins
        self.in_hand += 1
        self.last_taken = time.monotonic()
        return self.waiting.popleft()

    def _discard(self) -> None:
        self.shut_down = True
        if self.newest_wins:
            self.dropped += len(self.waiting)
        self.waiting.clear()


class Mailbox(Generic[Owner]):
    """The slots between the reader threads and the guard's thread."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.slots: list[Slot[Owner]] = []
        self._woken = self._closed = False

    def slot(self, owner: Owner) -> Slot[Owner]:
        """A new slot; a camera's, until its `newest_wins` says otherwise."""
        with self.changed:
            made = Slot(self, owner)
            made.shut_down = self._closed
            self.slots.append(made)
            return made

    def take(self, most: int, linger_s: float, timeout_s: float) -> list[Waiting[Owner]]:
        """Frames of up to `most` different slots; empty after `timeout_s` without any.

        Args:
            most: frames to take at most.
            linger_s: how long after its arrival the oldest frame may be held for others to come.
            timeout_s: how long to wait for a first one.
        """
        with self.changed:
            deadline = time.monotonic() + timeout_s
            while not (full := self._full()):
                left = deadline - time.monotonic()
                if left <= 0 or self._closed or self._woken:
                    self._woken = False
                    return []
                self.changed.wait(left)
            until = min(slot.waiting[0].since for slot in full) + linger_s
            while len(full) < min(most, self._expected()) and not self._closed:
                left = until - time.monotonic()
                if left <= 0:
                    break
                self.changed.wait(left)
                full = self._full()
            least_recently = sorted(full, key=lambda slot: slot.last_taken)
            taken = [slot._take() for slot in least_recently[:most]]
            self.changed.notify_all()
            return taken

    def finish(self, taken: list[Waiting[Owner]]) -> None:
        """The verdicts on frames that were taken are out."""
        with self.changed:
            for one in taken:
                one.slot.in_hand -= 1
                one.slot.finished += 1
            self.changed.notify_all()

    def wake(self) -> None:
        """Makes a `take` that waits for a first frame, or the next one to do so, return at once."""
        with self.changed:
            self._woken = True
            self.changed.notify_all()

    def close(self) -> None:
        """Takes no more frames; those that wait count as dropped."""
        with self.changed:
            self._closed = True
            for slot in self.slots:
                slot._discard()
            self.changed.notify_all()

    def _full(self) -> list[Slot[Owner]]:
        return [slot for slot in self.slots if slot.waiting]

    def _expected(self) -> int:
        """How many slots have a frame waiting or are likely to get one soon."""
        since = time.monotonic() - EXPECTED_S
        return sum(
            bool(slot.waiting) or (slot.last_put > since and not slot.shut_down)
            for slot in self.slots
        )
