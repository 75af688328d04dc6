"""Looks for a rate that the Server scenario sustains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from blurvote.benchmarks.latency.scenarios.result import Result
from blurvote.benchmarks.latency.scenarios.settings import Settings
from blurvote.runtime.errors import BlurvoteError

__all__ = ["ServerSearch", "find_server_qps"]

_TRIAL_QUERIES = 100  # the fewest that have a p99


@dataclass(frozen=True)
class ServerSearch:
    """The full-length run that counts, and every try before it.

    Attributes:
        result: the VALID run, or the last one where none was.
        tries: all runs in order, the short trials and `result` included.
    """

    result: Result
    tries: tuple[Result, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "result": self.result.to_dict(),
            "tries": [attempt.to_dict() for attempt in self.tries],
        }


def find_server_qps(
    run: Callable[[Settings], Result],
    settings: Settings,
    capacity_qps: float,
    start: float = 0.8,
    step: float = 0.85,
    trial_s: float = 10.0,
    max_trials: int = 8,
    max_full: int = 3,
    progress: Callable[[str], None] | None = None,
) -> ServerSearch:
    """Steps down from a share of the capacity until a full-length run is VALID.

    Short trials come first. They are too short to be VALID: one passes when its p99 keeps the
    bound, and else lowers the rate. The first rate that passes is run at full length, and lowered
    again while that is INVALID. The rate found is sustained, not the largest that would be.

    Args:
        run: one Server run, such as `lambda settings: run_scenario(sut, settings, "built-in")`.
        settings: of the full-length run; its `target_qps` is ignored.
        capacity_qps: samples per second without queueing: the Offline metric, or what
            SingleStream's median latency allows.
        start: first rate, as a share of the capacity.
        step: factor from one rate to the next.
        trial_s: seconds of a trial.
        max_trials, max_full: runs of either kind, at most.
        progress: called with a few words before each run.

    Raises:
        BlurvoteError: settings of another scenario, no capacity, or a step that does not go down.
        Exception: what `run` raises.
    """
    if settings.scenario != "Server":
        raise BlurvoteError(f"the scenario is {settings.scenario}; expected Server")
    if not capacity_qps > 0:
        raise BlurvoteError(f"capacity_qps is {capacity_qps!r}; expected a number above 0")
    if not (0 < step < 1 and max_full >= 1):
        raise BlurvoteError(
            f"step is {step!r} and max_full {max_full!r}; expected a step between 0 and 1 and at "
            "least one full run"
        )
    short = replace(
        settings,
        official=False,
        min_duration_s=min(trial_s, settings.min_duration_s),
        min_query_count=min(_TRIAL_QUERIES, settings.fewest_queries),
    )
    tries: list[Result] = []
    rate = start * capacity_qps

    def attempt(what: Settings, name: str) -> Result:
        if progress:
            progress(f"Server: {name} at {rate:.3g} queries per second")
        tries.append(run(replace(what, target_qps=rate)))
        return tries[-1]

    for _ in range(max_trials):
        if attempt(short, "trial").latency_ms["p99"] <= settings.latency_bound_ms:
            break
        rate *= step
    for _ in range(max_full):
        if attempt(settings, "full run").valid:
            break
        rate *= step
    return ServerSearch(tries[-1], tuple(tries))
