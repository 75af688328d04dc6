"""What a sink is: where observations and events go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from blurvote.runtime.defense import Defense
from blurvote.runtime.observation import Event, Observation

__all__ = ["Sink", "SinkContext"]


def _nothing() -> None:
    pass


def _no() -> bool:
    return False


@dataclass(frozen=True)
class SinkContext:
    """What a sink may need to know about the run, and ask of it.

    Attributes:
        defense: of the guard, for names of views.
        labels: class names; empty where the guard has none.
        frames_per_second: of the first source that has a rate; what videos are written at. Asked
            at the first frame, as is `live`, since sinks are opened before sources.
        stop: asks the run to end, as closing a window does; returns at once, from any thread.
        live: whether frames come from a live source.
    """

    defense: Defense
    labels: tuple[str, ...]
    frames_per_second: Callable[[], float]
    stop: Callable[[], None] = _nothing
    live: Callable[[], bool] = _no


class Sink(Protocol):
    """Takes observations and events, one at a time, from one thread.

    It is created in another thread, before the run starts: what can be known to be wrong is raised
    then. Connections and windows are made in the first `write` or `tell`.

    Attributes:
        holds_pictures: whether it uses the frames' pixels. Such sinks get a shorter queue; others
            get frames of shape `(0, 0, 3)`.
    """

    holds_pictures: bool

    def write(self, observation: Observation) -> None:
        """Delivers one observation; returns or raises within some seconds.

        Raises:
            SinkError: not delivered, and the sink is to blame; the caller may try the same one
                again, after any time. Any other exception blames the observation.
        """

    def tell(self, event: Event) -> None:
        """Delivers one event; sinks of pictures ignore them.

        Raises:
            SinkError: as `write`.
        """

    def close(self) -> None:
        """Finishes the output; called once, also after a failed write.

        Raises:
            SinkError: the output is not complete.
        """
