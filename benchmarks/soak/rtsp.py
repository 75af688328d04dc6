"""A real RTSP server on loopback, GStreamer's, in a process of its own that may be ill-treated.

::

    with RtspServer({"a": pattern(320, 240), "b": film(path)}) as server:
        cv2.VideoCapture(server.url("a"))
        server.stall("a")          # connected, but no more frames
        server.resize("a", 160, 120)
        server.pace("b", 2.0)      # frames per second from now on
        server.corrupt("b", 0.1)   # bytes of a tenth of the pictures are overwritten
        server.pause()             # the whole process stands still, its sockets stay open
        server.resume()
        server.kill()              # SIGKILL: no goodbye to anybody
        server.restart()           # same port, same mounts
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

__all__ = ["RtspServer", "film", "free_port", "missing_gstreamer", "pattern"]

DEADLINE_S = 30
SERVER = Path(__file__).with_name("rtsp_server.py")


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
        arguments = [sys.executable, str(SERVER), str(self.port), json.dumps(self.mounts)]
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

    def pace(self, mount: str, fps: float) -> None:
        """Changes the rate of a `film` in mid-stream."""
        self._tell("pace", mount, fps)

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
