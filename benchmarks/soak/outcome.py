"""What a scenario found, ready for JSON and for a table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

__all__ = ["Check", "Fault", "Outcome", "Skipped", "Status"]

Status = Literal["passed", "failed", "skipped"]


class Skipped(Exception):
    """A scenario cannot run here; the text says what is missing."""


@dataclass(frozen=True)
class Check:
    """Something that must hold.

    Attributes:
        name: what, in a few words.
        passed: whether it does.
        detail: the figures that say so.
    """

    name: str
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Fault:
    """What was done to one camera or sink, and what came of it. Seconds throughout.

    Attributes:
        what: was done.
        whom: the camera or sink that it was done to.
        at_s: when, since the scenario began.
        lasted_s: how long until the cause was gone.
        told: what the pipeline said about it first; empty where it said nothing.
        told_after_s: how long after the fault; None where it said nothing.
        silent_s: how long no verdict (message, line) came, across the fault.
        back_after_s: from the cause's end to the first verdict of a frame taken after it; None
            where none came in time.
    """

    what: str
    whom: str
    at_s: float
    lasted_s: float
    told: str
    told_after_s: float | None
    silent_s: float
    back_after_s: float | None


@dataclass(frozen=True)
class Outcome:
    """One scenario's result.

    Attributes:
        scenario: its name.
        status: of the worst check.
        did: what was done, in a sentence or two.
        reason: why it was skipped, or what ended it early.
        seconds: that it took.
        faults: in their order.
        cameras: per camera its counts, ages in milliseconds and state, as `Rig.cameras` gives them.
        usage: `start` (after warm-up) and `end`: `rss_mib`, `threads`, `files`.
        checks: named, each passed or not.
        facts: whatever else was measured.
        events: what the pipeline told, with seconds since the scenario began; the newest ones.
    """

    scenario: str
    status: Status
    did: str
    reason: str = ""
    seconds: float = 0.0
    faults: tuple[Fault, ...] = ()
    cameras: tuple[Mapping[str, Any], ...] = ()
    usage: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """What `to_dict` described."""
        return cls(
            **{
                **values,
                "faults": tuple(Fault(**fault) for fault in values["faults"]),
                "checks": tuple(Check(**check) for check in values["checks"]),
                "cameras": tuple(values["cameras"]),
                "events": tuple(values["events"]),
            }
        )
