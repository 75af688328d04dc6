"""Turns what single frames of a live stream look like into the stream's state."""

from __future__ import annotations

import time
from collections import deque

from blurvote.runtime.frame import Frame
from blurvote.runtime.pipeline.camera import Camera, State
from blurvote.runtime.pipeline.health import Health, HealthWatch
from blurvote.runtime.verdict import Reason

__all__ = ["StreamWatch"]

TOLD_AFTER_S = 1.0  # a blank picture may be a flash; its state is told when it lasts
CLEAR_AFTER_S = 3.0  # a state is left once its symptom was away for so long, so that none flaps
CORRUPT = 3  # unreadable frames within a second make a stream corrupt

_FLAWS: dict[Health, Reason] = {"blank": "bad_frame", "frozen": "stale_frame"}
_WHY: dict[State, str] = {
    "blank": "its picture is uniform: a covered lens, no signal, or a decoder without a reference",
    "frozen": "its picture has stood still for too long",
    "corrupt": "frames arrive damaged",
}


class StreamWatch:
    """Looks at all frames of one opening of a camera, and at those that could not be read."""

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        settings = camera.settings
        self._health = HealthWatch(settings.frozen_s, settings.check_blank)
        self._blank_since: float | None = None
        self._errors: deque[float] = deque(maxlen=CORRUPT)
        self._state: State = "live"
        self._seen = float("-inf")  # the symptom of that state

    def judge(self, frame: Frame) -> Reason | None:
        """The frame's flaw, or None; its camera's state follows as soon as it is certain."""
        health = self._health.judge(frame)
        now = time.monotonic()
        if health != "blank":
            self._blank_since = None
        elif self._blank_since is None:
            self._blank_since = now
        if health == "frozen":
            self._enter("frozen", now)
        elif self._blank_since is not None and now - self._blank_since >= TOLD_AFTER_S:
            self._enter("blank", now)
        elif health == "live" and (self._state == "frozen" or now - self._seen >= CLEAR_AFTER_S):
            self._enter("live", now)
        return _FLAWS.get(health)

    def saw_error(self) -> None:
        """Takes note of a frame that could not be read."""
        now = time.monotonic()
        self._errors.append(now)
        if len(self._errors) == CORRUPT and self._errors[0] > now - 1.0:
            self._enter("corrupt", now)

    def _enter(self, state: State, now: float) -> None:
        self._state, self._seen = state, now if state != "live" else float("-inf")
        self._camera.change(state, _WHY.get(state, ""))
