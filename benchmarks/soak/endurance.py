"""What weeks are made of: very many frames, and cameras that come back very many times."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from blurvote.benchmarks.soak.flatness import (
    ALLOCATOR_MIB,
    LEAST_BYTES,
    Sample,
    growth,
    leak_bound_mib,
)
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.rtsp import RtspServer, pattern
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_gstreamer
from blurvote.benchmarks.soak.streams import readers_of
from blurvote.benchmarks.soak.tally import Tallies
from blurvote.runtime.errors import StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.guard import Guard
from blurvote.runtime.pipeline import reader
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.settings import CameraSettings, Smoothing
from blurvote.runtime.sources import Source, SourceOptions

__all__ = ["SCENARIOS"]

FRAMES = 100_000
_SHORT_FRAMES = 3_000
_LIVES, _HELD_MIB = 6, 2
_HELD_FILES = 8  # by the four together; one leaked at each return would be hundreds
_RETURN_KIB = 64  # per return: far below any decoder, socket buffer or picture that could leak


def _flat(
    rig: Rig, samples: Sequence[Sample], unit: str, bound_mib: float, why: str, held: int = 0
) -> None:
    """Adds the checks; `held` descriptors may be open at one moment and not at another."""
    found = growth(samples)
    rig.facts["second half"] = asdict(found)
    rig.check(
        "memory is flat",
        found.rss_mib < bound_mib,
        f"{found.rss_mib:+.2f} MiB over {found.work:.0f} {unit}, {found.per_work_bytes:+.1f} bytes "
        f"each; bound {bound_mib:.1f} MiB: {why}",
    )
    rig.check("threads are flat", found.threads < 1, f"{found.threads:+.2f}")
    rig.check("descriptors are flat", found.files < 1 + held, f"{found.files:+.2f}")


def _frames(setup: Setup) -> Outcome:
    frames = _SHORT_FRAMES if setup.short else FRAMES
    lines = setup.folder / "verdicts.jsonl"
    seen = 0

    def count(_: object) -> None:
        nonlocal seen
        seen += 1

    camera = CameraSettings(
        f"synthetic:?frames={frames}",
        "clip",
        smoothing=Smoothing(3, 5),
        alarm=AlarmOptions(learn_s=60.0),
    )
    with Guard(setup.guard, "cpu") as guard:
        with Rig(guard, [camera], [str(lines), count]) as rig:
            rig.warm_up(seconds=0.5 if setup.short else 5.0)
            while rig.pipeline.running:
                time.sleep(0.2)
            samples = rig.sampler.samples
            for sink in rig.pipeline.snapshot()["sinks"]:
                while sink["queued"]:
                    time.sleep(0.05)
                    (sink,) = [
                        one
                        for one in rig.pipeline.snapshot()["sinks"]
                        if one["name"] == sink["name"]
                    ]
        seconds = time.monotonic() - rig.began
    bound = leak_bound_mib(frames / 2)
    why = (
        f"{LEAST_BYTES} bytes each, the least that Python can leave behind, and "
        f"{ALLOCATOR_MIB:g} MiB that allocators move by"
    )
    _flat(rig, samples, "frames", bound, why)
    counts = rig.counts("clip")
    rig.check("every frame has its verdict", counts["verdicts"] == frames, str(counts["verdicts"]))
    with lines.open() as file:
        written = sum(json.loads(line)["type"] == "verdict" for line in file)
    rig.check("every verdict has its line", written == frames, str(written))
    rig.check("every verdict has its call", seen == frames, str(seen))
    rig.facts["frames per second"] = round(frames / seconds, 1)
    did = f"{frames} drawn frames with smoothing, alarm, a .jsonl sink and a Python callback"
    return rig.outcome("frames-100k", did)


class _Fleeting:
    """A camera that holds memory and descriptors, and breaks off after some frames."""

    total: int | None = None
    frames_per_second: float | None = 200.0
    live = True

    def __init__(self, uri: str, lives: int) -> None:
        self._name = uri
        self._left = lives
        self._held = np.ones(_HELD_MIB << 20, np.uint8)  # touched
        self._files: tuple[int, ...] | None = os.pipe()
        self._random = np.random.default_rng()
        self._sequence = 0

    def read(self) -> Frame | None:
        """A picture of noise; after the last one, the end of the stream."""
        time.sleep(0.005)
        if not self._left:
            raise StreamLostError(f"{self._name} broke off")
        self._left -= 1
        self._sequence += 1
        pixels = self._random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        return Frame(pixels, "rgb", self._name, self._sequence - 1)

    def close(self) -> None:
        """Gives back the descriptors."""
        files, self._files = self._files, None
        for file in files or ():
            os.close(file)


def _open_fleeting(uri: str, options: SourceOptions) -> Source:
    return _Fleeting(uri, _LIVES)


def _hurry() -> None:
    """Shortens the reader's pauses: hundreds of returns would take hours of waiting otherwise."""
    reader.FIRST_PAUSE_S, reader.LONGEST_PAUSE_S = 0.01, 0.05


def _come_and_go(setup: Setup) -> Outcome:
    _hurry()
    tallies = Tallies()
    tallies.watch("fleeting", _open_fleeting)
    cameras = [CameraSettings(f"fleeting:{n}", f"camera-{n}") for n in range(4)]
    cameras.append(CameraSettings("synthetic:?live=1&fps=100", "load"))
    with Guard(setup.guard, "cpu") as guard, Rig(guard, cameras, tallies=tallies) as rig:
        rig.warm_up(seconds=min(3.0, setup.seconds / 4))
        samples = _watch_returns(rig, cameras, setup.seconds)
        returns = _returns(rig, cameras)
        # The four are between two openings or not: what they hold right now says nothing.
        rig.unsettled = "four cameras come and go at any moment"
    rig.check("they came back many times", returns > 10 * min(setup.seconds, 60), str(returns))
    rig.facts["returns"] = returns
    _flat(
        rig,
        samples,
        "returns",
        leak_bound_mib(0) + _HELD_MIB * 2,
        f"allocators move by 4 MiB, and two of the cameras' {_HELD_MIB} MiB may differ",
        held=_HELD_FILES,
    )
    gap = rig.witness.longest_gap["load"]
    rig.check("another camera is not held up", gap < 1.0, f"its longest gap {gap:.3f} s")
    did = (
        f"four cameras that hold {_HELD_MIB} MiB and two descriptors each break off after "
        f"{_LIVES} frames, {returns} times together, beside one of 100 frames per second; pauses "
        "between tries are cut to 10 to 50 ms"
    )
    return rig.outcome("come-and-go", did)


def _rtsp_come_and_go(setup: Setup) -> Outcome:
    need_gstreamer()
    _hurry()
    rounds = 5 if setup.short else max(10, round(setup.seconds / 1.5))
    samples: list[Sample] = []
    with Guard(setup.guard, "cpu") as guard, RtspServer({"a": pattern()}) as server:
        cameras = readers_of(server.url("a"))
        names = [camera.name for camera in cameras]
        with Rig(guard, cameras) as rig:
            rig.warm_up()
            # What is loaded and allocated on a first reconnect is no leak.
            rig.harm("server killed, started again", names, server.kill, server.restart, 0.2)
            rig.warm_up(seconds=0.5)
            for _ in range(rounds):
                rig.harm("server killed, started again", names, server.kill, server.restart, 0.2)
                rig.settle_in(5.0)
                samples.append(replace(rig.sampler.take(), work=_returns(rig, cameras)))
        returns = _returns(rig, cameras)
    rig.facts["returns"] = returns
    rig.facts["memory after each, MiB"] = [round(sample.rss_mib, 1) for sample in samples]
    if len(samples) >= 4:
        late = samples[len(samples) // 2 :]
        why = f"{_RETURN_KIB} KiB for each return, and 4 MiB that allocators move by"
        bound = leak_bound_mib(0) + _RETURN_KIB / 1024 * (late[-1].work - late[0].work)
        _flat(rig, samples, "returns", bound, why)
    did = (
        f"an RTSP server is killed and started again {rounds + 1} times; its {len(names)} readers "
        f"came back {returns} times together; pauses between tries are cut to 10 to 50 ms"
    )
    return rig.outcome("rtsp-come-and-go", did)


def _returns(rig: Rig, cameras: Sequence[CameraSettings]) -> int:
    return sum(max(0, rig.tallies.of(camera.uri).opened - 1) for camera in cameras)


def _watch_returns(rig: Rig, cameras: Sequence[CameraSettings], seconds: float) -> list[Sample]:
    """Samples by returns, not by frames."""
    samples = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.05)
        samples.append(replace(rig.sampler.take(), work=float(_returns(rig, cameras))))
    return samples


SCENARIOS = (
    Scenario("frames-100k", "100,000 frames with everything on", 180.0, _frames),
    Scenario(
        "come-and-go", "cameras that break off and come back hundreds of times", 60.0, _come_and_go
    ),
    Scenario(
        "rtsp-come-and-go",
        "an RTSP server that goes and comes tens of times",
        90.0,
        _rtsp_come_and_go,
    ),
)
