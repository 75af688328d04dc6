"""The cameras of a pipeline and their readers: who comes, whose turn it is, who goes."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.observation import Event
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.mailbox import Mailbox
from blurvote.runtime.pipeline.reader import Reader
from blurvote.runtime.pipeline.settings import AnyCamera, CameraSettings, as_camera

__all__ = ["COUNTS", "Roster"]

IN_HAND_S = 5.0  # that an inference may take whose frame's camera goes
COUNTS = ("frames", "verdicts", "dropped", "pending", "errors", "reconnects")


class Roster:
    """Cameras by name. Any thread may call.

    Args:
        mailbox: has a slot for each.
        emit: takes the cameras' events.
        on_open: called with a camera once its source is open.
        in_turn: one source at a time, each after the frames of the one before are taken; what had
            its turn is forgotten but for its counts, as there may be thousands.
    """

    def __init__(
        self,
        mailbox: Mailbox[Camera],
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
        self._names: set[str] = set()  # of all that are here or to come, unless in turn
        self._past: Counter[str] = Counter()
        self._started = self._stopping = False
        self._changing = 0  # replacements under way, during which nothing is over

    def replace(self, remove: Sequence[str], add: Sequence[AnyCamera], timeout_s: float) -> None:
        """Stops and forgets some cameras, then adds others, which are started if `start` was
        called.

        Args:
            remove: names of cameras.
            add: cameras, which may have the names of those that go.
            timeout_s: for the readers of those that go, together.

        Raises:
            SettingsError: there is no such camera, or a name is taken; nothing was changed.
        """
        new = [as_camera(one) for one in add]
        with self._lock:
            self._check_names(remove, new)
            self._changing += 1
            going = {name: self._readers[name] for name in remove}
        try:
            for reader in going.values():
                reader.stop()
            _join(going.values(), timeout_s)
            with self._lock:
                for name in remove:
                    self._forget(name)
                    self._names.discard(name)
                for settings in new:
                    if not self._in_turn:
                        self._names.add(settings.name)
                    self._to_start.append(settings)
                    if self._started and not self._in_turn:
                        self._start_next()
        finally:
            with self._lock:
                self._changing -= 1

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
        with self._lock:
            readers = [*self._readers.values()]
        _join(readers, timeout_s)

    @property
    def done(self) -> bool:
        """Whether no frame waits, and none will come (or none is wanted any more)."""
        with self._lock:
            if self._stopping:
                return all(camera.slot.idle for camera in self._cameras.values())
            return self._idle() and not self._to_start and not self._changing

    @property
    def cameras(self) -> list[Camera]:
        """Those that were started and not forgotten, in their order."""
        with self._lock:
            return [*self._cameras.values()]

    def get(self, name: str) -> Camera | None:
        """The camera of that name."""
        with self._lock:
            return self._cameras.get(name)

    def snapshot(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The cameras as plain values, and the counts of those and all that were here before."""
        with self._lock:
            cameras = [camera.to_dict() for camera in self._cameras.values()]
            past = {key: self._past[key] for key in COUNTS}
        return cameras, {key: past[key] + sum(c[key] for c in cameras) for key in COUNTS}

    def _check_names(self, remove: Sequence[str], new: Sequence[CameraSettings]) -> None:
        for name in remove:
            if name not in self._cameras:
                raise SettingsError(f"there is no camera {name!r}; there are {[*self._cameras]}")
        if self._in_turn:
            return
        taken = self._names - {*remove}
        for settings in new:
            if settings.name in taken:
                raise SettingsError(
                    f"two cameras are called {settings.name!r}; give each a name of its own"
                )
            taken.add(settings.name)

    def _idle(self) -> bool:
        return all(camera.over and camera.slot.idle for camera in self._cameras.values())

    def _start_next(self) -> None:
        if self._in_turn:
            for over in [*self._cameras]:
                self._forget(over)
        settings = self._to_start.popleft()
        camera = Camera(settings, self._emit, self._mailbox)
        self._cameras[settings.name] = camera
        self._readers[settings.name] = Reader(camera, self._on_open, self._mailbox.wake)
        self._readers[settings.name].start()

    def _forget(self, name: str) -> None:
        camera = self._cameras[name]
        camera.slot.remove(IN_HAND_S)
        values = camera.to_dict()
        self._past.update({key: values[key] for key in COUNTS})
        del self._cameras[name], self._readers[name]


def _join(readers: Iterable[Reader], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    for reader in readers:
        reader.join(max(0.0, deadline - time.monotonic()))
