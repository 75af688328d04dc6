"""What differs between two results of `blurvote bench` besides the code that was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from blurvote.benchmarks.results import Results

if TYPE_CHECKING:
    from blurvote.benchmarks.latency.compare import Change

__all__ = ["cautions"]

_MACHINE = {  # in `Results.machine`; what moves during a run, such as the load, is not compared
    "cpu": "CPU",
    "cpu_features": "CPU features",
    "instruction_sets": "instruction sets",
    "usable_cores": "number of usable cores",
    "affinity": "affinity",
    "cgroup_cpus": "CPU limit of the control group",
    "governor": "frequency governor",
    "boost": "boost",
    "cpu_max_mhz": "highest clock (MHz)",
    "memory_mib": "memory (MiB)",
    "platform": "platform",
    "python": "Python",
    "environment": "environment variables",
}


def cautions(before: Results, after: Results, changes: Sequence[Change] = ()) -> list[str]:
    """What differs besides the code, a sentence each; empty for a fair comparison.

    A baseline such as `undefended` runs little of blurvote: where it is among the `changes`, the
    machine or the inference library changed, and the ratios to it say more than the times.
    """
    found = []

    def note(what: str, old: Any, new: Any) -> None:
        if old != new:
            found.append(f"different {what}: {_say(old)}, then {_say(new)}")

    for name, words in _MACHINE.items():
        note(words, before.machine.get(name), after.machine.get(name))
    old, new = (dict(one.machine.get("versions") or {}) for one in (before, after))
    for package in dict.fromkeys([*old, *new]):
        note(f"version of {package}", old.get(package), new.get(package))
    for name in dict.fromkeys([*before.method, *after.method]):
        note(f"method, {name}", before.method.get(name), after.method.get(name))
    gpus = [[gpu.get("name") for gpu in one.machine.get("gpus") or ()] for one in (before, after)]
    note("GPUs", *gpus)
    boards = [one.machine.get("jetson") or {} for one in (before, after)]
    note("power mode", *(board.get("power_mode") for board in boards))
    for name in ("session", "pictures"):
        note(name, before.facts.get(name), after.facts.get(name))
    hashes = [[str(guard.get("sha256"))[:12] for guard in one.guards] for one in (before, after)]
    note("guard files, by SHA-256", *hashes)
    for name in ("threads", "provider"):
        note(name, *_settings(before, after, name))
    for when, one in (("before", before), ("after", after)):
        if not one.complete:
            found.append(f"the run {when} is incomplete: it was interrupted or failed")
    baselines = {(row.section, row.case, row.baseline) for row in before.rows}
    for change in changes:
        if change.key in baselines and change.verdict in ("slower", "faster"):
            name = " / ".join(change.key)
            found.append(f"the baseline {name} itself is {change.verdict}: compare ratios to it")
    return found


def _settings(before: Results, after: Results, name: str) -> tuple[list[Any], list[Any]]:
    """The values of one detail over the rows that both runs have."""
    first, second = ({row.key: row.detail.get(name) for row in one.rows} for one in (before, after))
    differing: list[tuple[Any, Any]] = []
    for key in first.keys() & second.keys():
        pair = first[key], second[key]
        if pair[0] != pair[1] and pair not in differing:
            differing.append(pair)
    return [old for old, _ in differing], [new for _, new in differing]


def _say(value: Any) -> str:
    if isinstance(value, Mapping):
        return _say([f"{key} {_say(one)}" for key, one in value.items()])
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_say, value)) or "none"
    return "unknown" if value is None else str(value)
