"""What flows from a pipeline to its sinks: observations of frames, and events about cameras."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from blurvote.runtime.frame import Frame
from blurvote.runtime.verdict import Verdict

__all__ = ["Event", "EventKind", "Observation", "iso_time"]

EventKind = Literal["state", "size", "error", "alarm", "sink", "service"]


@dataclass(frozen=True, eq=False)
class Observation:
    """One frame of one camera with its verdict.

    Attributes:
        camera: name of the camera or other source.
        frame: what was seen; its memory must not be changed.
        verdict: of the guard, or a rejection as `stale_frame` or `bad_frame` without inference.
        at: when the frame was captured, in seconds since 1970 (UTC).
        smoothed: the label that k of the last n verdicts agree on, -1 for none; None without
            smoothing.
        alarm: whether the camera's alarm is raised.
    """

    camera: str
    frame: Frame
    verdict: Verdict
    at: float
    smoothed: int | None = None
    alarm: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`; without the pixels."""
        return {
            "type": "verdict",
            "camera": self.camera,
            "time": iso_time(self.at),
            **self.verdict.to_dict(),
            "smoothed": self.smoothed,
            "alarm": self.alarm,
        }


@dataclass(frozen=True)
class Event:
    """Something that happened beside verdicts.

    Attributes:
        kind: `state` (a camera's state changed), `size` (its frames did), `error` (a frame could
            not be read or classified), `alarm` (raised or cleared), `sink` (a sink failed or works
            again), `service` (started, reloaded, draining).
        camera: whom it is about; None for sinks and the service.
        text: one line for people.
        data: plain values for machines; what is in it depends on the kind.
        at: in seconds since 1970 (UTC).
    """

    kind: EventKind
    camera: str | None
    text: str
    at: float
    data: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`."""
        head = {"type": self.kind, "camera": self.camera, "time": iso_time(self.at)}
        return {**head, "text": self.text, **self.data}


def iso_time(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds."""
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
