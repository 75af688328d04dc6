"""The thread that reads one source: opens it, watches over it, and opens it again when it is lost.

There is one thread per camera for as long as the camera is wanted, however often its stream breaks
off. It alone opens and reads the source, and closes it unless a read does not come back.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from blurvote.runtime.errors import BlurvoteError, SourceError, StreamLostError
from blurvote.runtime.frame import Frame, check_pixels
from blurvote.runtime.pipeline.camera import Camera, State
from blurvote.runtime.pipeline.health import Health, HealthWatch
from blurvote.runtime.pipeline.mailbox import Mailbox
from blurvote.runtime.sources import Source, SourceOptions, open_source
from blurvote.runtime.verdict import Reason

__all__ = ["Reader", "backoff_s"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
PROVEN_S = 2.0  # a stream that held this long is not blamed for earlier failures
TOLD_AFTER_S = 1.0  # a blank picture may be a flash; its state is told when it lasts
CORRUPT = 3  # unreadable frames within a second make a stream corrupt
GRACE_S = 0.3  # that a read may take to come back before its source is closed under it
MOST_ERRORS = 100  # unreadable frames in a row after which a live stream is opened again

_FLAWS: dict[Health, Reason] = {"blank": "bad_frame", "frozen": "stale_frame"}


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row, in seconds.

    Doubles from 0.25 s to 10 s, give or take a fifth, so that many cameras behind one switch do not
    all come back in the same instant.
    """
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))
    return pause * random.uniform(0.8, 1.2)


class Reader:
    """Reads one camera into the mailbox, from `start` to `stop` or to the source's end.

    Args:
        camera: whose settings say what to open, and who is told what happens.
        mailbox: takes the frames.
        on_open: called with the camera once its source is open, before its first frame.
        open: opens a source; see `open_source`.
    """

    def __init__(
        self,
        camera: Camera,
        mailbox: Mailbox,
        on_open: Callable[[Camera], None],
        open: Callable[[str, SourceOptions], Source] = open_source,
    ) -> None:
        self._camera = camera
        self._mailbox = mailbox
        self._on_open = on_open
        self._open = open
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"blurvote-{camera.name}"[:60], daemon=True
        )
        self._read_since = float("inf")
        self._source: Source | None = None
        self._next = 0  # sequence number of the next frame, counted over all openings

    def start(self) -> None:
        """Begins to read."""
        self._camera.change("connecting")
        self._thread.start()

    def stop(self) -> None:
        """Ends after the frame that is being read; returns at once."""
        self._stopping.set()
        self._mailbox.shut(self._camera.name)

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread; False when a source does not give it back in time."""
        if self._thread.ident is None:
            return True
        self._thread.join(min(timeout_s, GRACE_S))
        source = self._source
        if source is not None and self._thread.is_alive():
            # Most sources' reads end when they are closed; some make whoever closes them wait.
            threading.Thread(target=source.close, name="blurvote-close", daemon=True).start()
            self._thread.join(max(0.0, timeout_s - GRACE_S))
        return not self._thread.is_alive()

    def check(self) -> None:
        """Tells of a source that keeps its reader waiting for much longer than it should."""
        allowed = 2 * self._camera.settings.options.timeout_s
        waited = time.monotonic() - self._read_since
        running = self._camera.state in ("live", "blank", "frozen", "corrupt")
        if self._camera.live and running and waited > allowed:
            self._camera.change("stalled", f"no frame for {waited:.0f} s")

    def _run(self) -> None:
        try:
            self._keep_open()
        finally:
            self._camera.over = True
            if not self._stopping.is_set():  # else the slot may be another reader's by now
                self._mailbox.shut(self._camera.name)
            self._mailbox.wake()

    def _keep_open(self) -> None:
        camera, settings = self._camera, self._camera.settings
        failures = 0
        while not self._stopping.is_set():
            lived = 0.0
            try:
                source = self._open(settings.uri, settings.options)
            except Exception as error:
                why = _text(error)
                # What was never open and is not just away will not come by itself.
                if camera.live is None and not isinstance(error, StreamLostError):
                    camera.broke(error)
                    camera.change("failed", why)
                    return
            else:
                started = time.monotonic()
                ended = self._read_all(source)
                if ended is None:
                    return
                why, lived = ended, time.monotonic() - started
            if self._stopping.is_set():
                return
            failures = 1 if lived >= PROVEN_S else failures + 1
            if settings.reconnect is not None and failures > settings.reconnect:
                camera.broke(SourceError(why))
                camera.change("failed", why)
                return
            pause = backoff_s(failures)
            camera.change("lost", why)
            self._stopping.wait(pause)

    def _read_all(self, source: Source) -> str | None:
        """Reads until the source ends (None) or is lost (why)."""
        camera = self._camera
        self._source = source
        try:
            if camera.live:
                camera.reconnects += 1
                camera.forget_the_past()
            camera.live = source.live
            camera.frames_per_second, camera.total = source.frames_per_second, source.total
            self._mailbox.open(camera.name, newest_wins=source.live)
            self._on_open(camera)
            if not source.live:
                camera.change("live")
            return self._pump(source)
        finally:
            self._read_since = float("inf")
            self._source = None
            source.close()

    def _pump(self, source: Source) -> str | None:
        camera = self._camera
        watch = _Watch(camera)
        begin = self._next
        errors_in_a_row = 0
        while not self._stopping.is_set():
            self._read_since = time.monotonic()
            try:
                frame = source.read()
                if frame is not None:
                    check_pixels(frame.pixels)
            except StreamLostError as error:
                return str(error)
            except BlurvoteError as error:
                if not source.live:
                    self._mailbox.settle(camera.name)  # told in its place between the verdicts
                camera.broke(error)
                errors_in_a_row += 1
                if source.live:
                    watch.saw_error()
                    if errors_in_a_row >= MOST_ERRORS:
                        return f"{errors_in_a_row} frames in a row could not be read: {error}"
                continue
            except Exception as error:  # a source of somebody else's making
                if source.live:
                    return _text(error)
                camera.broke(SourceError(_text(error)))
                camera.change("failed", _text(error))
                return None
            errors_in_a_row = 0
            if self._stopping.is_set():
                return None
            if frame is None:
                if source.live:
                    return "the stream ended"
                camera.change("ended")
                return None
            if begin:
                frame = replace(frame, sequence=begin + frame.sequence)
            self._next = frame.sequence + 1
            camera.saw_size(frame)
            flaw = watch.judge(frame) if source.live else None
            if not self._mailbox.put(camera.name, frame, flaw):
                return None
        return None


class _Watch:
    """Turns what single frames look like into the camera's state."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        self._health = HealthWatch(camera.settings.frozen_s, camera.settings.check_blank)
        self._blank_since: float | None = None
        self._errors: deque[float] = deque(maxlen=CORRUPT)

    def judge(self, frame: Frame) -> Reason | None:
        """The frame's flaw, or None."""
        health = self._health.judge(frame)
        now = time.monotonic()
        state: State = health
        if health == "blank":
            self._blank_since = now if self._blank_since is None else self._blank_since
            if now - self._blank_since < TOLD_AFTER_S:
                return _FLAWS[health]
        else:
            self._blank_since = None
        if self._corrupt(now):
            state = "corrupt"
        self._camera.change(state, _WHY.get(state, ""))
        return _FLAWS.get(health)

    def saw_error(self) -> None:
        """Takes note of a frame that could not be read."""
        self._errors.append(time.monotonic())
        if self._corrupt(self._errors[-1]):
            self._camera.change("corrupt", _WHY["corrupt"])

    def _corrupt(self, now: float) -> bool:
        return len(self._errors) == CORRUPT and self._errors[0] > now - 1.0


_WHY: dict[State, str] = {
    "blank": "its picture is uniform: a covered lens, no signal, or a decoder without a reference",
    "frozen": "its picture has stood still for too long",
    "corrupt": "frames arrive damaged",
}


def _text(error: Exception) -> str:
    if isinstance(error, BlurvoteError):
        return str(error)
    return f"{type(error).__name__}: {error}"
