"""The cameras of a pipeline and their readers: who comes, whose turn it is, who goes."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.observation import Event
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.mailbox import Mailbox
from blurvote.runtime.pipeline.reader import Reader
from blurvote.runtime.pipeline.settings import CameraSettings, named

__all__ = ["COUNTS", "Roster"]

COUNTS = ("frames", "verdicts", "dropped", "pending", "errors", "reconnects")


class Roster:
    """Cameras by name. Any thread may call.

    Args:
        mailbox: takes the readers' frames.
        emit: takes the cameras' events.
        on_open: called with a camera once its source is open.
        in_turn: one source at a time, each after the frames of the one before are taken; what had
            its turn is forgotten but for its counts, as there may be thousands.
    """

    def __init__(
        self,
        mailbox: Mailbox,
        emit: Callable[[Event], None],
        on_open: Callable[[Camera], None],
        in_turn: bool,
    ) -> None:
        self._mailbox = mailbox
        self._emit = emit
        self._on_open = on_open
        self._in_turn = in_turn
        self._lock = threading.RLock()
        self._cameras: dict[str, Camera] = {}
        self._readers: dict[str, Reader] = {}
        self._to_start: deque[CameraSettings] = deque()
        self._past: Counter[str] = Counter()
        self._started = self._stopping = False

    def add(self, camera: CameraSettings | str) -> None:
        """Adds a camera; it is started at once if `start` was called.

        Raises:
            SettingsError: its name is taken.
        """
        settings = named(CameraSettings(camera) if isinstance(camera, str) else camera)
        with self._lock:
            taken = {*self._cameras, *(other.name for other in self._to_start)}
            if settings.name in taken and not self._in_turn:
                raise SettingsError(
                    f"two cameras are called {settings.name!r}; give each a name of its own"
                )
            self._to_start.append(settings)
            if self._started and not self._in_turn:
                self._start_next()

    def remove(self, name: str, timeout_s: float) -> None:
        """Stops a camera's reader, waits for it for up to `timeout_s`, and forgets both.

        Raises:
            SettingsError: there is no such camera.
        """
        with self._lock:
            if name not in self._cameras:
                raise SettingsError(f"there is no camera {name!r}; there are {[*self._cameras]}")
            reader = self._readers[name]
        reader.stop()
        reader.join(timeout_s)
        with self._lock:
            self._forget(name)

    def start(self) -> None:
        """Starts all readers, or the first one where they take turns."""
        with self._lock:
            self._started = True
            while self._to_start and not (self._in_turn and self._cameras):
                self._start_next()

    def tick(self) -> None:
        """Looks after readers that hang, and gives the next source its turn."""
        with self._lock:
            for reader in self._readers.values():
                reader.check()
            if self._to_start and self._idle() and not self._stopping:
                self._start_next()

    def stop(self) -> None:
        """Tells all readers to end; returns at once."""
        with self._lock:
            self._stopping = True
            for reader in self._readers.values():
                reader.stop()

    def join(self, timeout_s: float) -> None:
        """Waits for all readers, for up to `timeout_s` together."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            readers = [*self._readers.values()]
        for reader in readers:
            reader.join(max(0.0, deadline - time.monotonic()))

    @property
    def done(self) -> bool:
        """Whether no frame waits, and none will come (or none is wanted any more)."""
        with self._lock:
            if self._stopping:
                return all(self._mailbox.empty(name) for name in self._cameras)
            return self._idle() and not self._to_start

    @property
    def cameras(self) -> list[Camera]:
        """Those that were started and not forgotten, in their order."""
        with self._lock:
            return [*self._cameras.values()]

    def get(self, name: str) -> Camera | None:
        """The camera of that name."""
        with self._lock:
            return self._cameras.get(name)

    @property
    def past(self) -> dict[str, int]:
        """Counts of cameras that were removed or had their turn."""
        with self._lock:
            return {key: self._past[key] for key in COUNTS}

    def _idle(self) -> bool:
        return all(c.over and self._mailbox.empty(c.name) for c in self._cameras.values())

    def _start_next(self) -> None:
        if self._in_turn:
            for over in [*self._cameras]:
                self._forget(over)
        settings = self._to_start.popleft()
        name = settings.name
        camera = Camera(settings, self._emit, lambda: self._mailbox.counts(name))
        self._cameras[name] = camera
        self._readers[name] = Reader(camera, self._mailbox, self._on_open)
        self._readers[name].start()

    def _forget(self, name: str) -> None:
        values = self._cameras.pop(name).to_dict()
        self._past.update({key: values[key] for key in COUNTS})
        del self._readers[name]
        self._mailbox.forget(name)
