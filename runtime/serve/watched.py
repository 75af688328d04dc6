"""What the live page can watch."""

from __future__ import annotations

from typing import Any, Protocol

from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Event, Observation

__all__ = ["Watched"]


class Watched(Protocol):
    """A running pipeline, seen from outside; every method may be called from any thread.

    Attributes:
        guard: whose views and labels are shown.
    """

    guard: Guard

    def snapshot(self) -> dict[str, Any]:
        """How it stands now, as plain values: cameras, totals, stages, sinks, the process."""

    def latest(self, camera: str) -> Observation | None:
        """The newest frame of a camera with its verdict; None before the first."""

    def history(self, camera: str) -> dict[str, Any]:
        """What `History.to_dict` gives for a camera."""

    def events(self) -> list[Event]:
        """The newest 200 events, oldest first."""
