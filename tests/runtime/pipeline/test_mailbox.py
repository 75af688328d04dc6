"""Slots between readers and the guard: newest wins, files wait, nobody is crowded out."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from blurvote.runtime import Frame
from blurvote.runtime.pipeline.mailbox import READ_AHEAD, Mailbox

PIXELS = np.zeros((4, 4, 3), np.uint8)


def frame(sequence: int = 0) -> Frame:
    return Frame(PIXELS, sequence=sequence)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    yield made
    made.close()


def test_the_newest_frame_of_a_camera_wins(mailbox: Mailbox) -> None:
    mailbox.open("a", newest_wins=True)
    for n in range(5):
        assert mailbox.put("a", frame(n))
    (taken,) = mailbox.take(8, 0, 0)
    assert (taken.camera, taken.frame.sequence) == ("a", 4)
    counts = mailbox.counts("a")
    assert (counts.frames, counts.dropped, counts.taken) == (5, 4, 1)
    assert mailbox.take(8, 0, 0) == []


def test_every_frame_of_a_file_is_taken_in_order(mailbox: Mailbox) -> None:
    mailbox.open("a", newest_wins=False)
    with ThreadPoolExecutor(1) as reader:
        done = reader.submit(lambda: [mailbox.put("a", frame(n)) for n in range(20)])
        taken = [mailbox.take(1, 0, 10)[0].frame.sequence for _ in range(20)]
        assert all(done.result(10))
    assert taken == [*range(20)]
    counts = mailbox.counts("a")
    assert (counts.frames, counts.dropped, counts.taken) == (20, 0, 20)


def test_a_file_is_read_ahead_only_so_far(mailbox: Mailbox) -> None:
    mailbox.open("a", newest_wins=False)
    for n in range(READ_AHEAD):
        assert mailbox.put("a", frame(n))
    with ThreadPoolExecutor(1) as reader:
        blocked = reader.submit(mailbox.put, "a", frame())
        time.sleep(0.05)
        assert not blocked.done()
        mailbox.shut("a")
        assert blocked.result(10) is False
    assert mailbox.counts("a").frames == 0, "read ahead, but never asked for"


def test_at_most_one_frame_of_each_camera_least_recently_served_first(mailbox: Mailbox) -> None:
    for name in "abc":
        mailbox.open(name, newest_wins=True)
        mailbox.put(name, frame())
    served = []
    for _ in range(6):
        (one,) = mailbox.take(1, 0, 0)
        served.append(one.camera)
        mailbox.put(one.camera, frame())
        mailbox.put("a", frame())  # eager, but in vain
    assert served[:3] == ["a", "b", "c"]
    assert sorted(served[3:]) == ["a", "b", "c"]
    assert len({one.camera for one in mailbox.take(8, 0, 0)}) == 3


def test_a_frame_waits_for_others_only_so_long(mailbox: Mailbox) -> None:
    for name in "ab":
        mailbox.open(name, newest_wins=True)
        mailbox.put(name, frame())
    assert len(mailbox.take(8, 0, 0)) == 2
    mailbox.put("a", frame())
    started = time.monotonic()
    (alone,) = mailbox.take(8, 0.05, 0)
    assert alone.camera == "a"
    assert time.monotonic() - started >= 0.04, "b delivered a moment ago and was not waited for"


def test_a_frame_that_comes_in_time_joins(mailbox: Mailbox) -> None:
    for name in "ab":
        mailbox.open(name, newest_wins=True)
        mailbox.put(name, frame())
    assert len(mailbox.take(8, 0, 0)) == 2
    mailbox.put("a", frame())
    threading.Timer(0.02, mailbox.put, ("b", frame())).start()
    assert {one.camera for one in mailbox.take(8, 10, 0)} == {"a", "b"}


def test_a_silent_camera_is_not_waited_for(mailbox: Mailbox) -> None:
    mailbox.open("dead", newest_wins=True)
    mailbox.open("a", newest_wins=True)
    mailbox.put("a", frame())
    started = time.monotonic()
    assert len(mailbox.take(8, 30, 0)) == 1
    assert time.monotonic() - started < 10


def test_close_counts_what_waits_as_dropped(mailbox: Mailbox) -> None:
    mailbox.open("a", newest_wins=True)
    mailbox.put("a", frame())
    mailbox.close()
    assert not mailbox.put("a", frame())
    assert mailbox.take(8, 0, 10) == []
    counts = mailbox.counts("a")
    assert (counts.frames, counts.dropped, counts.taken) == (1, 1, 0)


def test_wake_ends_a_take(mailbox: Mailbox) -> None:
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(mailbox.take, 8, 0, 60)
        time.sleep(0.05)
        mailbox.wake()
        assert waiting.result(10) == []


def test_what_was_shut_may_be_opened_again(mailbox: Mailbox) -> None:
    mailbox.open("a", newest_wins=True)
    mailbox.shut("a")
    assert not mailbox.put("a", frame())
    mailbox.open("a", newest_wins=True)
    assert mailbox.put("a", frame())
    mailbox.forget("a")
    assert mailbox.empty("a")
    assert not mailbox.put("a", frame())


def test_nothing_is_lost_or_counted_twice_under_load(mailbox: Mailbox) -> None:
    names = [f"camera {n}" for n in range(6)]
    for name in names:
        mailbox.open(name, newest_wins=name != names[0])

    def read(name: str) -> int:
        return sum(mailbox.put(name, frame(n)) for n in range(2000))

    taken: list[str] = []
    with ThreadPoolExecutor(len(names)) as readers:
        reading = [readers.submit(read, name) for name in names]
        while not all(one.done() for one in reading) or not all(map(mailbox.empty, names)):
            taken += [one.camera for one in mailbox.take(4, 0, 0.01)]
    for name in names:
        counts = mailbox.counts(name)
        assert counts.frames == 2000
        assert counts.taken == taken.count(name)
        assert counts.frames == counts.taken + counts.dropped
    assert mailbox.counts(names[0]).dropped == 0
