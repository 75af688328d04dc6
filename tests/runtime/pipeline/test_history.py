"""Counts over time: what is counted where, gaps, fixed memory, threads."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Frame, StageTimes, Verdict
from blurvote.runtime.observation import Observation
from blurvote.runtime.pipeline.history import History

PIXELS = np.zeros((4, 4, 3), np.uint8)


class Clock:
    """Both clocks; the wall clock is 1000 s ahead."""

    def __init__(self) -> None:
        self.now = 120.5

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def history(clock: Clock) -> History:
    return History(clock, clock.wall)


def seen(votes: tuple[Any, ...] = (1, 1, 1), reason: Any = None, age: float = 10.0) -> Observation:
    label = -1 if reason else 1
    verdict = Verdict(
        label, None, reason, 0.5, None, votes, "cascade", StageTimes(1, 1, 1), "a", 0, age
    )
    return Observation("a", Frame(PIXELS), verdict, 0.0)


def test_what_is_counted(history: History, clock: Clock) -> None:
    history.add(seen())
    history.add(seen((1, 2, 1), age=40.0))
    history.add(seen((1, 2, 0), "no_majority"))
    history.add(seen((None, None, None), "bad_frame"))
    history.drop(7)
    history.drop()
    seconds = history.to_dict()["seconds"]
    assert seconds == {
        "step_s": 1,
        "start": 1120.0,
        "verdicts": [4],
        "rejected": [2],
        "compared": [3],
        "disagreed": [2],
        "dropped": [8],
        "mean_age_ms": [17.5],
        "max_age_ms": [40.0],
    }
    recent = history.recent()
    assert (recent.reject_rate, recent.disagreement_rate) == (0.5, 2 / 3)
    assert (recent.dropped, recent.mean_age_ms, recent.max_age_ms) == (8, 17.5, 40.0)


def test_nothing_yet(history: History) -> None:
    recent = history.recent()
    assert (recent.reject_rate, recent.disagreement_rate) == (None, None)
    assert (recent.verdicts, recent.mean_age_ms, recent.max_age_ms) == (0, None, None)
    assert history.to_dict()["minutes"]["mean_age_ms"] == [None]


def test_seconds_and_minutes(history: History, clock: Clock) -> None:
    for n in range(90):
        clock.now = 120.5 + n
        for _ in range(n % 3):
            history.add(seen())
    found = history.to_dict()
    assert found["seconds"]["verdicts"] == [n % 3 for n in range(90)]
    assert found["minutes"]["verdicts"] == [60, 30]
    assert found["minutes"]["start"] == 1120.0
    assert history.recent(3).verdicts == 3
    assert history.recent(1).verdicts == 89 % 3


@pytest.mark.parametrize("gap", [5, 599, 600, 601, 5000, 10**6])
def test_a_camera_that_was_away(history: History, clock: Clock, gap: int) -> None:
    for _ in range(700):
        history.add(seen())
        clock.now += 1
    clock.now += gap - 1
    history.add(seen(reason="no_majority"))
    seconds = history.to_dict()["seconds"]
    assert len(seconds["verdicts"]) == 600
    assert seconds["verdicts"] == [1] * max(0, 600 - gap) + [0] * min(599, gap - 1) + [1]
    assert seconds["rejected"] == [0] * 599 + [1]
    assert seconds["start"] == 1000 + int(clock.now) - 599
    assert history.recent(2).verdicts == (2 if gap == 1 else 1)


def test_old_counts_leave_without_new_ones(history: History, clock: Clock) -> None:
    history.add(seen())
    clock.now += 60
    assert history.recent(60).verdicts == 0
    assert history.recent(61).verdicts == 1
    clock.now += 24 * 3600
    assert sum(history.to_dict()["minutes"]["verdicts"]) == 0


def test_a_clock_that_goes_back_does_no_harm(history: History, clock: Clock) -> None:
    history.add(seen())
    clock.now -= 50
    history.add(seen())
    assert history.to_dict()["seconds"]["verdicts"] == [2]


def test_memory_is_fixed(history: History, clock: Clock) -> None:
    def size() -> int:
        rings = (history._seconds, history._minutes)
        columns = [c for r in rings for c in (*r.counts.values(), r.age_sum, r.age_max)]
        return sum(sys.getsizeof(column) for column in columns)

    before = size()
    for _ in range(3000):
        clock.now += 61
        history.add(seen())
    assert size() == before < 130_000
    found = history.to_dict()
    assert len(found["minutes"]["verdicts"]) == 1440
    assert len(json.dumps(found)) < 120_000


def test_many_threads() -> None:
    history = History()

    def work() -> None:
        for _ in range(2000):
            history.add(seen())
            history.drop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = history.to_dict()["seconds"]
    assert (sum(found["verdicts"]), sum(found["dropped"])) == (8000, 8000)
