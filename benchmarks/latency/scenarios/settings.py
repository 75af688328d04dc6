"""What a run of a scenario is asked to do."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from blurvote.runtime.errors import BlurvoteError

__all__ = ["SCENARIOS", "Scenario", "Settings"]

Scenario = Literal["SingleStream", "MultiStream", "Offline", "Server"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)

# The fewest queries that can pass early stopping with one of them to discard: see early_stopping.
_FEWEST: Mapping[Scenario, int] = {
    "SingleStream": 64,
    "MultiStream": 662,
    "Offline": 1,
    "Server": 662,
}
# 600 s for every scenario, 662 MultiStream queries and 24576 Offline samples: mlcommons/inference,
# loadgen/mlperf.conf. 1024 SingleStream queries: "min-queries" of the same repository's
# tools/submission/submission_checker.py. Server asked for 270336 queries until early stopping
# replaced them (mlcommons/inference_policies, inference_rules.adoc, "Early Stopping Criterion");
# what is left is the fewest that it can pass.
_OFFICIAL_S = 600.0
_OFFICIAL: Mapping[Scenario, int] = {
    "SingleStream": 1024,
    "MultiStream": 662,
    "Offline": 24576,
    "Server": 662,
}


@dataclass(frozen=True)
class Settings:
    """One scenario's settings.

    Attributes:
        scenario: which one.
        min_duration_s: seconds that the run lasts at least.
        min_query_count: queries issued at least; in Offline, samples of its one query. None takes
            the fewest that LoadGen's early stopping can accept.
        samples_per_query: samples of a MultiStream query; the other scenarios ignore it.
        target_qps: arrivals per second of Server; the other scenarios ignore it.
        latency_bound_ms: what Server's p99 must stay under. MLPerf gives ResNet50 15 ms on data
            centre machines and has no Server scenario at the edge: state yours.
        seed: of the choice of samples and of the arrivals.
        official: overrides duration and count with MLPerf's own.

    Raises:
        BlurvoteError: a value that cannot be.
    """

    scenario: Scenario
    min_duration_s: float = 60.0
    min_query_count: int | None = None
    samples_per_query: int = 8
    target_qps: float | None = None
    latency_bound_ms: float = 100.0
    seed: int = 0
    official: bool = False

    def __post_init__(self) -> None:
        if self.scenario not in SCENARIOS:
            raise BlurvoteError(
                f"scenario is {self.scenario!r}; expected one of {', '.join(SCENARIOS)}"
            )
        count = self.min_query_count
        if self.official:
            object.__setattr__(self, "min_duration_s", _OFFICIAL_S)
            count = _OFFICIAL[self.scenario]
        object.__setattr__(
            self, "min_query_count", _FEWEST[self.scenario] if count is None else count
        )
        for name in ("min_duration_s", "latency_bound_ms", "target_qps"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise BlurvoteError(f"{name} is {value!r}; expected a number above 0")
        for name in ("min_query_count", "samples_per_query"):
            if getattr(self, name) < 1:
                raise BlurvoteError(f"{name} is {getattr(self, name)!r}; expected at least 1")

    @property
    def percentile(self) -> float:
        """The tail that counts, as a share: MLPerf's p90 for SingleStream, p99 elsewhere."""
        return 0.9 if self.scenario == "SingleStream" else 0.99

    @property
    def fewest_queries(self) -> int:
        """`min_query_count`, which is never None once constructed."""
        assert self.min_query_count is not None
        return self.min_query_count

    @property
    def arrival_rate(self) -> float:
        """Server's `target_qps`.

        Raises:
            BlurvoteError: it was not given.
        """
        if self.target_qps is None:
            raise BlurvoteError(
                "Server needs target_qps, its arrivals per second; give one, or let "
                "find_server_qps look for it"
            )
        return self.target_qps

    @property
    def max_waiting(self) -> int:
        """Server queries under way that show the run to be lost, so that it need not go on.

        All but the arrivals of the last `latency_bound_ms` are late already, and 1 % of all
        queries may be: twice both together cannot be an accident of a run that would pass.
        """
        rate = self.arrival_rate
        total = max(self.fewest_queries, rate * self.min_duration_s)
        late = (1 - self.percentile) * total
        return math.ceil(2 * (late + rate * self.latency_bound_ms / 1e3)) + 10
