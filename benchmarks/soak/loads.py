"""More frames than the guard can take, from one camera and from eight."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from statistics import median

from blurvote.benchmarks.soak.flatness import growth
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.rtsp import RtspServer, free_port, pattern
from blurvote.benchmarks.soak.setup import Scenario, Setup, SlowGuard, draw_clip, need_gstreamer
from blurvote.benchmarks.soak.streams import readers_of
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.sources import SourceOptions

__all__ = ["SCENARIOS"]

_WIDTH, _HEIGHT, _FPS = 3840, 2160, 60
_MODEL_S = 0.2
_PICTURE_MIB = _WIDTH * _HEIGHT * 3 / 2**20


def _fast_4k(setup: Setup) -> Outcome:
    camera = CameraSettings(
        f"synthetic:?live=1&width={_WIDTH}&height={_HEIGHT}&fps={_FPS}", "camera"
    )
    with SlowGuard(setup.guard, _MODEL_S) as guard, Rig(guard, [camera]) as rig:
        rig.warm_up(seconds=2.0)  # the drawn pictures are kept once all of them were shown
        time.sleep(setup.seconds)
        samples = rig.sampler.samples
        stages = rig.pipeline.summary.stage_ms()
    counts, ages = rig.counts("camera"), rig.witness.ages["camera"]
    took_ms = 1e3 * _MODEL_S + stages["total"]["p99"]
    # A frame waits for the one in work at most, less its own period, and is then worked on.
    bound_ms = 2 * took_ms + 1e3 / _FPS + 100
    rig.check(
        "age stays bounded",
        ages.percentile(0.99) < bound_ms,
        f"p99 {ages.percentile(0.99):.0f} ms, max {ages.largest:.0f} ms; bound {bound_ms:.0f} ms: "
        "twice an inference, a frame's period, and 100 ms for a busy machine",
    )
    share = counts["dropped"] / counts["frames"]
    rig.check("most frames are dropped", share > 0.5, f"{share:.1%} of {counts['frames']}")
    found = growth(samples)
    rig.check(
        "memory is flat",
        found.rss_mib < _PICTURE_MIB,
        f"{found.rss_mib:+.1f} MiB over the second half; bound {_PICTURE_MIB:.0f} MiB, one picture",
    )
    rig.facts["memory's range in the second half, MiB"] = round(found.range_mib, 1)
    did = f"{_WIDTH}x{_HEIGHT} at {_FPS} per second against a model of {1e3 * _MODEL_S:.0f} ms"
    return rig.outcome("fast-4k", did)


@contextlib.contextmanager
def _silent_server() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield int(listening.getsockname()[1])


def _eight(setup: Setup) -> Outcome:
    need_gstreamer()
    draw_clip()
    options = SourceOptions(timeout_s=2.0)
    fast = [f"fast-{n}" for n in (1, 2, 3)]
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(_silent_server())
        server = stack.enter_context(RtspServer({"a": pattern()}))
        guard = stack.enter_context(SlowGuard(setup.guard, 0.025))
        streams = [one for one in readers_of(server.url("a")) if one.name != "av"]
        cameras = [
            *streams,
            *(
                CameraSettings(f"synthetic:?live=1&fps=30&width={160 + n}&height=120", name)
                for n, name in enumerate(fast)
            ),
            CameraSettings("synthetic:?live=1&fps=1", "slow"),
            CameraSettings(f"rtsp://127.0.0.1:{free_port()}/x", "dead", options),
            CameraSettings(f"rtsp://127.0.0.1:{silent}/x", "silent", options),
        ]
        busy = [*(one.name for one in streams), *fast]
        with Rig(guard, cameras) as rig:
            rig.warm_up([*busy, "slow"])
            began = {name: rig.counts(name) for name in [*busy, "slow"]}
            time.sleep(setup.seconds)
            ended = {name: rig.counts(name) for name in [*busy, "slow"]}
    served = {name: ended[name]["verdicts"] - began[name]["verdicts"] for name in ended}
    came = {name: ended[name]["frames"] - began[name]["frames"] for name in ended}
    shares = [served[name] for name in busy]
    rig.facts["verdicts in the time"] = served
    rig.facts["frames in the time"] = came
    rig.check(
        "busy cameras are served alike",
        min(shares) > 0.8 * median(shares) and max(shares) < 1.25 * median(shares),
        f"{min(shares)} to {max(shares)} verdicts",
    )
    dropped = sum(came[name] for name in busy) - sum(shares)
    rig.check("more came than could be served", dropped > 0, f"{dropped} dropped")
    rig.check(
        "of the slow camera every frame is served",
        came["slow"] - served["slow"] <= 1,
        f"{served['slow']} of {came['slow']}",
    )
    gap = max(rig.witness.longest_gap[name] for name in busy)
    # A round of all that wait takes six inferences, a dead camera's timeout 2 s.
    rig.check("dead cameras hold nobody up", gap < 1.0, f"longest gap {gap:.2f} s")
    for name in ("dead", "silent"):
        counts = rig.counts(name)
        rig.check(f"{name}: no frames, and tried again", not counts["frames"], counts["why"])
        rig.facts[f"{name}: tries"] = rig.tallies.of(_uri(cameras, name)).asked
        rig.check(f"{name}: tried more than once", rig.facts[f"{name}: tries"] > 1)
    did = (
        "two RTSP cameras, three synthetic ones of 30 per second, one of 1 per second, one where "
        "nothing listens and one that never answers, on a guard that serves some 35 per second"
    )
    return rig.outcome("eight-sources", did)


def _uri(cameras: list[CameraSettings], name: str) -> str:
    (uri,) = [camera.uri for camera in cameras if camera.name == name]
    return uri


SCENARIOS = (
    Scenario("fast-4k", "4K at 60 frames per second against a slow model", 60.0, _fast_4k),
    Scenario("eight-sources", "eight sources at once, two of them dead", 40.0, _eight),
)
