"""RTSP and HTTP video through PyAV, which tells what its decoder meets."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.addresses import StreamAddress
from blurvote.runtime.sources.av_pixels import colours_of, nv12_of
from blurvote.runtime.sources.redact import without_password

__all__ = ["AvSource"]


class AvSource:
    """A stream whose damaged pictures are noticed.

    After anything that the decoder cannot make sense of, and after a loss that it knows of, the
    pictures up to the next key frame are built on damage: each of them raises SourceError.

    Raises:
        SourceError: PyAV is missing, or the stream cannot be opened within the timeout.
    """

    def __init__(self, address: StreamAddress, timeout_s: float = 5.0) -> None:
        needs = "decoder=av" if address.pixels == "bgr" else f"pixels={address.pixels}"
        try:
            import av
        except ImportError as error:
            raise SourceError(
                f"{address.name}: {needs} needs PyAV; pip install 'blurvote[stream]'"
            ) from error
        self._av: Any = av
        self._name = address.name
        self._timeout_s = timeout_s
        self._as_it_is = address.pixels == "nv12"
        self._container = self._open(address)
        if not self._container.streams.video:
            self._container.close()
            raise SourceError(f"{self._name} sends no video")
        stream = self._container.streams.video[0]
        # Threads for whole pictures would hold pictures back; more than one for the parts of a
        # picture hide some of the damage.
        stream.thread_type = "SLICE"
        stream.codec_context.thread_count = address.threads
        stream.codec_context.options = {"err_detect": "explode"}
        rate = stream.average_rate or stream.guessed_rate
        self.frames_per_second: float | None = float(rate) if rate else None
        # A file on a web server has an end; a camera has none.
        self.total: int | None = stream.frames or None if not address.rtsp else None
        self.live = self.total is None
        self._packets: Iterator[Any] = self._container.demux(stream)
        self._decoded: deque[Any] = deque()
        self._reformatter = av.video.reformatter.VideoReformatter()
        self._damaged = False
        self._sequence = 0
        self._closed = False
        self._lock = threading.Lock()

    def _open(self, address: StreamAddress) -> Any:
        options = {"fpsprobesize": "0"}  # the rate is not worth a second of waiting
        if address.rtsp:
            options["rtsp_transport"] = address.transport
        began = time.monotonic()
        try:
            return self._av.open(
                address.url, options=options, timeout=(self._timeout_s, self._timeout_s)
            )
        except (self._av.FFmpegError, OSError, ValueError) as error:
            why = without_password(getattr(error, "strerror", None) or str(error))
            if time.monotonic() - began >= self._timeout_s:
                why = f"no answer for {self._timeout_s:g} s"
            raise StreamLostError(f"{self._name} cannot be opened: {why}") from None

    def read(self) -> Frame | None:
        """The next frame; None once closed, and at the end of a file.

        Raises:
            StreamLostError: it broke off, or delivered nothing within the timeout.
            SourceError: a picture is damaged, or may be; the next call goes on.
        """
        deadline = time.monotonic() + self._timeout_s
        with self._lock:
            while not self._closed:
                if not self._decoded:
                    self._advance()
                    continue
                picture = self._decoded.popleft()
                whole = picture.key_frame and not picture.is_corrupt
                if not (self._sequence or whole):  # joined between two key frames
                    if time.monotonic() > deadline:
                        raise SourceError(f"{self._name} has sent no whole key frame yet")
                    continue
                self._sequence += 1
                self._damaged = not whole and (self._damaged or picture.is_corrupt)
                if self._damaged:
                    raise SourceError(f"{self._name}: frame {self._sequence - 1} is damaged")
                return self._frame(picture, self._sequence - 1)
        return None

    def _frame(self, picture: Any, number: int) -> Frame:
        if not self._as_it_is:
            converted = self._reformatter.reformat(picture, format="bgr24")
            return Frame(np.asarray(converted.to_ndarray(), np.uint8), "bgr", self._name, number)
        pixels, window = nv12_of(picture, self._name)
        matrix, range_ = colours_of(picture, self._name)
        return Frame(pixels, "nv12", self._name, number, window=window, matrix=matrix, range=range_)

    def _advance(self) -> None:
        """Decodes one more packet."""
        began = time.monotonic()
        try:
            packet = next(self._packets, None)
        except self._av.FFmpegError:
            packet = None
        late = time.monotonic() - began >= self._timeout_s
        if packet is None or late:
            self._finish()
            if late:
                raise StreamLostError(f"{self._name} delivered nothing for {self._timeout_s:g} s")
            if self.live:
                raise StreamLostError(f"{self._name} broke off after {self._sequence} frames")
            return
        if packet.is_corrupt:
            self._damaged = True
        try:
            self._decoded.extend(packet.decode())
        except self._av.FFmpegError:
            if packet.size and self._sequence:  # not the flush at the end
                self._sequence += 1
                self._damaged = True
                raise SourceError(
                    f"{self._name}: frame {self._sequence - 1} cannot be decoded"
                ) from None

    def _finish(self) -> None:
        self._closed = True
        self._container.close()

    def close(self) -> None:
        """Ends the stream; waits for a `read` of another thread, which its timeout bounds."""
        with self._lock:
            self._finish()
