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

import contextlib
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from blurvote.runtime.errors import BlurvoteError, SettingsError
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Event, Observation, iso_time
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.delivery import Delivery
from blurvote.runtime.pipeline.judge import Judge
from blurvote.runtime.pipeline.mailbox import Mailbox
from blurvote.runtime.pipeline.outlet import Outlet
from blurvote.runtime.pipeline.process import process_usage
from blurvote.runtime.pipeline.roster import COUNTS, Roster
from blurvote.runtime.pipeline.settings import CameraSettings, Flow
from blurvote.runtime.sinks import CallbackSink, Sink, SinkContext, open_sink
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.summary import Summary

__all__ = ["Pipeline"]

TICK_S = 0.2
PICTURES, LINES = 4, 1000  # items that may wait for an iterator, with and without pixels
EVENTS = 200  # newest ones that are kept
STILLS_PER_SECOND = 10.0  # of a video made from pictures


class Pipeline:
    """Takes frames of all sources through a guard, from `start` to `stop` or to their end.

    Args:
        guard: stays the caller's to close.
        cameras: settings, or bare URIs.
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
        cameras: Sequence[CameraSettings | str],
        sinks: Sequence[str | Sink | Callable[[Observation], None]] = (),
        flow: Flow | None = None,
    ) -> None:
        self.guard = guard
        self.failure: Exception | None = None
        self._flow = flow or Flow()
        self._mailbox = Mailbox()
        self._judge = Judge(guard)
        self._roster = Roster(self._mailbox, self._emit, self._opened, self._flow.in_turn)
        self._events: deque[Event] = deque(maxlen=EVENTS)
        self._outlets: tuple[Outlet, ...] = ()
        self._started_at = self._looked_at = time.monotonic()
        self._any_live = self._stopped = False
        self._verdicts = 0
        self._worker = threading.Thread(target=self._work, name="blurvote-guard", daemon=True)
        for camera in cameras:
            self.add_camera(camera)
        self._deliveries: list[Delivery] = []
        self._deliveries = self._open_sinks(sinks)

    # ---- cameras ----

    def add_camera(self, camera: CameraSettings | str) -> None:
        """Adds a camera, also while the pipeline runs.

        Raises:
            SettingsError: its name is taken.
        """
        self._roster.add(camera)

    def remove_camera(self, name: str, timeout_s: float = 10.0) -> None:
        """Stops reading a camera and forgets it.

        Raises:
            SettingsError: there is no such camera.
        """
        self._roster.remove(name, timeout_s)

    def _opened(self, camera: Camera) -> None:
        """From a reader's thread: with a live source nothing may wait for a consumer any more."""
        if camera.live and not self._any_live:
            self._any_live = True
            for delivery in self._deliveries:
                delivery.never_wait()
            for outlet in self._outlets:
                outlet.never_wait()

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
            timeout_s: for sources to give their threads back and again for sinks to deliver.

        Raises:
            BlurvoteError: what ended the pipeline before, or a sink whose output is not complete.
        """
        if self._stopped:
            return
        self._stopped = True
        self.ask_to_stop()
        for outlet in self._outlets:
            outlet.never_wait()
        if self._worker.ident is not None:
            self._worker.join(timeout_s)
        self._mailbox.close()
        self._roster.join(timeout_s)
        for outlet in self._outlets:
            outlet.close()
        for delivery in self._deliveries:
            try:
                delivery.close(timeout_s)
            except BlurvoteError as error:
                self.failure = self.failure or error
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
        overflow: Literal["drop", "wait"] = "drop" if self._any_live else "wait"
        made = Outlet(PICTURES if pixels else LINES, overflow, pixels)
        self._outlets = (*self._outlets, made)
        if not self.running and self._worker.ident is not None:
            made.close()
        return made

    def __iter__(self) -> Iterator[Observation]:
        """Starts where that was not done yet, yields every observation, and stops at the end.

        Raises:
            BlurvoteError: as `stop`.
        """
        outlet = self.outlet()
        if self._worker.ident is None:
            self.start()
        try:
            while not outlet.finished:
                item = outlet.get(TICK_S)
                if isinstance(item, Observation):
                    yield item
        finally:
            outlet.close()
            self.stop()

    async def __aiter__(self) -> AsyncIterator[Observation]:
        """The same for asyncio; the event loop is never blocked but by `stop` at the end."""
        import asyncio

        loop = asyncio.get_running_loop()
        woken = asyncio.Event()
        outlet = self.outlet()
        outlet.on_change(lambda: _call_soon(loop, woken.set))
        if self._worker.ident is None:
            self.start()
        try:
            while not outlet.finished:
                woken.clear()
                while (item := outlet.get(0)) is not None:
                    if isinstance(item, Observation):
                        yield item
                if not outlet.finished:
                    await woken.wait()
        finally:
            outlet.close()
            await loop.run_in_executor(None, self.stop)

    # ---- watching ----

    @property
    def summary(self) -> Summary:
        """Of all verdicts so far."""
        return self._judge.summary

    @property
    def busy_s(self) -> float:
        """Seconds since the guard's thread last looked for frames; large when it hangs."""
        return time.monotonic() - self._looked_at

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
        guard = self.guard
        cameras = [camera.to_dict() for camera in self._roster.cameras]
        past = self._roster.past
        totals = {key: past[key] + sum(camera[key] for camera in cameras) for key in COUNTS}
        return {
            "time": iso_time(time.time()),
            "uptime_s": time.monotonic() - self._started_at,
            "ready": self.ready,
            "guard": {
                "path": Path(guard.path).name,
                "decision": guard.defense.decision,
                "plan": guard.plan,
                "provider": guard.provider,
                "views": [guard.defense.view_name(view) for view in guard.defense.views],
            },
            "totals": totals,
            "cameras": cameras,
            "stage_ms": self.summary.stage_ms(),
            "sinks": [delivery.snapshot() for delivery in self._deliveries],
            "process": process_usage(),
        }

    # ---- the guard's thread ----

    def _work(self) -> None:
        flow = self._flow
        most = flow.max_batch or (1 if self.guard.provider == "cpu" else 8)
        ticked = 0.0
        try:
            while not self._finished():
                self._looked_at = time.monotonic()
                left = most
                if flow.max_frames is not None:
                    left = min(most, flow.max_frames - self._verdicts)
                waiting = self._mailbox.take(left, flow.batch_wait_ms / 1e3, TICK_S)
                known = [(self._roster.get(one.camera), one) for one in waiting]
                here = [(camera, one) for camera, one in known if camera is not None]
                for observation in self._judge.judge(here):
                    self._verdicts += 1
                    self._publish(observation)
                self._mailbox.finish(waiting)
                if time.monotonic() - ticked > TICK_S or not waiting:
                    ticked = time.monotonic()
                    self._roster.tick()
        except Exception as error:
            self.failure = error
        finally:
            for outlet in self._outlets:
                outlet.close()

    def _finished(self) -> bool:
        limit = self._flow.max_frames
        return (limit is not None and self._verdicts >= limit) or self._roster.done

    def _publish(self, observation: Observation) -> None:
        for delivery in self._deliveries:
            delivery.put(observation)
        for outlet in self._outlets:
            outlet.put(observation)

    def _emit(self, event: Event) -> None:
        """From any thread."""
        self._events.append(event)
        for delivery in self._deliveries:
            delivery.tell(event)
        for outlet in self._outlets:
            outlet.put(event)

    def _open_sinks(
        self, sinks: Sequence[str | Sink | Callable[[Observation], None]]
    ) -> list[Delivery]:
        defense, labels = self.guard.defense, self.guard.labels
        context = SinkContext(
            defense,
            labels,
            self._frames_per_second,
            stop=self.ask_to_stop,
            live=lambda: self._any_live,
        )
        opened: list[tuple[str, Sink]] = []
        try:
            for given in sinks:
                if isinstance(given, str):
                    opened.append((without_password(given), open_sink(given, context)))
                elif callable(given):
                    name = getattr(given, "__qualname__", repr(given))
                    opened.append((name, CallbackSink(given)))
                else:
                    opened.append((type(given).__name__, given))
        except BlurvoteError:
            for _, sink in opened:
                with contextlib.suppress(BlurvoteError):
                    sink.close()
            raise
        return [Delivery(name, sink, "wait", self._emit) for name, sink in opened]

    def _frames_per_second(self) -> float:
        """Of the first source that has a rate."""
        rates = (camera.frames_per_second for camera in self._roster.cameras)
        return next((rate for rate in rates if rate), STILLS_PER_SECOND)


def _call_soon(loop: Any, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed before the pipeline
        loop.call_soon_threadsafe(call)
