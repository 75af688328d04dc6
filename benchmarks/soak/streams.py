"""Faults of a real RTSP server, seen by every way of reading it at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.util import find_spec

from blurvote.benchmarks.soak.films import film_of
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.rtsp import RtspServer, film, pattern
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_gstreamer
from blurvote.runtime.guard import Guard
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.sources import SourceOptions

__all__ = ["SCENARIOS", "readers_of"]

_GST = (
    "gst:rtspsrc location={url} protocols=tcp latency=0 ! rtph264depay ! h264parse ! avdec_h264 "
    "! videoconvert ! video/x-raw,format=BGR ! appsink"
)


def readers_of(url: str, timeout_s: float = 5.0) -> list[CameraSettings]:
    """One camera for each way of reading a stream: by PyAV (where installed), OpenCV, GStreamer."""
    uris = {"opencv": f"{url}#decoder=opencv", "gst": _GST.format(url=url)}
    if find_spec("av") is not None:
        uris = {"av": f"{url}#decoder=av", **uris}
    options = SourceOptions(timeout_s=timeout_s)
    return [CameraSettings(uri, name, options) for name, uri in uris.items()]


def _rounds(setup: Setup, each_s: float) -> int:
    return max(1, round(setup.seconds / each_s))


def _kill(setup: Setup) -> Outcome:
    need_gstreamer()
    down_s = 0.5 if setup.short else 3.0
    rounds = _rounds(setup, down_s + 5.0)
    with Guard(setup.guard, "cpu") as guard, RtspServer({"a": pattern()}) as server:
        cameras = readers_of(server.url("a"))
        names = [camera.name for camera in cameras]
        with Rig(guard, cameras) as rig:
            rig.warm_up()
            for _ in range(rounds):
                rig.harm("server killed, started again", names, server.kill, server.restart, down_s)
        for name in names:
            counts = rig.counts(name)
            rig.check(
                f"{name}: opened again each time",
                counts["reconnects"] >= rounds,
                f"{counts['reconnects']} times after {rounds} kills",
            )
        _say_so(rig, names)
        did = f"SIGKILL to the RTSP server, {down_s:g} s later a new one, {rounds} times"
        return rig.outcome("rtsp-kill", did)


def _stall(setup: Setup) -> Outcome:
    need_gstreamer()
    timeout_s = 1.0 if setup.short else 5.0
    with Guard(setup.guard, "cpu") as guard, RtspServer({"a": pattern()}) as server:
        cameras = readers_of(server.url("a"), timeout_s)
        names = [camera.name for camera in cameras]
        with Rig(guard, cameras) as rig:
            rig.warm_up()

            def stall() -> None:
                server.stall("a")

            def flow() -> None:
                server.flow("a")

            short_s = 0.4 * timeout_s
            rig.harm(f"no frames for {short_s:g} s", names, stall, flow, short_s)
            quiet = [rig.counts(name)["reconnects"] for name in names]
            rig.check("a pause within the timeout is no loss", not any(quiet), str(quiet))
            for _ in range(_rounds(setup, 4 * timeout_s + 5.0)):
                long_s = 2 * timeout_s
                rig.harm(f"no frames for {long_s:g} s", names, stall, flow, long_s)
                rig.harm(
                    f"server's process stopped for {long_s:g} s",
                    names,
                    server.pause,
                    server.resume,
                    long_s,
                )
        _say_so(rig, names)
        did = (
            f"the server keeps its connections and sends nothing, for less and for more than the "
            f"timeout of {timeout_s:g} s; its process is stopped (SIGSTOP) and continued"
        )
        return rig.outcome("rtsp-stall", did)


def _slow(setup: Setup) -> Outcome:
    need_gstreamer()
    slow_s = min(max(setup.seconds / 2, 2.0), 20.0)
    path = film_of(setup)
    with Guard(setup.guard, "cpu") as guard, RtspServer({"a": film(path)}) as server:
        cameras = readers_of(server.url("a"))
        names = [camera.name for camera in cameras]
        with Rig(guard, cameras) as rig:
            rig.warm_up()
            before = {name: rig.counts(name)["frames"] for name in names}

            def slow() -> None:
                server.pace("a", 2.0)
                before.update({name: rig.counts(name)["frames"] for name in names})

            def fast() -> None:
                for name in names:
                    count = rig.counts(name)["frames"] - before[name]
                    rig.facts[f"{name}: frames in {slow_s:g} s at 2 per second"] = count
                    rig.check(
                        f"{name}: frames go on coming, slowly", 1 < count < 5 * slow_s, str(count)
                    )
                server.pace("a", 25.0)

            rig.harm("2 frames per second", names, slow, fast, slow_s)
            time.sleep(1.0)
        for name in names:
            counts = rig.counts(name)
            rig.check(f"{name}: not taken for lost", counts["reconnects"] == 0)
        return rig.outcome("rtsp-slow", f"the stream falls to 2 frames per second for {slow_s:g} s")


def _resize(setup: Setup) -> Outcome:
    need_gstreamer()
    sizes = [(640, 360), (160, 120), (320, 240)]
    rounds = _rounds(setup, 20.0)
    with Guard(setup.guard, "cpu") as guard, RtspServer({"a": pattern(320, 240)}) as server:
        cameras = readers_of(server.url("a"))
        names = [camera.name for camera in cameras]
        with Rig(guard, cameras) as rig:
            rig.warm_up()
            for width, height in sizes * rounds:
                rig.harm(
                    f"size becomes {width}x{height}",
                    names,
                    lambda width=width, height=height: server.resize("a", width, height),  # type: ignore[misc]
                    lambda: None,
                    0.5 if setup.short else 2.0,
                )
                for name in names:
                    size = rig.counts(name)["size"]
                    rig.facts[f"{name} at {width}x{height}"] = f"{size[0]}x{size[1]}"
                    if name != "opencv":  # which scales to the first size
                        rig.check(f"{name}: follows", size == [width, height], str(size))
        for name in set(names) - {"opencv"}:
            told = [
                seen.event.text
                for seen in rig.witness.events
                if seen.event.kind == "size" and seen.event.camera == name
            ]
            rig.check(f"{name}: tells of each new size", len(told) >= len(sizes), "; ".join(told))
        did = f"the stream goes from 320x240 to {' to '.join(f'{w}x{h}' for w, h in sizes)}"
        return rig.outcome("rtsp-resize", f"{did}, {rounds} times")


def _say_so(rig: Rig, names: Sequence[str]) -> None:
    silent = [
        f"{fault.whom}: {fault.what}"
        for fault in rig.faults
        if not fault.told and fault.whom in names and "0.4" not in fault.what
    ]
    rig.facts["faults that nothing was told about"] = silent


SCENARIOS = (
    Scenario("rtsp-kill", "an RTSP server is killed and started again", 60.0, _kill),
    Scenario("rtsp-stall", "an RTSP server stops delivering without closing", 60.0, _stall),
    Scenario("rtsp-slow", "an RTSP stream falls to 2 frames per second", 30.0, _slow),
    Scenario("rtsp-resize", "an RTSP stream changes its resolution", 40.0, _resize),
)
