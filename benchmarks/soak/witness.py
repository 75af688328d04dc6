"""A sink that notes when verdicts came and events were told."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass

from blurvote.benchmarks.soak.ages import Ages
from blurvote.runtime.observation import Event, Observation

__all__ = ["Mark", "Told", "Witness"]

UNFIT = ("stale_frame", "bad_frame")  # verdicts about the stream, not about the world
MOST_EVENTS = 400


@dataclass
class Mark:
    """A moment of a camera from which on verdicts are waited for.

    Attributes:
        camera: whose.
        since: that moment, in seconds of `time.monotonic()`.
        before: when the last verdict before it came, or the moment itself.
        first: when the first verdict came on a frame taken after it; None for not yet.
    """

    camera: str
    since: float
    before: float
    first: float | None = None


@dataclass(frozen=True)
class Told:
    """An event, and when it came, in seconds of `time.monotonic()`."""

    at: float
    event: Event


class Witness:
    """Sees every verdict and event of a pipeline, when given to it as a sink.

    Attributes:
        verdicts: per camera, all of them.
        flowing: per camera, those that went through the guard.
        ages: per camera.
        longest_gap: per camera, seconds between two verdicts that went through the guard.
        events: the newest ones.
    """

    holds_pictures = False

    def __init__(self) -> None:
        self.verdicts: Counter[str] = Counter()
        self.flowing: Counter[str] = Counter()
        self.ages: dict[str, Ages] = {}
        self.longest_gap: dict[str, float] = {}
        self.events: deque[Told] = deque(maxlen=MOST_EVENTS)
        self._last: dict[str, float] = {}
        self._marks: list[Mark] = []
        self._changed = threading.Condition()

    def write(self, observation: Observation) -> None:
        """Notes a verdict."""
        now = time.monotonic()
        camera, verdict = observation.camera, observation.verdict
        with self._changed:
            self.verdicts[camera] += 1
            if camera not in self.ages:
                self.ages[camera] = Ages()
                self.longest_gap[camera] = 0.0
            self.ages[camera].add(verdict.age_ms)
            if verdict.reason in UNFIT:
                return
            self.flowing[camera] += 1
            gap = now - self._last.get(camera, now)
            self.longest_gap[camera] = max(self.longest_gap[camera], gap)
            self._last[camera] = now
            for mark in self._marks:
                taken = observation.frame.captured_at
                if mark.first is None and mark.camera == camera and taken > mark.since:
                    mark.first = now
                    self._changed.notify_all()

    def tell(self, event: Event) -> None:
        """Notes an event."""
        with self._changed:
            self.events.append(Told(time.monotonic(), event))
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing to finish."""

    def last(self, camera: str) -> float | None:
        """When the camera's last verdict came that went through the guard."""
        with self._changed:
            return self._last.get(camera)

    def mark(self, camera: str) -> Mark:
        """From now on."""
        with self._changed:
            now = time.monotonic()
            mark = Mark(camera, now, self._last.get(camera, now))
            self._marks.append(mark)
            return mark

    def wait(self, marks: list[Mark], within_s: float) -> bool:
        """Whether verdicts came for all marks in time; they are settled afterwards."""
        with self._changed:
            done = self._changed.wait_for(lambda: all(m.first for m in marks), within_s)
            self._marks = [mark for mark in self._marks if mark not in marks]
            return done

    def restart(self) -> None:
        """Forgets ages and gaps, as after warm-up; counts stay."""
        with self._changed:
            for camera in self.ages:
                self.ages[camera] = Ages()
                self.longest_gap[camera] = 0.0

    def first_told(self, camera: str | None, since: float, state: str = "") -> Told | None:
        """The first event since then about a camera (None: about sinks), of a state if given."""
        with self._changed:
            for told in self.events:
                event = told.event
                if told.at < since or event.camera != camera:
                    continue
                if not state or event.data.get("state") == state:
                    return told
        return None
