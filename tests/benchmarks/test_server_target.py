"""The search for a rate that the Server scenario sustains."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from blurvote.benchmarks.latency.scenarios import (
    Result,
    Settings,
    find_server_qps,
)
from blurvote.runtime import BlurvoteError


def pretend(limit_trial: float, limit_full: float) -> Callable[[Settings], Result]:
    """A server that sustains one rate in short trials and another at full length."""

    def run(settings: Settings) -> Result:
        rate = settings.arrival_rate
        full = settings.min_duration_s > 10
        valid = full and rate <= limit_full  # no trial has the queries to be VALID
        p99 = 99.0 if rate <= (limit_full if full else limit_trial) else 101.0
        return Result(
            "Server", "built-in", valid, (), "completed_qps", rate, {"p99": p99}, 1, 1, 1.0
        )

    return run


def test_the_search_steps_down_in_trials_and_then_at_full_length() -> None:
    words: list[str] = []
    search = find_server_qps(
        pretend(60, 45), Settings("Server"), 100, step=0.8, progress=words.append
    )
    rates = [attempt.value for attempt in search.tries]
    assert rates == pytest.approx([80, 64, 51.2, 51.2, 40.96])
    assert [attempt.valid for attempt in search.tries] == [False] * 4 + [True]
    assert search.result is search.tries[-1]
    assert words[0] == "Server: trial at 80 queries per second"
    assert words[-1] == "Server: full run at 41 queries per second"


def test_the_search_ends_and_says_invalid_where_nothing_passes() -> None:
    search = find_server_qps(pretend(0, 0), Settings("Server"), 100, max_trials=3, max_full=2)
    assert [attempt.valid for attempt in search.tries] == [False] * 5
    assert not search.result.valid
    assert len(search.to_dict()["tries"]) == 5


def test_the_search_refuses_what_cannot_be() -> None:
    with pytest.raises(BlurvoteError, match="expected Server"):
        find_server_qps(pretend(1, 1), Settings("Offline"), 100)
    with pytest.raises(BlurvoteError, match="capacity_qps is 0"):
        find_server_qps(pretend(1, 1), Settings("Server"), 0)
