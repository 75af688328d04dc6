"""Slots between readers and the guard: newest wins, files wait, nobody is crowded out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from blurvote.runtime import Frame
from blurvote.runtime.pipeline.mailbox import READ_AHEAD, Counts, Mailbox, Slot

PIXELS = np.zeros((4, 4, 3), np.uint8)


def frame(sequence: int = 0) -> Frame:
    return Frame(PIXELS, sequence=sequence)


@pytest.fixture
def mailbox() -> Iterator[Mailbox[str]]:
    made: Mailbox[str] = Mailbox()
    yield made
    made.close()


def file(mailbox: Mailbox[str], name: str = "file") -> Slot[str]:
    slot = mailbox.slot(name)
    slot.newest_wins = False
    return slot


def take(
    mailbox: Mailbox[str], most: int = 8, linger_s: float = 0.0, timeout_s: float = 0.0
) -> list[str]:
    """Takes and finishes frames; returns their owners."""
    taken = mailbox.take(most, linger_s, timeout_s)
    mailbox.finish(taken)
    return [one.slot.owner for one in taken]


def test_the_newest_frame_of_a_camera_wins(mailbox: Mailbox[str]) -> None:
    slot = mailbox.slot("a")
    for n in range(5):
        assert slot.put(frame(n))
    assert slot.counts == Counts(frames=5, dropped=4, finished=0, pending=1)
    (taken,) = mailbox.take(8, 0, 0)
    assert (taken.slot.owner, taken.frame.sequence) == ("a", 4)
    assert slot.counts == Counts(frames=5, dropped=4, finished=0, pending=1)
    mailbox.finish([taken])
    assert slot.counts == Counts(frames=5, dropped=4, finished=1, pending=0)
    assert take(mailbox) == []


def test_every_frame_of_a_file_is_taken_in_order(mailbox: Mailbox[str]) -> None:
    slot = file(mailbox)
    with ThreadPoolExecutor(1) as reader:
        done = reader.submit(lambda: [slot.put(frame(n)) for n in range(20)])
        taken = [mailbox.take(1, 0, 10)[0] for _ in range(20)]
        assert all(done.result(10))
    mailbox.finish(taken)
    assert [one.frame.sequence for one in taken] == [*range(20)]
    assert slot.counts == Counts(20, 0, 20, 0)


def test_a_file_is_read_ahead_only_so_far(mailbox: Mailbox[str]) -> None:
    slot = file(mailbox)
    for n in range(READ_AHEAD):
        assert slot.put(frame(n))
    with ThreadPoolExecutor(1) as reader:
        blocked = reader.submit(slot.put, frame())
        time.sleep(0.05)
        assert not blocked.done()
        slot.shut()
        assert blocked.result(10) is False
    assert slot.counts == Counts(0, 0, 0, 0), "read ahead, but never asked for"


def test_settling_waits_for_the_verdicts(mailbox: Mailbox[str]) -> None:
    slot = file(mailbox)
    slot.put(frame())
    with ThreadPoolExecutor(1) as reader:
        settled = reader.submit(slot.settle)
        taken = mailbox.take(1, 0, 10)
        time.sleep(0.05)
        assert not settled.done()
        mailbox.finish(taken)
        settled.result(10)


def test_at_most_one_frame_of_each_camera_least_recently_served_first(
    mailbox: Mailbox[str],
) -> None:
    slots = {name: mailbox.slot(name) for name in "abc"}
    for slot in slots.values():
        slot.put(frame())
    served = []
    for _ in range(6):
        (one,) = take(mailbox, most=1)
        served.append(one)
        slots[one].put(frame())
        slots["a"].put(frame())  # eager, but in vain
    assert served[:3] == ["a", "b", "c"]
    assert sorted(served[3:]) == ["a", "b", "c"]
    assert sorted(take(mailbox)) == ["a", "b", "c"]


def test_a_frame_waits_for_others_only_so_long(mailbox: Mailbox[str]) -> None:
    first, second = mailbox.slot("a"), mailbox.slot("b")
    for slot in (first, second):
        slot.put(frame())
    assert len(take(mailbox)) == 2
    first.put(frame())
    started = time.monotonic()
    assert take(mailbox, linger_s=0.05) == ["a"]
    assert time.monotonic() - started >= 0.04, "b delivered a moment ago and was not waited for"


def test_a_frame_that_comes_in_time_joins(mailbox: Mailbox[str]) -> None:
    first, second = mailbox.slot("a"), mailbox.slot("b")
    for slot in (first, second):
        slot.put(frame())
    assert len(take(mailbox)) == 2
    first.put(frame())
    timer = threading.Timer(0.02, second.put, (frame(),))
    timer.start()
    assert sorted(take(mailbox, linger_s=10)) == ["a", "b"]
    timer.join()


def test_a_silent_camera_is_not_waited_for(mailbox: Mailbox[str]) -> None:
    mailbox.slot("dead")
    mailbox.slot("a").put(frame())
    started = time.monotonic()
    assert take(mailbox, linger_s=30) == ["a"]
    assert time.monotonic() - started < 10


def test_close_counts_what_waits_as_dropped(mailbox: Mailbox[str]) -> None:
    slot = mailbox.slot("a")
    slot.put(frame())
    mailbox.close()
    assert not slot.put(frame())
    assert take(mailbox, timeout_s=10) == []
    assert slot.counts == Counts(1, 1, 0, 0)
    assert not mailbox.slot("late").put(frame())


def test_wake_ends_a_take(mailbox: Mailbox[str]) -> None:
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(mailbox.take, 8, 0, 60)
        time.sleep(0.05)
        mailbox.wake()
        assert waiting.result(10) == []


def test_removing_a_slot_waits_for_the_frame_in_hand(mailbox: Mailbox[str]) -> None:
    slot = mailbox.slot("a")
    slot.put(frame(0))
    taken = mailbox.take(1, 0, 0)
    slot.put(frame(1))
    with ThreadPoolExecutor(1) as worker:
        removed = worker.submit(slot.remove, 60)
        time.sleep(0.05)
        assert not removed.done()
        mailbox.finish(taken)
        removed.result(10)
    assert slot.counts == Counts(frames=2, dropped=1, finished=1, pending=0)
    assert not slot.put(frame())
    assert take(mailbox) == []


def test_nothing_is_lost_or_counted_twice_under_load(mailbox: Mailbox[str]) -> None:
    slots = [file(mailbox, "0"), *(mailbox.slot(str(n)) for n in range(1, 6))]

    def read(slot: Slot[str]) -> int:
        return sum(slot.put(frame(n)) for n in range(2000))

    taken: list[str] = []
    with ThreadPoolExecutor(len(slots)) as readers:
        reading = [readers.submit(read, slot) for slot in slots]
        while not all(one.done() for one in reading) or not all(slot.idle for slot in slots):
            taken += take(mailbox, most=4, timeout_s=0.01)
            for slot in slots:
                counts = slot.counts
                assert counts.frames == counts.dropped + counts.finished + counts.pending
    for slot in slots:
        assert slot.counts.frames == 2000
        assert slot.counts.finished == taken.count(slot.owner)
        assert slot.counts.pending == 0
    assert slots[0].counts.dropped == 0
