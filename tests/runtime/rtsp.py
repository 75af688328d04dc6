"""A real RTSP server on loopback, GStreamer's, in a process of its own that tests may ill-treat.

::

    with RtspServer({"a": pattern(320, 240), "b": film(path)}) as server:
        cv2.VideoCapture(server.url("a"))
        server.stall("a")          # connected, but no more frames
        server.resize("a", 160, 120)
        server.corrupt("b", 0.1)   # bytes of a tenth of the pictures are overwritten
        server.pause()             # the whole process stands still, its sockets stay open
        server.resume()
        server.kill()              # SIGKILL: no goodbye to anybody
        server.restart()           # same port, same mounts

Run as a script, this file is the server itself.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import pytest

DEADLINE_S = 30


def missing_gstreamer() -> str | None:
    """Why no RTSP server can run here; None where one can."""
    from blurvote.runtime.errors import SourceError
    from blurvote.runtime.gst import load_gstreamer

    try:
        gst, _ = load_gstreamer(SourceError)
        import gi

        gi.require_version("GstRtspServer", "1.0")
    except (SourceError, ValueError) as error:
        return f"no GStreamer for Python: {error}"
    for element in ("x264enc", "rtph264pay", "h264parse", "qtdemux", "jpegenc", "avdec_h264"):
        if gst.ElementFactory.find(element) is None:
            return f"no GStreamer element {element}"
    return None


WHY_NOT = missing_gstreamer()
needs_gstreamer = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))

_CODECS = {
    # In one slice: GStreamer 1.22 sends sliced key frames so that FFmpeg takes them for two.
    "h264": "x264enc tune=zerolatency sliced-threads=false threads=1 speed-preset=ultrafast "
    "key-int-max={fps} bitrate={kbps} ! h264parse ! rtph264pay config-interval=-1 name=pay0 pt=96",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={fps} bitrate={kbps} "
    "! h265parse ! rtph265pay config-interval=-1 name=pay0 pt=96",
    "mjpeg": "jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def pattern(
    width: int = 320, height: int = 240, fps: int = 25, codec: str = "h264", kind: str = "smpte"
) -> str:
    """A mount with GStreamer's test picture; `kind` as of videotestsrc, such as `ball`."""
    encoder = _CODECS[codec].format(fps=fps, kbps=max(300, width * height * fps // 5000))
    return (
        f"( videotestsrc is-live=true pattern={kind} ! valve name=valve ! capsfilter name=size "
        f"caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 "
        f"! {encoder} )"
    )


def film(path: Path | str) -> str:
    """A mount with the H.264 of an MP4 file, over and over, not encoded again."""
    return f"film:{path}"


class RtspServer:
    """Serves `mounts` (name to `pattern`, `film` or a launch line with a payloader `pay0`)."""

    def __init__(self, mounts: Mapping[str, str], port: int | None = None) -> None:
        self.mounts = dict(mounts)
        self.port = port or free_port()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> RtspServer:
        self.restart()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def url(self, mount: str, user: str = "") -> str:
        return f"rtsp://{user + '@' if user else ''}127.0.0.1:{self.port}/{mount}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def restart(self) -> None:
        """Starts the server, again if need be; returns when it listens."""
        self.kill()
        arguments = [sys.executable, str(Path(__file__)), str(self.port), json.dumps(self.mounts)]
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(DEADLINE_S)
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stall(self, mount: str) -> None:
        """Clients stay connected and get no more frames."""
        self._tell("stall", mount, True)

    def flow(self, mount: str) -> None:
        """Undoes `stall`."""
        self._tell("stall", mount, False)

    def resize(self, mount: str, width: int, height: int) -> None:
        """Changes the size of a `pattern` in mid-stream."""
        self._tell("resize", mount, width, height)

    def corrupt(self, mount: str, share: float) -> None:
        """Overwrites bytes in that share of the pictures of a `film`."""
        self._tell("corrupt", mount, share)

    def _tell(self, *command: Any) -> None:
        assert self._process is not None
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(json.dumps(command) + "\n")
        pipe.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process is not None
        pipe: IO[str] | None = self._process.stdout
        assert pipe is not None
        ready, _, _ = select.select([pipe], [], [], DEADLINE_S)
        answer = pipe.readline().strip() if ready else "no answer"
        if answer != "ok":
            self.kill()
            raise RuntimeError(f"RTSP server: {answer or 'it died'}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ---- the server's own process ----


class _Mount:
    """One mount: what its clients' pipelines are told, now and when they are made."""

    def __init__(self, gst: Any, rtsp: Any, launch: str) -> None:
        self.gst = gst
        self.stalled = False
        self.share = 0.0
        self.size: tuple[int, int] | None = None
        self.bins: list[Any] = []
        self.units: list[bytes] = []
        self.factory = rtsp.RTSPMediaFactory.new()
        if launch.startswith("film:"):
            self.units, caps, self.fps = _access_units(gst, launch[5:])
            launch = (
                f"( appsrc name=film is-live=true format=time do-timestamp=true caps={caps} "
                "! h264parse ! rtph264pay config-interval=-1 name=pay0 pt=96 )"
            )
        self.factory.set_launch(launch)
        self.factory.connect("media-configure", self._configure)

    def _configure(self, _: Any, media: Any) -> None:
        from gi.repository import GLib

        bin_ = media.get_element()
        self.bins.append(bin_)
        timer = None
        if self.units:
            state = {"at": 0}
            source = bin_.get_by_name("film")
            timer = GLib.timeout_add(round(1000 / self.fps), self._push, source, state)
        self.apply(bin_)

        def leave(_: Any) -> None:
            self.bins.remove(bin_)
            if timer is not None:
                GLib.source_remove(timer)

        media.connect("unprepared", leave)

    def _push(self, source: Any, state: dict[str, int]) -> bool:
        if not self.stalled:
            unit = self.units[state["at"] % len(self.units)]
            state["at"] += 1
            if self.share and random.random() < self.share:
                unit = _damaged(unit)
            source.emit("push-buffer", self.gst.Buffer.new_wrapped(unit))
        return True

    def apply(self, bin_: Any) -> None:
        if self.stalled and bin_.get_by_name("valve"):
            bin_.get_by_name("valve").set_property("drop", True)
        if self.size:
            self._resize(bin_, *self.size)

    def _resize(self, bin_: Any, width: int, height: int) -> None:
        element = bin_.get_by_name("size")
        caps = element.get_property("caps").copy()
        caps.set_value("width", width)
        caps.set_value("height", height)
        element.set_property("caps", caps)

    def stall(self, stalled: bool) -> None:
        self.stalled = stalled
        for bin_ in self.bins:
            if bin_.get_by_name("valve"):
                bin_.get_by_name("valve").set_property("drop", stalled)

    def resize(self, width: int, height: int) -> None:
        self.size = width, height
        for bin_ in self.bins:
            self._resize(bin_, width, height)

    def corrupt(self, share: float) -> None:
        if not self.units:
            raise ValueError("only a film can be corrupted")
        self.share = share


def _damaged(unit: bytes) -> bytes:
    """The bytes with a few overwritten, but none of the first, where start codes are."""
    data = bytearray(unit)
    for _ in range(max(1, len(data) // 500)):
        data[random.randrange(min(40, len(data) - 1), len(data))] = random.randrange(1, 256)
    return bytes(data)


def _access_units(gst: Any, path: str) -> tuple[list[bytes], str, float]:
    """All pictures of an MP4 as H.264 byte-stream, their caps, and the frames per second."""
    pipeline = gst.parse_launch(
        f'filesrc location="{path}" ! qtdemux ! h264parse config-interval=-1 '
        "! video/x-h264,stream-format=byte-stream,alignment=au ! appsink name=sink sync=false"
    )
    pipeline.set_state(gst.State.PLAYING)
    sink, units, caps = pipeline.get_by_name("sink"), [], None
    while (sample := sink.emit("pull-sample")) is not None:
        caps = sample.get_caps()
        buffer = sample.get_buffer()
        units.append(bytes(buffer.extract_dup(0, buffer.get_size())))
    pipeline.set_state(gst.State.NULL)
    if caps is None:
        raise ValueError(f"{path} holds no H.264")
    _, up, down = caps.get_structure(0).get_fraction("framerate")
    return units, "video/x-h264,stream-format=byte-stream,alignment=au", up / down or 25.0


def _serve(port: int, mounts: dict[str, str]) -> None:
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstApp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer

    Gst.init(None)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(str(port))
    made = {name: _Mount(Gst, GstRtspServer, launch) for name, launch in mounts.items()}
    for name, mount in made.items():
        server.get_mount_points().add_factory(f"/{name}", mount.factory)
    if not server.attach(None):
        print(f"cannot listen at port {port}", flush=True)
        return
    loop = GLib.MainLoop()

    def obey(channel: Any, condition: Any) -> bool:
        line = sys.stdin.readline()
        if not line:
            loop.quit()  # the test is gone
            return False
        action, name, *arguments = json.loads(line)
        try:
            getattr(made[name], action)(*arguments)
            print("ok", flush=True)
        except Exception as error:
            print(repr(error), flush=True)
        return True

    GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, obey)
    # Clients that vanish without goodbye leave sessions behind.
    GLib.timeout_add_seconds(5, lambda: server.get_session_pool().cleanup() >= 0)
    print("ok", flush=True)
    loop.run()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), json.loads(sys.argv[2]))
