"""What LoadGen wrote is read as it was meant, and nothing else is."""

from __future__ import annotations

import pytest

from blurvote.benchmarks.latency.scenarios import (
    Settings,
)
from blurvote.benchmarks.latency.scenarios.loadgen_summary import read_summary
from blurvote.runtime import SourceError

# Recorded from mlcommons-loadgen 6.0.17, shortened

VALID = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : SingleStream
Mode     : PerformanceOnly
90.0th percentile latency (ns) : 1131166
Result is : VALID
  Min duration satisfied : Yes
  Min queries satisfied : Yes
  Early stopping satisfied: Yes
Early Stopping Result:
 * Processed at least 64 queries (888).
 * Would discard 67 highest latency queries.
 * Early stopping 90.0th percentile estimate: 1132488
 * Early stopping 99.0th percentile estimate: 3151061

================================================
Additional Stats
================================================
QPS w/ loadgen overhead         : 886.78

Min latency (ns)                : 1049105
50.00 percentile latency (ns)   : 1118748
90.00 percentile latency (ns)   : 1131166
95.00 percentile latency (ns)   : 1135183
97.00 percentile latency (ns)   : 1140581
99.00 percentile latency (ns)   : 1203835
99.90 percentile latency (ns)   : 3191932

No errors encountered during test.
"""
INVALID = """\
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 187.60
Result is : INVALID
  Performance constraints satisfied : Yes
  Min duration satisfied : NO
  Min queries satisfied : Yes
  Early stopping satisfied: NO
Recommendations:
 * Increase the target QPS so the loadgen pre-generates more queries.
Early Stopping Result:
 * Run unsuccessful.
 * Processed 190 queries.
 * Would need to run at least 269 more queries,
 with the run being successful if every additional
 query were under latency.

Scheduled samples per second : 187.85
50.00 percentile latency (ns)   : 1280409
99.90 percentile latency (ns)   : 2656735

1 ERROR encountered. See detailed log.
"""


def test_a_valid_summary_is_read() -> None:
    result = read_summary(VALID, Settings("SingleStream"), 888, 888, 1.01, "logs")
    assert (result.valid, result.reasons) == (True, ())
    assert (result.metric, result.value) == ("latency_p90_ms", 1.132488)
    assert result.latency_ms == {
        "p50": 1.118748,
        "p90": 1.131166,
        "p95": 1.135183,
        "p97": 1.140581,
        "p99": 1.203835,
        "p99.9": 3.191932,
    }


def test_an_invalid_summary_gives_loadgens_reasons() -> None:
    result = read_summary(INVALID, Settings("Server", target_qps=200), 190, 190, 1.0, "logs")
    assert not result.valid
    assert (result.value, result.scheduled_qps, result.target_qps) == (187.6, 187.85, 200)
    assert result.reasons == (
        "Min duration not satisfied",
        "Early stopping not satisfied",
        "Increase the target QPS so the loadgen pre-generates more queries.",
        "Run unsuccessful.",
        "Processed 190 queries.",
        "Would need to run at least 269 more queries, with the run being successful if every "
        "additional query were under latency.",
        "LoadGen logged 1 errors; see its detailed log",
    )


def test_valid_with_a_count_unmet_is_not_valid_here() -> None:
    text = VALID.replace("Min queries satisfied : Yes", "Min queries satisfied : Skipped")
    assert read_summary(text, Settings("SingleStream"), 1, 1, 1, "logs").reasons == (
        "Min queries not satisfied",
    )


@pytest.mark.parametrize("cut", ["Scenario", "Result is"])
def test_an_incomplete_summary_is_refused(cut: str) -> None:
    with pytest.raises(SourceError, match="expected the mlperf_log_summary"):
        read_summary(VALID.split(cut)[0], Settings("SingleStream"), 1, 1, 1, "logs")


def test_the_summary_of_another_scenario_is_refused() -> None:
    with pytest.raises(SourceError, match="is of SingleStream, not of Offline"):
        read_summary(VALID, Settings("Offline"), 1, 1, 1, "logs")
