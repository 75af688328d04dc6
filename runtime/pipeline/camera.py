"""One camera of a pipeline: its state, its counts, and its decisions over time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from blurvote.runtime.frame import Frame
from blurvote.runtime.observation import Event, EventKind, Observation, iso_time
from blurvote.runtime.pipeline.alarm import Alarm, AlarmChange
from blurvote.runtime.pipeline.history import History
from blurvote.runtime.pipeline.mailbox import Mailbox, Waiting
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.pipeline.smoothing import Smoother
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.verdict import Verdict

__all__ = ["Camera", "State"]

State = Literal[
    "waiting",
    "connecting",
    "live",
    "blank",
    "frozen",
    "corrupt",
    "stalled",
    "lost",
    "ended",
    "failed",
]

AGES = 2048  # newest verdicts that percentiles of the age are taken over
RATE_S = 10  # seconds that frames per second are taken over
UNTIMED_RATE = 10.0  # frames per second, for the alarm's clock, of files that have no rate
ERROR_EVERY_S = 10.0  # a live stream's bad frames are told this often at most


class Camera:
    """What is known about one camera. Written by its reader and the guard's thread, read by all.

    Args:
        settings: with a name.
        emit: takes its events, from any thread.
        mailbox: gets a slot for its frames.

    Attributes:
        name, settings: as given.
        slot: where its reader puts frames.
        live: whether its source is live; None until it was opened.
        over: whether no more frames will come.
        latest: the newest observation, or None.
        total, frames_per_second: as its source says.
        errors: frames that could not be read or classified, and failures to open.
        reconnects: how often it was opened again.
        verdicts, accepted, denoised: how many; the last are by the views of noisy frames.
        history: the same over time.
    """

    def __init__(
        self,
        settings: CameraSettings,
        emit: Callable[[Event], None],
        mailbox: Mailbox[Camera],
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.live: bool | None = None
        self.over = False
        self.latest: Observation | None = None
        self.errors = self.reconnects = self.verdicts = self.accepted = self.denoised = 0
        self.frames_per_second: float | None = None
        self.total: int | None = None
        self.history = History()
        self._reasons: Counter[str] = Counter()
        self.slot = mailbox.slot(self)
        self._emit = emit
        self._lock = threading.Lock()  # the state
        self._state: State = "waiting"
        self._why = ""
        self._since = self._made_at = time.monotonic()
        self._size: tuple[int, int] | None = None
        self._drops_told = 0
        self._untold_errors = 0
        self._error_told = float("-inf")
        self._ages_ms = np.zeros(AGES)
        self._over_time = threading.Lock()  # smoothing and alarm
        self._smoother = Smoother(settings.smoothing) if settings.smoothing else None
        self._alarm = Alarm(settings.alarm) if settings.alarm else None

    @property
    def state(self) -> State:
        """What the camera is doing."""
        return self._state

    def change(self, state: State, why: str = "") -> None:
        """Enters a state; told once, however often it is entered again for whatever reason."""
        with self._lock:
            before, self._why = self._state, why
            if before == state:
                return
            now = time.monotonic()
            lasted = now - self._since
            self._state, self._since = state, now
        if not self.live and state != "lost":
            return  # a file's states say nothing that its verdicts do not
        told = f"{self.name} is {state}" + (f": {why}" if why else "")
        if before not in ("waiting", "connecting", "live"):
            told += f" (was {before} for {lasted:.1f} s)"
        self._tell("state", told, {"state": state, "was": before, "for_s": lasted, "why": why})

    def saw_size(self, frame: Frame) -> None:
        """Takes note of a frame's size and tells when a stream's changes."""
        height, width = frame.height, frame.width
        before, self._size = self._size, (width, height)
        if self.live and before and before != (width, height):
            told = f"{self.name} changed from {before[0]}x{before[1]} to {width}x{height} px"
            self._tell("size", told, {"width": width, "height": height, "was": list(before)})

    def broke(self, error: Exception) -> None:
        """Counts a frame that could not be read or classified; a live stream's are told rarely."""
        self.errors += 1
        self._untold_errors += 1
        now = time.monotonic()
        if self.live and now - self._error_told < ERROR_EVERY_S:
            return
        more = f" ({self._untold_errors} such)" if self._untold_errors > 1 else ""
        data = {"source": self.uri, "error": str(error), "count": self._untold_errors}
        self._error_told, self._untold_errors = now, 0
        self._tell("error", f"{error}{more}", data)

    def observe(self, waiting: Waiting[Camera], verdict: Verdict) -> Observation:
        """Takes in a verdict: counts it, smooths it, and weighs it for the alarm."""
        frame = waiting.frame
        change = smoothed = None
        with self._over_time:
            if self._smoother:
                smoothed = self._smoother.update(verdict)
            if self._alarm:
                rate = self.frames_per_second or UNTIMED_RATE
                at_s = frame.captured_at if self.live else frame.sequence / rate
                change = self._alarm.update(verdict, at_s)
        self._tell_change(change)
        observation = Observation(
            camera=self.name,
            frame=frame,
            verdict=verdict,
            at=_wall_time(frame.captured_at),
            smoothed=smoothed,
            alarm=bool(self._alarm and self._alarm.raised),
        )
        self._count(verdict)
        self.latest = observation
        self.history.add(observation)
        dropped = self.slot.counts.dropped
        if dropped > self._drops_told:
            self.history.drop(dropped - self._drops_told)
            self._drops_told = dropped
        return observation

    def forget_the_past(self) -> None:
        """Starts smoothing anew, as after a reconnect; the alarm keeps its baseline."""
        if self._smoother:
            with self._over_time:
                self._smoother.reset()

    def relearn(self) -> None:
        """Has the alarm learn its baseline anew, as after a camera was moved."""
        if self._alarm:
            with self._over_time:
                change = self._alarm.relearn()
            self._tell_change(change)

    def _tell_change(self, change: AlarmChange | None) -> None:
        if change is not None:
            evidence = {"raised": change.raised, **self._with_times(change.evidence)}
            self._tell("alarm", f"{self.name}: {change.text}", evidence)

    def _with_times(self, values: dict[str, Any]) -> dict[str, Any]:
        """The alarm's values with a camera's moments as times of day; a file's stay seconds."""
        if not self.live:
            return values
        return {
            key: iso_time(_wall_time(value))
            if key == "since" and isinstance(value, float)
            else self._with_times(value)
            if isinstance(value, dict)
            else value
            for key, value in values.items()
        }

    @property
    def uri(self) -> str:
        """Where its frames come from, without a password."""
        return without_password(self.settings.uri)

    def _count(self, verdict: Verdict) -> None:
        self._ages_ms[self.verdicts % AGES] = verdict.age_ms
        self.verdicts += 1
        self.accepted += verdict.accepted
        self.denoised += verdict.denoised
        if verdict.reason:
            self._reasons[verdict.reason] += 1

    def _tell(self, kind: EventKind, text: str, data: dict[str, Any]) -> None:
        self._emit(Event(kind, self.name, text, time.time(), data))

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values; see `Pipeline.snapshot`."""
        counts = self.slot.counts
        verdicts = self.verdicts
        latest = self.latest
        return {
            "name": self.name,
            "uri": self.uri,
            "live": self.live,
            "total": self.total,
            "state": self._state,
            "since": iso_time(_wall_time(self._since)),
            "why": self._why,
            "size": list(self._size) if self._size else None,
            "frames": counts.frames,
            "verdicts": counts.finished,
            "dropped": counts.dropped,
            "pending": counts.pending,
            "errors": self.errors,
            "reconnects": self.reconnects,
            "accepted": self.accepted,
            "rejected": verdicts - self.accepted,
            "denoised": self.denoised,
            "reasons": dict(self._reasons),
            **self._recent_figures(verdicts),
            "alarm": self._with_times(self._alarm.state()) if self._alarm else None,
            "smoothed": latest.smoothed if latest else None,
            "verdict": latest.verdict.to_dict() if latest else None,
        }

    def _recent_figures(self, verdicts: int) -> dict[str, Any]:
        minute, lately = self.history.recent(60), self.history.recent(RATE_S)
        span = min(RATE_S, max(time.monotonic() - self._made_at, 1e-3))
        ages = self._ages_ms[: min(verdicts, AGES)]
        p50, p99, largest = np.percentile(ages, (50, 99, 100)) if verdicts else (0.0, 0.0, 0.0)
        age_ms = {"p50": float(p50), "p99": float(p99), "max": float(largest)}
        return {
            "fps_in": (lately.verdicts + lately.dropped) / span,
            "fps_out": lately.verdicts / span,
            "age_ms": age_ms if verdicts else None,
            "reject_rate": minute.reject_rate,
            "disagreement_rate": minute.disagreement_rate,
        }


def _wall_time(moment: float) -> float:
    """A moment of `time.monotonic()` in seconds since 1970, by the clock as it stands now."""
    return time.time() - time.monotonic() + moment
