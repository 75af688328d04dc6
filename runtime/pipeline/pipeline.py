"""Many sources through one guard, with verdicts flowing to sinks, iterators and whoever looks.

::

    with Guard("guard.onnx") as guard:
        for seen in Pipeline(guard, ["rtsp://camera-a/live", "rtsp://camera-b/live"]):
            print(seen.camera, seen.verdict.name, seen.verdict.age_ms)

One thread reads each source (`reader.py`), one takes the newest frames of all to the guard
(`Pipeline._work`), and one feeds each sink (`delivery.py`). None of them ever waits for a slower
one while a source is live; what is lost in between is counted.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from types import TracebackType
from typing import Any

from blurvote.runtime.engines.protocol import ON_CPU
from blurvote.runtime.errors import BlurvoteError, SettingsError
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Event, Observation, iso_time
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.fan_out import AnySink, FanOut
from blurvote.runtime.pipeline.iterate import iterate, iterate_async
from blurvote.runtime.pipeline.judge import Judge
from blurvote.runtime.pipeline.mailbox import Mailbox
from blurvote.runtime.pipeline.outlet import Outlet
from blurvote.runtime.pipeline.process import process_usage
from blurvote.runtime.pipeline.roster import Roster
from blurvote.runtime.pipeline.settings import AnyCamera, Flow
from blurvote.runtime.sinks import SinkContext
from blurvote.runtime.summary import Summary

__all__ = ["Pipeline"]

TICK_S = 0.2
EVENTS = 200  # newest ones that are kept
STILLS_PER_SECOND = 10.0  # of a video made from pictures


class Pipeline:
    """Takes frames of all sources through a guard, from `start` to `stop` or to their end.

    Args:
        guard: stays the caller's to close.
        cameras: settings, or bare URIs, paths or camera numbers.
        sinks: URIs (see `open_sink`), open sinks, or functions that take an `Observation`.
        flow: how sources share the guard.

    Attributes:
        guard: as given.
        failure: what ended the pipeline against its will, or None.

    Raises:
        SettingsError: two cameras of one name.
        SinkError: a sink that cannot be opened.
    """

    def __init__(
        self,
        guard: Guard,
        cameras: Sequence[AnyCamera],
        sinks: Sequence[AnySink] = (),
        flow: Flow | None = None,
    ) -> None:
        self.guard = guard
        self.failure: Exception | None = None
        self._flow = flow or Flow()
        self._mailbox: Mailbox[Camera] = Mailbox()
        self._judge = Judge(guard)
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._fan_out = FanOut(self._emit)
        self._roster = Roster(self._mailbox, self._emit, self._opened, self._flow.in_turn)
        self._started_at = self._looked_at = time.monotonic()
        self._any_live = self._stopped = False
        self._stopping = threading.Lock()
        self._verdicts = 0
        self._worker = threading.Thread(target=self._work, name="blurvote-guard", daemon=True)
        if isinstance(cameras, str):
            raise SettingsError(f"cameras is {cameras!r}; expected a list, such as [{cameras!r}]")
        self._roster.replace((), cameras, 0.0)
        context = SinkContext(
            guard.defense,
            guard.labels,
            self._frames_per_second,
            stop=self.ask_to_stop,
            live=lambda: self._any_live,
        )
        self._fan_out.open(sinks, context)

    # ---- cameras ----

    def add_camera(self, camera: AnyCamera) -> None:
        """Adds a camera, also while the pipeline runs.

        Raises:
            SettingsError: its name is taken.
        """
        self._roster.replace((), (camera,), 0.0)

    def remove_camera(self, name: str, timeout_s: float = 10.0) -> None:
        """Stops reading a camera and forgets it.

        Raises:
            SettingsError: there is no such camera.
        """
        self._roster.replace((name,), (), timeout_s)

    def replace_cameras(
        self,
        remove: Sequence[str],
        add: Sequence[AnyCamera],
        timeout_s: float = 10.0,
    ) -> None:
        """Removes cameras and adds others, which may take their names, in one step.

        Args:
            remove: names.
            add: settings, or bare URIs.
            timeout_s: for the sources of all that go.

        Raises:
            SettingsError: there is no such camera, or a name is taken; nothing was changed.
        """
        self._roster.replace(remove, add, timeout_s)

    def _opened(self, camera: Camera) -> None:
        """From a reader's thread: with a live source nothing may wait for a consumer any more."""
        if camera.live and not self._any_live:
            self._any_live = True
            self._fan_out.never_wait()

    def relearn(self, name: str) -> None:
        """Has a camera's alarm learn its baseline anew, as after it was moved.

        Raises:
            SettingsError: there is no such camera.
        """
        self._known(name).relearn()

    # ---- running ----

    def start(self) -> Pipeline:
        """Begins to read all sources, or the first one with `in_turn`."""
        self._worker.start()
        self._roster.start()
        return self

    def ask_to_stop(self) -> None:
        """Ends reading, so that the pipeline comes to its end; from any thread, at once."""
        self._roster.stop()
        self._mailbox.wake()

    def stop(self, timeout_s: float = 10.0) -> None:
        """Stops reading, lets the guard finish what waits, closes the sinks; may be called again.

        Args:
            timeout_s: for all of that together; sinks get another second, and time to finish
                files, such as the index of a video.

        Raises:
            BlurvoteError: what ended the pipeline before, or a sink whose output is not complete.
        """
        deadline = time.monotonic() + timeout_s
        with self._stopping:
            if not self._stopped:
                self.ask_to_stop()
                self._fan_out.let_go()
                if self.started:
                    self._worker.join(timeout_s)
                self._mailbox.close()
                self._roster.join(max(0.0, deadline - time.monotonic()))
                failure = self._fan_out.close(deadline)
                self.failure = self.failure or failure
                self._stopped = True
        if self.failure:
            raise self.failure

    def run(self) -> None:
        """Starts, waits for the end of all sources, and stops.

        Raises:
            BlurvoteError: as `stop`.
        """
        self.start()
        try:
            self._worker.join()
        finally:
            self.stop()

    def __enter__(self) -> Pipeline:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except BlurvoteError:
            if error is None:
                raise

    # ---- consuming ----

    def outlet(self, pixels: bool = True) -> Outlet:
        """A queue of all observations and events from now on; it loses the oldest while a source
        is live and it is full, and otherwise makes the guard wait.

        Args:
            pixels: whether the frames are needed; without them far more may wait.
        """
        return self._fan_out.outlet(pixels)

    def __iter__(self) -> Iterator[Observation]:
        """Starts where that was not done yet, yields every observation, and stops at the end.

        What came before is not yielded, so iterate at once instead of in a `with` block, which
        starts, too.

        Raises:
            BlurvoteError: as `stop`.
        """
        return iterate(self)

    def __aiter__(self) -> AsyncIterator[Observation]:
        """The same for asyncio, whose event loop is never blocked."""
        return iterate_async(self)

    # ---- watching ----

    @property
    def summary(self) -> Summary:
        """Of all verdicts so far."""
        return self._judge.summary

    @property
    def since_last_round_s(self) -> float:
        """Seconds since the guard's thread last looked for frames; large when it hangs."""
        return time.monotonic() - self._looked_at

    @property
    def started(self) -> bool:
        """Whether `start` was called."""
        return self._worker.ident is not None

    @property
    def running(self) -> bool:
        """Whether frames are still being taken to the guard."""
        return self._worker.is_alive()

    @property
    def ready(self) -> bool:
        """Whether verdicts flow: it runs, and at least one camera delivers or has ended."""
        good = ("live", "ended")
        return self.running and any(c.state in good for c in self._roster.cameras)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras."""
        return tuple(camera.name for camera in self._roster.cameras)

    def camera(self, name: str) -> Camera | None:
        """What is known about the camera of that name, or None."""
        return self._roster.get(name)

    def latest(self, camera: str) -> Observation | None:
        """The newest observation of a camera, or None."""
        found = self._roster.get(camera)
        return found.latest if found else None

    def history(self, camera: str) -> dict[str, Any]:
        """A camera's rates over the last minutes and hours; see `History.to_dict`.

        Raises:
            SettingsError: there is no such camera.
        """
        return self._known(camera).history.to_dict()

    def _known(self, name: str) -> Camera:
        found = self._roster.get(name)
        if found is None:
            raise SettingsError(f"there is no camera {name!r}; there are {[*self.cameras]}")
        return found

    def events(self) -> list[Event]:
        """The newest 200 events, oldest first."""
        return [*self._events]

    def snapshot(self) -> dict[str, Any]:
        """All that there is to know now, as plain values: guard, cameras, stages, sinks, process.

        Of every camera, `frames == verdicts + dropped + pending`.
        """
        cameras, totals = self._roster.snapshot()
        return {
            "time": iso_time(time.time()),
            "uptime_s": time.monotonic() - self._started_at,
            "ready": self.ready,
            "guard": self._judge.facts(),
            "totals": totals,
            "cameras": cameras,
            "stage_ms": self.summary.stage_ms(),
            "sinks": self._fan_out.snapshot(),
            "process": process_usage(),
        }

    # ---- the guard's thread ----

    def _work(self) -> None:
        flow = self._flow
        most = flow.max_batch or (1 if self.guard.provider in ON_CPU else 8)
        ticked = 0.0
        try:
            while not self._finished():
                self._looked_at = time.monotonic()
                left = most
                if flow.max_frames is not None:
                    left = min(most, flow.max_frames - self._verdicts)
                waiting = self._mailbox.take(left, flow.batch_wait_ms / 1e3, TICK_S)
                for observation in self._judge.judge(waiting):
                    self._verdicts += 1
                    self._fan_out.put(observation)
                self._mailbox.finish(waiting)
                if time.monotonic() - ticked > TICK_S or not waiting:
                    ticked = time.monotonic()
                    self._roster.tick()
        except Exception as error:
            self.failure = error
        finally:
            self._roster.stop()
            self._fan_out.end()

    def _finished(self) -> bool:
        limit = self._flow.max_frames
        return (limit is not None and self._verdicts >= limit) or self._roster.done

    def _emit(self, event: Event) -> None:
        """From any thread."""
        self._events.append(event)
        self._fan_out.tell(event)

    def _frames_per_second(self) -> float:
        """Of the first source that has a rate."""
        rates = (camera.frames_per_second for camera in self._roster.cameras)
        return next((rate for rate in rates if rate), STILLS_PER_SECOND)
