"""What a run of a scenario found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from blurvote.benchmarks.latency.scenarios.settings import Scenario

__all__ = ["METRICS", "PERCENTILES", "UNVERIFIED", "Harness", "Result"]

UNVERIFIED = "unverified: MLCommons has not verified this result"

Harness = Literal["loadgen", "built-in"]
METRICS: Mapping[Scenario, str] = {
    "SingleStream": "latency_p90_ms",
    "MultiStream": "query_latency_p99_ms",
    "Offline": "samples_per_second",
    "Server": "completed_qps",
}
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p97": 0.97, "p99": 0.99, "p99.9": 0.999}


@dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
        scenario, harness: what ran, under what.
        valid: whether LoadGen's rules are met: duration, queries, early stopping and, in Server,
            the latency bound.
        reasons: why it is not valid, one sentence each.
        metric: name and unit of `value`, see `METRICS`.
        value: the scenario's metric. For the two streams it is the early-stopping estimate of the
            percentile, as MLPerf reports it, or the plain percentile where too few queries ran
            for one (`valid` is false then).
        latency_ms: `"p50"` to `"p99.9"`, of queries (in Offline: of samples, since the start).
        queries, samples: how many were answered.
        duration_s: from the first query to the last answer.
        folder: of LoadGen's logs; None for the built-in harness.
        target_qps, scheduled_qps: Server only: the rate asked for, and what the dice made of it.
    """

    scenario: Scenario
    harness: Harness
    valid: bool
    reasons: tuple[str, ...]
    metric: str
    value: float
    latency_ms: Mapping[str, float]
    queries: int
    samples: int
    duration_s: float
    folder: str | None = None
    target_qps: float | None = None
    scheduled_qps: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, with `verification` saying that there was none."""
        return {**asdict(self), "reasons": list(self.reasons), "verification": UNVERIFIED}
