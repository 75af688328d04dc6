"""The process of `rtsp.RtspServer`: `python rtsp_server.py PORT MOUNTS`, told more on stdin.

It imports nothing of blurvote, so that it starts at once.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

__all__: list[str] = []


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
        state = {"at": 0, "over": 0}
        if self.units:
            source = bin_.get_by_name("film")
            GLib.timeout_add(round(1000 / self.fps), self._push, source, state)
        self.apply(bin_)

        def leave(_: Any) -> None:
            self.bins.remove(bin_)
            state["over"] = 1

        media.connect("unprepared", leave)

    def _push(self, source: Any, state: dict[str, int]) -> bool:
        from gi.repository import GLib

        if state["over"]:
            return False
        # Set anew for each picture: the rate may change at any time.
        GLib.timeout_add(round(1000 / self.fps), self._push, source, state)
        if not self.stalled:
            unit = self.units[state["at"] % len(self.units)]
            state["at"] += 1
            if self.share and random.random() < self.share:
                unit = _damaged(unit)
            source.emit("push-buffer", self.gst.Buffer.new_wrapped(unit))
        return False

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

    def pace(self, fps: float) -> None:
        if not self.units:
            raise ValueError("only a film can be paced")
        self.fps = fps

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
