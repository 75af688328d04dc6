"""A pipeline to watch that needs no camera: drawn frames through the demo's guard."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.runtime import Frame, Guard
from blurvote.runtime.demo.scenes import add_noise, draw_clip
from blurvote.runtime.observation import Event, Observation, iso_time
from blurvote.runtime.pipeline.history import History

__all__ = ["FakeWatched", "clip", "demo_guard"]


def demo_guard() -> Guard:
    """The demo's classifier of signs."""
    return Guard(Path(str(files("blurvote.runtime.demo") / "signs_views.onnx")), provider="cpu")


def clip(count: int = 24) -> list[np.ndarray]:
    """Drawn frames, the second half noisy enough to make the views disagree."""
    random = np.random.default_rng(5)
    drawn = [frame.pixels for frame in islice(draw_clip(5, frames_per_sign=6), count)]
    half = count // 2
    return drawn[:half] + [add_noise(frame, 0.16, random) for frame in drawn[half:]]


class FakeWatched:
    """Cameras that show a clip, one frame of each at every `step()`."""

    def __init__(self, guard: Guard, names: list[str], frames: list[np.ndarray]) -> None:
        self.guard = guard
        self.names: list[str] = []
        self.rejecting: set[str] = set()
        self.ready = True
        self.denoised = 0
        self.states: dict[str, str] = {}
        self.why: dict[str, str] = {}
        self.alarms: dict[str, Any] = {}
        self.histories: dict[str, History] = {}
        self.sinks: list[dict[str, Any]] = []
        self.told: list[Event] = []
        self.started = time.time()
        self.asked: set[str] = set()
        self._frames = frames
        self._steps: dict[str, int] = {}
        self._rejected: dict[str, int] = {}
        self._latest: dict[str, Observation] = {}
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        for name in names:
            self.add(name)

    def add(self, name: str) -> None:
        """One more camera, which has shown nothing yet."""
        self.states[name], self.why[name], self.alarms[name] = "live", "", None
        self._steps[name] = self._rejected[name] = 0
        self.histories[name] = History()
        self.names.append(name)

    def step(self, camera: str | None = None) -> None:
        """A new frame of one camera, or of all that are live."""
        for n, name in enumerate(self.names):
            if camera not in (None, name) or (camera is None and self.states[name] != "live"):
                continue
            at = self._steps[name]
            pixels = self._frames[(at + 7 * n) % len(self._frames)]
            verdict = self.guard.classify(Frame(pixels, "rgb", name, at))
            if name in self.rejecting:
                views = (0, 1, 2)
                rejected = {"label": -1, "name": None, "reason": "no_majority", "count": 1}
                verdict = replace(verdict, **rejected, confidence=None, view_labels=views)
            seen = Observation(name, Frame(pixels, "rgb", name, at), verdict, time.time())
            self._steps[name] += 1
            self._rejected[name] += not verdict.accepted
            self._latest[name] = seen
            self.histories[name].add(seen)

    def run(self, period_s: float = 0.1) -> None:
        """Steps in a thread until `stop()`."""

        def work() -> None:
            while not self._closing.wait(period_s):
                self.step()

        self._thread = threading.Thread(target=work)
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        if self._thread:
            self._thread.join()

    def tell(self, kind: Any, camera: str | None, text: str) -> None:
        self.told.append(Event(kind, camera, text, time.time()))

    def latest(self, camera: str) -> Observation | None:
        self.asked.add(threading.current_thread().name)
        return self._latest.get(camera)

    def history(self, camera: str) -> dict[str, Any]:
        return self.histories[camera].to_dict()

    def events(self) -> list[Event]:
        return self.told[-200:]

    def snapshot(self) -> dict[str, Any]:
        self.asked.add(threading.current_thread().name)
        frames = sum(self._steps.values())
        return {
            "time": iso_time(time.time()),
            "uptime_s": time.time() - self.started,
            "ready": self.ready,
            "guard": {
                "path": "models/signs_views.onnx",
                "decision": self.guard.defense.decision,
                "plan": self.guard.plan,
                "provider": "cpu",
                "views": [self.guard.defense.view_name(v) for v in self.guard.defense.views],
                "noisy_views": [],
            },
            "totals": {"frames": frames + 3, "verdicts": frames, "dropped": 3},
            "cameras": [self._camera(name) for name in self.names],
            "stage_ms": {
                "wait": {"p50": 1.1, "p90": 2.0, "p99": 6.4},
                "views": {"p50": 2.4, "p90": 2.9, "p99": 4.0},
                "inference": {"p50": 11.8, "p90": 14.0, "p99": 19.2},
                "vote": {"p50": 0.1, "p90": 0.1, "p99": 0.2},
            },
            "sinks": self.sinks,
            "process": {"rss_bytes": 212_000_000, "threads": 14, "open_files": 31},
        }

    def _camera(self, name: str) -> dict[str, Any]:
        recent = self.histories[name].recent()
        seen = self._latest.get(name)
        rejected = self._rejected[name]
        live = self.states[name] == "live"
        return {
            "name": name,
            "uri": "rtsp://10.0.0.7/stream1",
            "live": True,
            "state": self.states[name],
            "since": iso_time(self.started),
            "why": self.why[name],
            "size": list(seen.frame.pixels.shape[1::-1]) if seen else None,
            "frames": self._steps[name] + 3,
            "verdicts": self._steps[name],
            "dropped": 3,
            "pending": 0,
            "errors": 0,
            "reconnects": 0,
            "accepted": self._steps[name] - rejected,
            "rejected": rejected,
            "denoised": self.denoised,
            "reasons": {"no_majority": rejected} if rejected else {},
            "fps_in": 10.0 if live else 0.0,
            "fps_out": 10.0 if live else 0.0,
            "age_ms": {"p50": 18.2, "p99": 41.0, "max": 55.0} if seen else None,
            "reject_rate": recent.reject_rate,
            "disagreement_rate": recent.disagreement_rate,
            "alarm": self.alarms[name],
            "smoothed": None,
            "verdict": seen.to_dict() if seen else None,
        }
