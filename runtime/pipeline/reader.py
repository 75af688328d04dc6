"""The thread that reads one source: opens it, watches over it, and opens it again when it is lost.

There is one thread per camera for as long as the camera is wanted, however often its stream breaks
off. It alone opens and reads the source, and closes it unless a read does not come back.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from blurvote.runtime.errors import BlurvoteError, SourceError, StreamLostError
from blurvote.runtime.frame import Frame, check_frame
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.stream_watch import StreamWatch
from blurvote.runtime.sources import Source, SourceOptions, names_file, open_source

__all__ = ["Reader", "backoff_s"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
PROVEN_S = 1.0  # a stream that delivered for so long is not blamed for earlier failures
STALLED, FREED = 2, 4  # timeouts after which a hanging read is told, and its source closed
GRACE_S = 0.3  # that a read may take to come back before its source is closed under it
MOST_ERRORS = 100  # unreadable frames in a row after which a live stream is opened again
MOST_FILE_ERRORS = 10_000  # ... and a file given up: a folder may well hold hundreds


def backoff_s(failures: int) -> float:
    """How long to wait after so many failures in a row, in seconds.

    Doubles from 0.25 s to 10 s, give or take a fifth, so that many cameras behind one switch do not
    all come back in the same instant.
    """
    pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))
    return pause * random.uniform(0.8, 1.2)


class Reader:
    """Reads one camera into its slot, from `start` to `stop` or to the source's end.

    Args:
        camera: whose settings say what to open, and who is told what happens.
        on_open: called with the camera once its source is open, before its first frame.
        on_end: called when no more frames will come.
        open: opens a source; see `open_source`.
    """

    def __init__(
        self,
        camera: Camera,
        on_open: Callable[[Camera], None],
        on_end: Callable[[], None],
        open: Callable[[str, SourceOptions], Source] = open_source,
    ) -> None:
        self._camera = camera
        self._on_open = on_open
        self._on_end = on_end
        self._open = open
        self._stopping = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"blurvote-{camera.name}"[:60], daemon=True
        )
        self._source: Source | None = None
        self._read_since = float("inf")
        self._next = 0  # sequence number of the next frame, counted over all openings
        self._delivered_s = 0.0  # from opening to the last frame of it; 0 without any

    def start(self) -> None:
        """Begins to read."""
        self._camera.change("connecting")
        self._thread.start()

    def stop(self) -> None:
        """Ends after the frame that is being read; returns at once."""
        self._stopping.set()
        self._camera.slot.shut()

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread; False when a source does not give it back in time."""
        if self._thread.ident is None:
            return True
        deadline = time.monotonic() + timeout_s
        self._thread.join(min(timeout_s, GRACE_S))
        if self._thread.is_alive():
            self._free()
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def check(self) -> None:
        """Tells of a source that keeps its reader waiting for much longer than it should, and
        closes it when that goes on, which ends the reads of most.
        """
        timeout_s = self._camera.settings.options.timeout_s
        waited = time.monotonic() - self._read_since
        if not self._camera.live or waited < STALLED * timeout_s:
            return
        if self._camera.state in ("live", "blank", "frozen", "corrupt"):
            self._camera.change("stalled", f"no frame for {waited:.0f} s")
        if waited >= FREED * timeout_s:
            self._free()

    def _free(self) -> None:
        """Closes the source under a read; in a thread of its own, as some make closing wait."""
        source, self._source = self._source, None
        if source is not None:
            threading.Thread(
                target=_close_quietly, args=(source,), name="blurvote-close", daemon=True
            ).start()

    # ---- the thread ----

    def _run(self) -> None:
        try:
            self._keep_open()
        finally:
            self._camera.slot.shut()
            self._camera.over = True
            self._on_end()

    def _keep_open(self) -> None:
        camera = self._camera
        limit = camera.settings.reconnect
        failures = 0
        while not self._stopping.is_set():
            why = self._open_once()
            if why is None or self._stopping.is_set():
                return
            failures = 1 if self._delivered_s >= PROVEN_S else failures + 1
            if limit is not None and failures > limit:
                self._give_up(SourceError(why))
                return
            camera.change("lost", why)
            self._stopping.wait(backoff_s(failures))

    def _open_once(self) -> str | None:
        """Opens the source and reads it until it is lost (why), or for good (None)."""
        camera, settings = self._camera, self._camera.settings
        self._delivered_s = 0.0
        try:
            source = self._open(settings.uri, settings.options)
        except Exception as error:
            if self._will_never_be(error):
                self._give_up(error)
                return None
            return _text(error)
        self._source = source
        try:
            why = None if self._stopping.is_set() else self._read_all(source)
        except Exception as error:  # of a source of somebody else's making
            why = _text(error)
            if not camera.live:
                self._give_up(SourceError(why))
                why = None
        if why is not None and not self._stopping.is_set():
            camera.change("lost", why)  # before closing, which may take its time
        self._read_since = float("inf")
        self._source = None
        try:
            source.close()
        except Exception as error:
            camera.broke(SourceError(f"{camera.uri} could not be closed: {_text(error)}"))
        return why

    def _will_never_be(self, error: Exception) -> bool:
        """Whether a first opening that failed so is not worth another."""
        settings = self._camera.settings
        if self._camera.live is not None or isinstance(error, StreamLostError):
            return False
        return not settings.patient or names_file(settings.uri)

    def _give_up(self, error: Exception) -> None:
        if self._camera.live:  # then the state is told, with the reason
            self._camera.errors += 1
        else:
            self._camera.broke(error)
        self._camera.change("failed", _text(error))

    def _read_all(self, source: Source) -> str | None:
        """Reads until the source ends (None) or is lost (why)."""
        camera = self._camera
        again = camera.live
        camera.frames_per_second, camera.total = source.frames_per_second, source.total
        camera.live = camera.slot.newest_wins = source.live
        self._on_open(camera)
        if not source.live:
            camera.change("live")
        watch = StreamWatch(camera) if source.live else None
        begin = self._next
        opened, delivered = time.monotonic(), False
        errors = 0  # in a row
        while not self._stopping.is_set():
            self._read_since = time.monotonic()
            try:
                frame = source.read()
                if frame is not None:
                    check_frame(frame)
            except StreamLostError:
                raise
            except BlurvoteError as error:
                if watch is None:
                    camera.slot.settle()  # told in its place between the verdicts
                else:
                    watch.saw_error()
                camera.broke(error)
                errors += 1
                if errors >= (MOST_ERRORS if watch else MOST_FILE_ERRORS):
                    raise StreamLostError(
                        f"{errors} frames in a row could not be read: {error}"
                    ) from None
                continue
            errors = 0
            if self._stopping.is_set():
                return None
            if frame is None:
                if watch is not None:
                    return "the stream ended"
                camera.change("ended")
                return None
            if again and not delivered:  # an opening alone says little: some open without a server
                camera.reconnects += 1
                camera.forget_the_past()
            delivered = True
            self._delivered_s = time.monotonic() - opened
            if not self._hand_over(frame, begin, watch):
                return None
        return None

    def _hand_over(self, frame: Frame, begin: int, watch: StreamWatch | None) -> bool:
        """Puts a frame into the slot; False when it is not wanted any more."""
        if begin:
            frame = replace(frame, sequence=begin + frame.sequence)
        self._next = frame.sequence + 1
        self._camera.saw_size(frame)
        flaw = None if watch is None else watch.judge(frame)
        return self._camera.slot.put(frame, flaw)


def _close_quietly(source: Source) -> None:
    with contextlib.suppress(Exception):  # its reader closes it again, and tells
        source.close()


def _text(error: Exception) -> str:
    if isinstance(error, BlurvoteError):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
