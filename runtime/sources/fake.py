"""A source that plays a script, for tests of whatever reads from sources."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["Script", "ScriptedSource", "Step"]

Step = Frame | NDArray[np.uint8] | float | Exception | None
"""One step of a script: a `Frame` to deliver as it is, bare BGR pixels to deliver as a frame taken
now, seconds to pause, an exception to raise, or None for the end."""

_Steps = Iterable[Step] | Callable[[], Iterable[Step]]


class ScriptedSource:
    """Plays `steps`, which may be without end; the end of the steps is the end of the source.

    A pause of a live source that is longer than `timeout_s` raises StreamLostError when that has
    passed, as a camera's would. `close` ends a pause at once.

    Args:
        steps: see `Step`.
        live: as of every source.
        name: the frames' `source`.
        frames_per_second: as of every source.
        timeout_s: in seconds; None for no limit.
        on_close: called by the first `close`.
    """

    def __init__(
        self,
        steps: Iterable[Step],
        live: bool = True,
        name: str = "fake",
        *,
        frames_per_second: float | None = None,
        timeout_s: float | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.total: int | None = None
        self.frames_per_second = frames_per_second
        self.live = live
        self._steps: Iterator[Step] = iter(steps)
        self._name = name
        self._timeout_s = timeout_s
        self._on_close = on_close
        self._sequence = 0
        self._ended = False
        self._closing = threading.Lock()
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        """The next frame of the script; None at its end and once closed.

        Raises:
            Exception: what the script says.
            StreamLostError: a live source paused for longer than its timeout.
        """
        while not (self._ended or self._closed.is_set()):
            step = next(self._steps, None)
            if step is None:
                self._ended = True
            elif isinstance(step, Exception):
                # An endless script may raise one instance again and again.
                raise step.with_traceback(None)
            elif isinstance(step, (Frame, np.ndarray)):
                self._sequence += 1
                if isinstance(step, Frame):
                    return step
                return Frame(step, "bgr", self._name, self._sequence - 1)
            else:
                self._pause(step)
        return None

    def _pause(self, seconds: float) -> None:
        limit = self._timeout_s if self.live else None
        if limit is None or seconds <= limit:
            self._closed.wait(seconds)
        elif not self._closed.wait(limit):
            raise StreamLostError(f"{self._name} delivered nothing for {limit:g} s")

    def close(self) -> None:
        with self._closing:
            first = not self._closed.is_set()
            self._closed.set()
        if first and self._on_close is not None:
            self._on_close()


class Script:
    """What a camera does each time that it is opened; counts how often that is.

    ::

        script = Script([SourceError("unplugged"), [picture, StreamLostError("gone")], [picture]])
        register_source("fake", script.open)

    is a camera that cannot be opened at first, then breaks off after one picture, then delivers
    one and ends.

    Args:
        opens: per opening its steps (or a function that makes them), or an exception that the
            opening raises. May be without end; after its last, openings raise SourceError.
        live: as of every source.

    Attributes:
        asked: how often it was asked to open.
        opened, closed: how many sources it opened, and how many of them were closed.
        options: what the last opening asked for.
    """

    def __init__(self, opens: Iterable[_Steps | Exception], live: bool = True) -> None:
        self.asked = self.opened = self.closed = 0
        self.options: SourceOptions | None = None
        self._opens = iter(opens)
        self._live = live
        self._lock = threading.Lock()

    def open(self, uri: str, options: SourceOptions) -> ScriptedSource:
        """The next source of the script; an `Opener` for `register_source`.

        Raises:
            SourceError: the script has no more openings.
            Exception: what the script says.
        """
        with self._lock:
            self.asked += 1
            self.options = options
            steps = next(self._opens, None)
            if steps is None:
                raise SourceError(f"{uri} cannot be opened: its script has no more openings")
            if isinstance(steps, Exception):
                raise steps.with_traceback(None)
            self.opened += 1
        return ScriptedSource(
            steps() if callable(steps) else steps,
            self._live,
            uri,
            frames_per_second=options.fps,
            timeout_s=options.timeout_s,
            on_close=self._count_close,
        )

    def _count_close(self) -> None:
        with self._lock:
            self.closed += 1
