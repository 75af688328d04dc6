"""Delivery: nobody waits for a sink, nothing is lost uncounted, and every failure is told once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from blurvote.runtime.errors import SinkError
from blurvote.runtime.frame import Frame
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.backlog import MAX_EVENTS, Backlog
from blurvote.runtime.pipeline.delivery import Delivery, Retry
from blurvote.runtime.verdict import StageTimes, Verdict

PIXELS = np.zeros((6, 8, 3), np.uint8)
VERDICT = Verdict(0, "red", None, 0.9, 3, (0, 0, 0), "batched", StageTimes(1, 1, 1), "a", 0, 5.0)
QUICK = Retry(first_s=0.001, longest_s=0.01)
A_WHILE = 20.0


def observation(number: int) -> Observation:
    return Observation("a", Frame(PIXELS, "rgb", "a", number), VERDICT, 0.0)


def event(text: str = "hello") -> Event:
    return Event("state", "a", text, 0.0)


class Recorder:
    """A sink that stores what it gets, and fails or waits where told to."""

    def __init__(self, holds_pictures: bool = False) -> None:
        self.holds_pictures = holds_pictures
        self.got: list[Any] = []
        self.frames: list[Frame] = []
        self.closed = 0
        self.broken: Callable[[Any], BaseException | None] = lambda what: None
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.close_error: Exception | None = None

    def write(self, observation: Observation) -> None:
        self._take(observation.frame.sequence)
        self.frames.append(observation.frame)

    def tell(self, event: Event) -> None:
        self._take(event.text)

    def _take(self, what: Any) -> None:
        self.entered.set()
        assert self.gate.wait(A_WHILE)
        error = self.broken(what)
        if error is not None:
            raise error
        self.got.append(what)

    def close(self) -> None:
        self.closed += 1
        if self.close_error:
            raise self.close_error


@pytest.fixture
def sink() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.gate.set()


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + A_WHILE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def adds_up(delivery: Delivery) -> dict[str, Any]:
    now = delivery.snapshot()
    assert now["put"] == now["delivered"] + now["dropped"] + now["queued"]
    return now


@pytest.mark.parametrize("overflow", ["wait", "drop"])
def test_all_arrives_in_order(sink: Recorder, overflow: Any) -> None:
    delivery = Delivery("s", sink, overflow)
    expected: list[Any] = []
    for number in range(100):
        delivery.put(observation(number))
        delivery.tell(event(f"e{number}"))
        expected += [number, f"e{number}"]
    delivery.close()
    delivery.close()
    assert sink.got == expected
    assert sink.closed == 1
    assert adds_up(delivery) == {
        "name": "s",
        "state": "ok",
        "put": 100,
        "queued": 0,
        "delivered": 100,
        "dropped": 0,
        "events_dropped": 0,
        "failures": 0,
        "last_error": None,
    }
    assert not any(thread.name == "sink s" for thread in threading.enumerate())


@pytest.mark.parametrize("pictures", [False, True])
def test_only_sinks_of_pictures_keep_pixels_alive(pictures: bool) -> None:
    sink = Recorder(pictures)
    delivery = Delivery("s", sink, "wait")
    delivery.put(observation(7))
    delivery.close()
    (frame,) = sink.frames
    assert (frame.pixels is PIXELS) == pictures
    assert pictures or frame.pixels.shape == (0, 0, 3)
    assert (frame.source, frame.sequence, frame.colour) == ("a", 7, "rgb")


@pytest.mark.parametrize(("pictures", "room"), [(False, 1000), (True, 4)])
def test_sinks_of_pictures_get_a_short_queue(pictures: bool, room: int) -> None:
    sink = Recorder(pictures)
    sink.gate.clear()
    delivery = Delivery("s", sink, "drop")
    delivery.put(observation(0))
    assert sink.entered.wait(A_WHILE)
    for number in range(1, 1100):
        delivery.put(observation(number))
    assert adds_up(delivery)["queued"] == room + 1  # one is in hand
    sink.gate.set()
    delivery.close()
    assert sink.got == [0, *range(1100 - room, 1100)]


def test_a_slow_sink_drops_the_oldest_and_counts_them(sink: Recorder) -> None:
    sink.gate.clear()
    delivery = Delivery("s", sink, "drop", capacity=3)
    delivery.put(observation(0))
    assert sink.entered.wait(A_WHILE)
    for number in range(1, 10):
        delivery.put(observation(number))
        delivery.tell(event(f"e{number}"))
    now = adds_up(delivery)
    assert (now["put"], now["dropped"], now["queued"]) == (10, 6, 4)
    sink.gate.set()
    delivery.close()
    rest = [7, "e7", 8, "e8", 9, "e9"]
    assert sink.got == [0, *(f"e{n}" for n in range(1, 7)), *rest]
    now = adds_up(delivery)
    assert (now["delivered"], now["dropped"], now["events_dropped"]) == (4, 6, 0)


def test_events_are_bounded_too() -> None:
    backlog = Backlog(2)
    for number in range(MAX_EVENTS + 5):
        assert backlog.add(event(str(number))) == 0
    assert [backlog.add(observation(number)) for number in range(4)] == [0, 0, 1, 1]
    assert backlog.events_dropped == 5
    first = backlog.take()
    assert isinstance(first, Event)
    assert first.text == "5"
    assert backlog.clear() == 2
    assert backlog.events_dropped == 5 + MAX_EVENTS - 1
    assert not backlog


def test_waiting_blocks_and_loses_nothing(sink: Recorder) -> None:
    sink.gate.clear()
    delivery = Delivery("s", sink, "wait", capacity=2)
    done = threading.Event()

    def put_all() -> None:
        for number in range(20):
            delivery.put(observation(number))
        done.set()

    thread = threading.Thread(target=put_all)
    thread.start()
    assert sink.entered.wait(A_WHILE)
    until(lambda: delivery.snapshot()["put"] == 3)
    assert not done.wait(0.05)
    assert delivery.snapshot()["put"] == 3
    delivery.tell(event())  # never blocks
    sink.gate.set()
    assert done.wait(A_WHILE)
    thread.join()
    delivery.close()
    assert [what for what in sink.got if what != "hello"] == list(range(20))
    assert adds_up(delivery)["dropped"] == 0


@pytest.mark.parametrize("error", [SinkError("no luck"), ZeroDivisionError("x"), SystemExit(3)])
def test_failing_and_working_again_are_told_once_each(sink: Recorder, error: BaseException) -> None:
    told: list[Event] = []
    broken = True
    sink.broken = lambda what: error if broken else None
    delivery = Delivery("s", sink, "drop", told.append, capacity=5, retry=QUICK)
    for number in range(20):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["failures"] > 12)
    text = str(error) if isinstance(error, SinkError) else f"s raised {type(error).__name__}: "
    assert [(e.kind, e.data["state"]) for e in told] == [("sink", "failing")]
    assert told[0].text.startswith(f"s fails: {text}")
    assert adds_up(delivery)["state"] == "failing"
    broken = False
    delivery.put(observation(20))
    until(lambda: sink.got[-1:] == [20])
    delivery.close()
    assert [e.data for e in told] == [
        {"sink": "s", "state": "failing"},
        {"sink": "s", "state": "ok"},
    ]
    assert told[1].text == "s works again"
    now = adds_up(delivery)
    assert now["state"] == "ok"
    assert sink.got[-1] == 20
    assert len(sink.got) == len(set(sink.got)) == now["delivered"]


def test_a_long_outage_costs_nothing_where_there_is_room(sink: Recorder) -> None:
    broken = True
    sink.broken = lambda what: SinkError("gone") if broken else None
    delivery = Delivery("s", sink, "drop", retry=QUICK)
    for number in range(50):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["failures"] > 40)
    broken = False
    delivery.close()
    assert sink.got == list(range(50))
    assert adds_up(delivery)["dropped"] == 0


def test_an_item_that_a_sink_cannot_take_is_dropped(sink: Recorder) -> None:
    sink.broken = lambda what: ValueError("bad") if what in (2, "e2") else None
    delivery = Delivery("s", sink, "drop", retry=QUICK)
    for number in range(5):
        delivery.put(observation(number))
        delivery.tell(event(f"e{number}"))
    until(lambda: len(sink.got) == 8)
    delivery.close()
    assert sink.got == [0, "e0", 1, "e1", 3, "e3", 4, "e4"]
    now = adds_up(delivery)
    assert (now["dropped"], now["events_dropped"], now["state"]) == (1, 1, "ok")


def test_a_sink_that_flaps_does_not_flood(sink: Recorder) -> None:
    told: list[Event] = []
    fails = iter([True, False] * 1000)
    sink.broken = lambda what: SinkError("flap") if next(fails) else None
    delivery = Delivery("s", sink, "drop", told.append, retry=Retry(0.0, 0.0))
    for number in range(200):
        delivery.put(observation(number))
    delivery.close()
    assert sink.got == list(range(200))
    assert [e.data["state"] for e in told] == ["failing", "ok"]


def test_pauses_grow_and_are_bounded(monkeypatch: pytest.MonkeyPatch, sink: Recorder) -> None:
    pauses: list[float] = []

    def wait_for(self: threading.Condition, true: Callable[[], Any], timeout: Any = None) -> Any:
        if timeout is not None and threading.current_thread().name == "sink s":
            pauses.append(timeout)
            timeout = 0.0
        return waits(self, true, timeout)

    waits = threading.Condition.wait_for
    monkeypatch.setattr(threading.Condition, "wait_for", wait_for)
    sink.broken = lambda what: SinkError("gone") if len(pauses) < 12 else None
    delivery = Delivery("s", sink, "drop")
    delivery.put(observation(0))
    until(lambda: sink.got == [0])
    delivery.close()
    assert len(pauses) == 12
    for count, seconds in enumerate(pauses):
        longest = min(30.0, 0.1 * 2**count)
        assert longest / 2 <= seconds <= longest


def test_whoever_waits_is_told_once_the_retries_are_exhausted(sink: Recorder) -> None:
    told: list[Event] = []
    sink.broken = lambda what: SinkError("the disk is full") if what == 2 else None
    delivery = Delivery("s", sink, "wait", told.append, capacity=2, retry=QUICK)

    def put_all() -> None:
        for number in range(100):
            delivery.put(observation(number))

    with pytest.raises(SinkError, match="the disk is full"):
        put_all()
    with pytest.raises(SinkError, match="the disk is full"):
        delivery.put(observation(0))
    delivery.close()  # already told
    assert sink.got == [0, 1]
    assert sink.closed == 1
    now = adds_up(delivery)
    assert (now["state"], now["failures"], now["delivered"]) == ("failed", 4, 2)
    assert told == [], "whoever puts was told"


def test_a_failure_that_no_put_saw_is_raised_by_close(sink: Recorder) -> None:
    sink.broken = lambda what: SinkError("the disk is full")
    delivery = Delivery("s", sink, "wait", retry=QUICK)
    delivery.put(observation(0))
    with pytest.raises(SinkError, match="the disk is full"):
        delivery.close()
    delivery.close()


def test_a_short_failure_costs_nothing(sink: Recorder) -> None:
    fails = iter([True, True, True, False])
    sink.broken = lambda what: SinkError("busy") if next(fails) else None
    delivery = Delivery("s", sink, "wait", retry=QUICK)
    delivery.put(observation(0))
    delivery.close()
    assert sink.got == [0]


@pytest.mark.parametrize("overflow", ["wait", "drop"])
def test_an_output_that_cannot_be_finished(sink: Recorder, overflow: Any) -> None:
    told: list[Event] = []
    sink.close_error = SinkError("half a video")
    delivery = Delivery("s", sink, overflow, told.append)
    delivery.put(observation(0))
    if overflow == "wait":
        with pytest.raises(SinkError, match="half a video"):
            delivery.close()
    else:
        delivery.close()
    assert [e.text for e in told] == ["s fails: half a video"] * (overflow == "drop")
    assert adds_up(delivery)["last_error"] == "half a video"


@pytest.mark.parametrize("overflow", ["wait", "drop"])
def test_a_stuck_sink_is_left_behind(sink: Recorder, overflow: Any) -> None:
    sink.gate.clear()
    delivery = Delivery("s", sink, overflow, capacity=5)
    for number in range(4):
        delivery.put(observation(number))
    assert sink.entered.wait(A_WHILE)
    started = time.monotonic()
    if overflow == "wait":
        with pytest.raises(SinkError, match="s is stuck; 4 observations were left behind"):
            delivery.close(0.2)
    else:
        delivery.close(0.2)
    assert time.monotonic() - started < A_WHILE / 2
    before = adds_up(delivery)
    assert (before["delivered"], before["dropped"], before["queued"]) == (0, 4, 0)
    sink.gate.set()  # it goes on after all: nothing is counted twice, and the sink is closed
    until(lambda: sink.closed == 1)
    assert adds_up(delivery)["dropped"] == 4


def test_closing_gives_up_on_a_dead_sink_in_time(sink: Recorder) -> None:
    sink.broken = lambda what: SinkError("gone")
    delivery = Delivery("s", sink, "drop")
    for number in range(10):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["failures"] >= 5)  # by now it pauses for seconds
    started = time.monotonic()
    delivery.close(0.3)
    assert time.monotonic() - started < A_WHILE / 2
    now = adds_up(delivery)
    assert (now["dropped"], now["queued"]) == (10, 0)
    assert sink.closed == 1


def test_closing_wakes_whoever_waits(sink: Recorder) -> None:
    sink.gate.clear()
    delivery = Delivery("s", sink, "wait", capacity=1)
    said: list[str] = []

    def put_all() -> None:
        try:
            for number in range(10):
                delivery.put(observation(number))
        except SinkError as error:
            said.append(str(error))

    thread = threading.Thread(target=put_all)
    thread.start()
    until(lambda: delivery.snapshot()["put"] == 2)
    with pytest.raises(SinkError, match="stuck"):
        delivery.close(0.1)
    thread.join(A_WHILE)
    assert len(said) == 1


def test_waiting_can_be_ended_for_good(sink: Recorder) -> None:
    sink.gate.clear()
    delivery = Delivery("s", sink, "wait", capacity=2)
    done = threading.Event()

    def put_all() -> None:
        for number in range(20):
            delivery.put(observation(number))
        done.set()

    thread = threading.Thread(target=put_all)
    thread.start()
    assert sink.entered.wait(A_WHILE)
    until(lambda: delivery.snapshot()["put"] == 3)
    delivery.never_wait()
    assert done.wait(A_WHILE)
    thread.join()
    assert adds_up(delivery)["dropped"] == 17
    sink.gate.set()
    delivery.close()
    assert sink.got == [0, 18, 19]


def test_what_is_put_after_closing_is_counted(sink: Recorder) -> None:
    delivery = Delivery("s", sink, "drop")
    delivery.close()
    delivery.put(observation(0))
    delivery.tell(event())
    now = adds_up(delivery)
    assert (now["put"], now["dropped"]) == (1, 1)
    assert sink.got == []
    waiting = Delivery("w", Recorder(), "wait")
    waiting.close()
    with pytest.raises(SinkError, match="w is closed"):
        waiting.put(observation(0))


def test_a_callback_may_close_its_own_delivery(sink: Recorder) -> None:
    def close_it(what: Any) -> None:
        delivery.close()

    sink.broken = close_it
    delivery = Delivery("s", sink, "drop")
    delivery.put(observation(0))
    until(lambda: sink.closed == 1)
    delivery.close()
    assert sink.got == [0]


def test_a_listener_that_fails_does_not_stop_the_sink(sink: Recorder) -> None:
    def listen(event: Event) -> None:
        delivery.tell(event)  # what a pipeline does: events go to all sinks, this one too
        raise RuntimeError("deaf")

    fails = iter([True] + [False] * 9)
    sink.broken = lambda what: SinkError("busy") if next(fails) else None
    delivery = Delivery("s", sink, "drop", listen, retry=QUICK)
    delivery.put(observation(0))
    until(lambda: len(sink.got) == 3)
    delivery.close()
    assert sink.got == [0, "s fails: busy", "s works again"]
    assert adds_up(delivery)["delivered"] == 1
