"""What scenarios share that harm a sink: a log of what it writes, and what must hold."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from blurvote.benchmarks.soak.outcome import Fault
from blurvote.benchmarks.soak.rig import PATIENCE_S, Rig
from blurvote.benchmarks.soak.setup import draw_clip, say
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.delivery import LINES
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.sinks import Sink, SinkContext, open_sink, register_sink

__all__ = ["LoggedSink", "busy_cameras", "harm_sink", "sink_checks"]

_FPS, _CAMERAS = 100, 4


class LoggedSink:
    """The sink of `logged:URI`: that of the URI, and a log of what it has written, and when."""

    holds_pictures = False

    def __init__(self) -> None:
        self.written: dict[tuple[str, int], float] = {}
        self._sink: Sink
        register_sink("logged", self._open)

    def _open(self, uri: str, context: SinkContext) -> Sink:
        self._sink = open_sink(uri.partition(":")[2], context)
        return self

    def write(self, observation: Observation) -> None:
        """As the sink."""
        self._sink.write(observation)
        self.written[observation.camera, observation.frame.sequence] = time.monotonic()

    def tell(self, event: Event) -> None:
        """As the sink."""
        self._sink.tell(event)

    def close(self) -> None:
        """As the sink."""
        self._sink.close()

    def first_since(self, since: float) -> float | None:
        """When something was first written since then."""
        return min((at for at in [*self.written.values()] if at > since), default=None)

    def last_before(self, when: float) -> float:
        """When something was last written before; `when` itself where nothing was."""
        return max((at for at in [*self.written.values()] if at <= when), default=when)


def busy_cameras() -> list[CameraSettings]:
    """Four of 100 frames per second, so that a queue of 1000 lines fills up within seconds."""
    draw_clip()
    return [
        CameraSettings(f"synthetic:?live=1&fps={_FPS}&width={160 + n}&height=120", f"camera-{n}")
        for n in range(_CAMERAS)
    ]


def harm_sink(
    rig: Rig,
    sink: LoggedSink,
    what: str,
    inject: Callable[[], object],
    remedy: Callable[[], object],
    lasts_s: float,
) -> None:
    """As `Rig.harm`, of the pipeline's second sink: what counts is when it wrote again."""
    injected = time.monotonic()
    inject()
    time.sleep(lasts_s)
    remedy()
    removed = time.monotonic()
    before = sink.last_before(removed)
    while (first := sink.first_since(removed)) is None and time.monotonic() < removed + PATIENCE_S:
        time.sleep(0.01)
    told = rig.witness.first_told(None, injected, "failing")
    rig.faults.append(
        Fault(
            what,
            "sink",
            injected - rig.began,
            removed - injected,
            told.event.text if told else "",
            told.at - injected if told else None,
            (first or time.monotonic()) - before,
            None if first is None else first - removed,
        )
    )
    say(f"{what}: {told.event.text if told else 'nothing told'}")


def sink_checks(rig: Rig, shot: dict[str, Any], written: int) -> None:
    """What holds for every sink that failed for a while."""
    rig.check("delivered is what was written", shot["delivered"] == written, str(written))
    rig.check("it works at the end", shot["state"] == "ok", str(shot["last_error"]))
    longest = max(fault.silent_s for fault in rig.faults)
    rates = [camera["verdicts"] for camera in rig.shot["cameras"]]
    came = sum(rates) / (time.monotonic() - rig.began) * longest
    rig.facts["observations during the longest silence, about"] = round(came)
    if came > 1.5 * LINES:
        rig.check(
            "what the queue cannot hold is dropped and counted",
            shot["dropped"] > 0,
            f"about {came:.0f} came, {LINES} may wait, {shot['dropped']} dropped",
        )
    gaps = rig.witness.longest_gap
    rig.check(
        "verdicts flowed on meanwhile",
        max(gaps.values()) < 0.5 * longest,
        f"longest gap {max(gaps.values()):.3f} s, sink silent for {longest:.1f} s",
    )
    worst = max(ages.percentile(0.99) for ages in rig.witness.ages.values())
    rig.check("frames stayed fresh", worst < 500, f"largest p99 of the age {worst:.0f} ms")
