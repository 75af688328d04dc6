"""Verdicts on a stream: the same ones, in the same order, several frames in flight."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from blurvote.runtime import FrameError, Guard, GuardError, PlanError
from blurvote.runtime.demo import guard_path
from blurvote.runtime.overlap import classify_stream


@pytest.fixture
def guard():
    with Guard(guard_path("views"), "cpu", "batched", threads=1) as made:
        yield made


def pictures(count, seed=0):
    random = np.random.default_rng(seed)
    sizes = [(240, 320), (201, 333), (480, 640)]
    return [
        random.integers(0, 256, (*sizes[n % 3], 3), dtype=np.uint8).astype(np.uint8)
        for n in range(count)
    ]


def streams():
    return [thread for thread in threading.enumerate() if thread.name.startswith("blurvote-stream")]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_the_verdicts_are_those_of_classify_in_the_frames_order(depth, plan):
    frames = pictures(13)
    with Guard(guard_path("views"), "cpu", plan, threads=1) as guard:
        for colour in ("rgb", "bgr"):
            expected = [guard.classify(frame, colour) for frame in frames]
            got = list(guard.classify_stream(iter(frames), depth, colour))
            assert [(v.view_labels, v.confidence) for v in got] == [
                (v.view_labels, v.confidence) for v in expected
            ]
    assert not streams()


def test_an_empty_stream_has_no_verdicts(guard):
    assert list(guard.classify_stream([])) == []
    assert not streams()


class Slow:
    """A guard that knows how many frames are in it, and can be told how long each takes."""

    def __init__(self, seconds=lambda frame: 0.02):
        self.seconds = seconds
        self.inside = self.most = 0
        self.lock = threading.Lock()

    def classify(self, frame):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        time.sleep(self.seconds(frame))
        with self.lock:
            self.inside -= 1
        if isinstance(frame, Exception):
            raise frame
        return frame

    def classify_stream(self, frames, depth=2):
        return classify_stream(lambda frame, _: self.classify(frame), frames, depth)


def test_so_many_frames_are_in_flight_and_no_more():
    for depth in (1, 2, 3):
        guard = Slow()
        assert list(guard.classify_stream(range(12), depth)) == list(range(12))
        assert guard.most == depth


def test_a_slow_frame_keeps_its_place():
    guard = Slow(lambda frame: 0.2 if frame == 0 else 0.001)
    assert list(guard.classify_stream(range(9), 3)) == list(range(9))


def test_frames_wait_for_a_consumer_that_is_slow():
    taken = []

    def source():
        for n in range(50):
            taken.append(n)
            yield n

    stream = Slow(lambda frame: 0.0).classify_stream(source(), 2)
    assert next(stream) == 0
    time.sleep(0.1)
    assert len(taken) <= 2  # that one still counts as in flight until the next is asked for
    assert next(stream) == 1
    stream.close()
    assert not streams()


def test_a_verdict_does_not_wait_for_the_next_frame():
    more = threading.Event()

    def camera():
        yield 1
        more.wait(10)
        yield 2

    stream = Slow().classify_stream(camera())
    assert next(stream) == 1  # while the camera has nothing new
    more.set()
    assert list(stream) == [2]


def test_a_bad_frame_is_an_error_at_its_place(guard):
    frames = pictures(6)
    frames[3] = np.zeros((240, 320), np.uint8)
    stream = guard.classify_stream(frames, 3)
    for frame in frames[:3]:
        assert next(stream).view_labels == guard.classify(frame).view_labels
    with pytest.raises(FrameError):
        next(stream)
    with pytest.raises(StopIteration):
        next(stream)
    assert not streams()


def test_an_error_of_the_source_is_raised_after_what_came_before():
    def source():
        yield 1
        yield 2
        raise ConnectionError("the camera is gone")

    stream = Slow().classify_stream(source(), 4)
    assert [next(stream), next(stream)] == [1, 2]
    with pytest.raises(ConnectionError, match="the camera is gone"):
        next(stream)
    assert not streams()


def test_the_first_of_several_errors_is_the_one():
    frames = [1, ValueError("second"), 3, ValueError("fourth")]
    guard = Slow(lambda frame: 0.1 if isinstance(frame, ValueError) else 0.0)
    stream = guard.classify_stream(frames, 4)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="second"):
        next(stream)
    assert not streams()


@pytest.mark.parametrize("read", [0, 1, 5])
def test_closing_early_ends_the_threads(read, guard):
    stream = guard.classify_stream(iter(pictures(12)), 3)
    for _ in range(read):
        next(stream)
    stream.close()
    assert not streams()


def test_a_system_without_room_for_threads_is_an_error_that_leaves_none(guard, monkeypatch):
    start, started = threading.Thread.start, []

    def full(thread):
        if len(started) == 2:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    stream = guard.classify_stream(iter(pictures(12)), 4)
    monkeypatch.setattr(threading.Thread, "start", full)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(stream)
    assert len(started) == 2
    assert not streams()


def test_a_guard_that_is_closed_meanwhile_is_an_error():
    guard = Guard(guard_path("views"), "cpu", "batched", threads=1)
    stream = guard.classify_stream(iter(pictures(40)), 2)
    next(stream)
    guard.close()
    with pytest.raises(GuardError):
        list(stream)
    assert not streams()


@pytest.mark.parametrize("depth", [0, -1, 17, 2.0, True, None])
def test_a_depth_that_cannot_be_is_refused_at_once(depth, guard):
    with pytest.raises(PlanError, match="expected an integer from 1 to 16"):
        guard.classify_stream([], depth)
