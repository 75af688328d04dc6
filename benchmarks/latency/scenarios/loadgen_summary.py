"""Reads LoadGen's `mlperf_log_summary.txt`."""

from __future__ import annotations

import re

from blurvote.benchmarks.latency.scenarios.result import METRICS, Result
from blurvote.benchmarks.latency.scenarios.settings import Settings
from blurvote.runtime.errors import SourceError

__all__ = ["read_summary"]


def read_summary(
    text: str, settings: Settings, queries: int, samples: int, duration_s: float, folder: str
) -> Result:
    """The result that a summary of LoadGen 6.0 states.

    Args:
        text: the file's text.
        settings: of the run.
        queries, samples, duration_s: what the system under test counted; not in the text.
        folder: where the logs are.

    Raises:
        SourceError: the text is no complete summary of that scenario.
    """
    scenario = _find(text, r"^Scenario : (\w+)$", folder)
    if scenario != settings.scenario:
        raise SourceError(
            f"LoadGen's summary in {folder} is of {scenario}, not of {settings.scenario}"
        )
    verdict = _find(text, r"^Result is : (VALID|INVALID)$", folder)
    percentiles = re.findall(r"^(\d+\.\d+) percentile latency \(ns\) *: (\d+)$", text, re.M)
    reasons = _reasons(text)
    if verdict == "INVALID" and not reasons:
        reasons = ["LoadGen says INVALID and gives no reason; see its detailed log"]
    server = settings.scenario == "Server"
    return Result(
        scenario=settings.scenario,
        harness="loadgen",
        valid=not reasons,
        reasons=tuple(reasons),
        metric=METRICS[settings.scenario],
        value=_value(text, settings, folder),
        latency_ms={f"p{float(at):g}": int(ns) / 1e6 for at, ns in percentiles},
        queries=queries,
        samples=samples,
        duration_s=duration_s,
        folder=folder,
        target_qps=settings.target_qps if server else None,
        scheduled_qps=_number(text, "Scheduled samples per second", folder) if server else None,
    )


def _value(text: str, settings: Settings, folder: str) -> float:
    if settings.scenario == "Offline":
        return _number(text, "Samples per second", folder)
    if settings.scenario == "Server":
        return _number(text, "Completed samples per second", folder)
    at = f"{100 * settings.percentile:.1f}th percentile"
    estimate = re.search(rf"Early stopping {at} estimate: (\d+)$", text, re.M)
    if estimate:
        return int(estimate[1]) / 1e6
    return _number(text, f"{at} latency (ns)", folder) / 1e6


def _reasons(text: str) -> list[str]:
    """What keeps the run from being VALID, in LoadGen's words.

    A count that is not met or an error in the log also counts, although LoadGen may say VALID: a
    submission with either is refused.
    """
    failed = re.findall(r"^  (.+) satisfied *: (?:NO|Skipped)$", text, re.M)
    reasons = [f"{name} not satisfied" for name in failed]
    for title in ("Recommendations", "Early Stopping Result"):
        section = re.search(rf"^{title}:\n((?: .*\n)*)", text, re.M)
        if section and (title == "Recommendations" or "Early stopping" in failed):
            advice = " ".join(section[1].split()).split("* ")
            reasons += [sentence.strip() for sentence in advice if sentence.strip()]
    errors = re.search(r"^(\d+) ERRORS? encountered", text, re.M)
    if errors:
        reasons.append(f"LoadGen logged {errors[1]} errors; see its detailed log")
    return reasons


def _number(text: str, label: str, folder: str) -> float:
    return float(_find(text, rf"^{re.escape(label)} *: ([\d.e+]+)$", folder))


def _find(text: str, pattern: str, folder: str) -> str:
    found = re.search(pattern, text, re.M)
    if not found:
        raise SourceError(
            f"LoadGen's summary in {folder} has no line like {pattern!r}; expected the "
            "mlperf_log_summary.txt of mlcommons-loadgen 6.0, complete"
        )
    return found[1]
