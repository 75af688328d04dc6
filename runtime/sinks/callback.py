"""Observations to a Python function."""

from __future__ import annotations

from collections.abc import Callable

from blurvote.runtime.observation import Event, Observation

__all__ = ["CallbackSink"]


class CallbackSink:
    """Calls a function with every observation, from the delivery's thread.

    Args:
        function: called with an `Observation`. It may raise SinkError to be called again with the
            same one later; any other exception is told, and after some attempts the observation is
            dropped. A slow one loses observations of live streams, which are counted.
        on_event: called with an `Event`; None ignores events.
        pictures: whether `function` needs the frame's pixels. Without them a longer queue
            bridges longer pauses.
    """

    def __init__(
        self,
        function: Callable[[Observation], object],
        on_event: Callable[[Event], object] | None = None,
        pictures: bool = True,
    ) -> None:
        self.holds_pictures = pictures
        self._function = function
        self._on_event = on_event

    def write(self, observation: Observation) -> None:
        self._function(observation)

    def tell(self, event: Event) -> None:
        if self._on_event is not None:
            self._on_event(event)

    def close(self) -> None:
        """Nothing is held."""
