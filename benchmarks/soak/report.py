"""Outcomes as JSON and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blurvote.benchmarks.environment import warnings
from blurvote.benchmarks.report import table
from blurvote.benchmarks.soak.outcome import Fault, Outcome

__all__ = ["SCHEMA", "document", "markdown", "verdict_line"]

SCHEMA = "blurvote.soak/1"
_LONGEST = 90  # characters of what was told, in tables


def document(facts: Mapping[str, Any], outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """All of it, ready for `json.dumps`."""
    return {"schema": SCHEMA, **facts, "scenarios": [one.to_dict() for one in outcomes]}


def verdict_line(outcome: Outcome) -> str:
    """One line for people."""
    if outcome.status == "skipped":
        return f"{outcome.scenario}: skipped: {outcome.reason}"
    failed = [check.name for check in outcome.checks if not check.passed]
    why = f": {outcome.reason or '; '.join(failed)}" if outcome.status == "failed" else ""
    passed = f"{len(outcome.checks) - len(failed)} of {len(outcome.checks)} checks passed"
    return f"{outcome.scenario}: {outcome.status}{why} ({passed}, {outcome.seconds:.0f} s)"


def markdown(facts: Mapping[str, Any], outcomes: Sequence[Outcome]) -> str:
    """A report for people."""
    machine = facts["machine"]
    lines = ["# Soak", ""]
    lines.append(
        f"Guard `{facts['guard']}`, {facts['video'] or 'a drawn film'}; "
        f"{machine.get('cpu') or 'unknown CPU'}, {machine.get('usable_cores')} usable cores, "
        f"{machine.get('platform')}."
    )
    lines += ["", *(f"- Caution: {text}." for text in warnings(machine))]
    lines += ["", _overview(outcomes)]
    for outcome in outcomes:
        lines += ["", *_section(outcome)]
    return "\n".join(lines)


def _overview(outcomes: Sequence[Outcome]) -> str:
    rows = []
    for one in outcomes:
        back = [fault.back_after_s for fault in one.faults]
        known = [seconds for seconds in back if seconds is not None]
        ages = [camera["age_ms"]["p99"] for camera in one.cameras if camera["age_ms"]]
        rows.append(
            [
                one.scenario,
                one.status,
                len(one.faults),
                f"{max(known):.2f}" if known else "-",
                f"{max(ages):.0f}" if ages else "-",
                _change(one.usage, "rss_mib", ".0f"),
                _change(one.usage, "threads", ".0f"),
                _change(one.usage, "files", ".0f"),
            ]
        )
    headers = ["scenario", "status", "faults", "back after at most, s", "age p99 at most, ms"]
    return table([*headers, "memory, MiB", "threads", "descriptors"], rows)


def _change(usage: Mapping[str, Mapping[str, float]], key: str, form: str) -> str:
    if not usage:
        return "-"
    return f"{usage['start'][key]:{form}} to {usage['end'][key]:{form}}"


def _section(outcome: Outcome) -> list[str]:
    lines = [f"## {outcome.scenario}: {outcome.status}", "", outcome.did + "."]
    if outcome.reason:
        lines += ["", f"Reason: {outcome.reason}."]
    if outcome.faults:
        lines += ["", _faults(outcome.faults)]
    if outcome.cameras:
        lines += ["", _cameras(outcome.cameras)]
    if outcome.checks:
        rows = [["yes" if c.passed else "NO", c.name, _cell(c.detail)] for c in outcome.checks]
        lines += ["", table(["holds", "check", "figures"], rows)]
    if outcome.facts:
        lines += ["", *(f"- {name}: {_cell(value)}" for name, value in outcome.facts.items())]
    return lines


def _faults(faults: Sequence[Fault]) -> str:
    rows = [
        [
            f"{fault.at_s:.1f}",
            fault.what,
            fault.whom,
            f"{fault.lasted_s:.1f}",
            _cell(fault.told)[:_LONGEST] or "-",
            _seconds(fault.told_after_s),
            f"{fault.silent_s:.2f}",
            _seconds(fault.back_after_s),
        ]
        for fault in faults
    ]
    headers = ["at, s", "fault", "whom", "lasted, s", "told", "after, s", "silent, s"]
    return table([*headers, "back after, s"], rows)


def _cameras(cameras: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for camera in cameras:
        ages = camera["age_ms"]
        gap = camera["longest_gap_s"]
        keys = ("frames", "verdicts", "dropped", "pending", "errors", "reconnects")
        rows.append(
            [
                camera["name"],
                *(camera[key] for key in keys),
                *(f"{ages[key]:.1f}" if ages else "-" for key in ("p50", "p99", "max")),
                _seconds(gap),
            ]
        )
    headers = ["camera", "frames", "verdicts", "dropped", "pending", "errors", "reconnects"]
    return table([*headers, "age p50, ms", "p99", "max", "longest gap, s"], rows)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")
