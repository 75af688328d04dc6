"""Any GStreamer pipeline that ends in an appsink."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from blurvote.runtime.errors import SourceError, StreamLostError
from blurvote.runtime.frame import Frame
from blurvote.runtime.gst import load_gstreamer
from blurvote.runtime.sources.gst_pixels import RGB_FORMATS, Picture, picture_of
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["GStreamerSource", "open_gst"]

_EXAMPLE = "gst:videotestsrc ! videoconvert ! appsink"
_MISFIT = (
    "an appsink takes 8-bit BGR, BGRx or RGB; put videoconvert before it. It takes NV12, YUY2 or "
    "GRAY8 as they are where it says so: appsink caps=video/x-raw,format=NV12"
)
_SLICE_S = 0.05
_OLDEST_S = 60.0  # a frame older than that by its time stamp has another clock's


def open_gst(uri: str, options: SourceOptions) -> GStreamerSource:
    """The source of `gst:PIPELINE`.

    Raises:
        SourceError: as `GStreamerSource`, or an option that a pipeline states itself is set.
    """
    name = without_password(uri)
    options.refuse(name, "the pipeline itself says so", "width", "fps", "codec", "loop", "pace")
    return GStreamerSource(uri.partition(":")[2], name, options.timeout_s)


class GStreamerSource:
    """Frames from the one appsink of a pipeline, each copied once out of GStreamer.

    Of a live pipeline the newest frame wins, and its `captured_at` counts in the time that it spent
    in the pipeline, by its time stamp; of others every frame is delivered. The appsink is set
    accordingly, does not wait for a frame's time (`sync=false`), and takes BGR, RGB, BGRx, RGBx,
    BGRA or RGBA where its caps say nothing else. A four-byte format costs a second copy. NV12, YUY2
    and GRAY8 are taken as they are by an appsink that names them,
    `appsink caps=video/x-raw,format=NV12`; their matrix and range are those of the caps.

    A frame that a decoder marks as corrupt raises SourceError. GStreamer's H.264 decoders hide
    most damage and mark nothing.

    Args:
        pipeline: as for gst-launch-1.0.
        name: the frames' `source`.
        timeout_s: how long the pipeline may take to start, and between two frames.

    Raises:
        SourceError: GStreamer is missing, the pipeline cannot be, has no appsink or not just one,
            or does not start.
    """

    total: int | None = None

    def __init__(self, pipeline: str, name: str, timeout_s: float = 5.0) -> None:
        self._gst, self._video = load_gstreamer(SourceError)
        self._name = name
        self._timeout_s = timeout_s
        self.frames_per_second: float | None = None
        self._sequence = 0
        self._away = False  # whether the trouble is with a network source, which may come back
        self._ended = self._closed = False
        self._closing = threading.Lock()
        self._pipeline = self._parse(pipeline)
        self._bus = self._pipeline.get_bus()
        try:
            self._sink = self._only_sink()
            self.live = self._start()
            self._note_rate(self._sink.get_static_pad("sink").get_current_caps())
        except BaseException:
            self.close()
            raise

    # ---- opening ----

    def _parse(self, text: str) -> Any:
        gst = self._gst
        from gi.repository import GLib

        try:
            pipeline = gst.parse_launch(text)
        except GLib.Error as error:
            raise SourceError(
                f"{self._name} cannot be built: {without_password(error.message)}"
            ) from None
        if not isinstance(pipeline, gst.Pipeline):  # a single element comes alone
            element, pipeline = pipeline, gst.Pipeline.new(None)
            pipeline.add(element)
        return pipeline

    def _only_sink(self) -> Any:
        found = []
        elements = self._pipeline.iterate_all_by_element_factory_name("appsink")
        while True:
            result, element = elements.next()
            if result != self._gst.IteratorResult.OK:
                break
            found.append(element)
        if len(found) != 1:
            has = f"{len(found)} appsinks" if found else "no appsink"
            raise SourceError(f"{self._name} has {has}; expected one at its end, as {_EXAMPLE}")
        sink = found[0]
        for key, value in {
            "sync": False,
            "max-buffers": 1,
            "drop": False,
            "emit-signals": False,
            "enable-last-sample": False,
            "wait-on-eos": False,
        }.items():
            sink.set_property(key, value)
        caps = sink.get_property("caps")
        if caps is None or caps.is_any():
            kinds = f"video/x-raw, format=(string){{ {', '.join(RGB_FORMATS)} }}"
            sink.set_property("caps", self._gst.Caps.from_string(kinds))
        return sink

    def _start(self) -> bool:
        """Sets the pipeline going; returns whether it is live."""
        gst = self._gst
        result = self._pipeline.set_state(gst.State.PAUSED)
        if result == gst.StateChangeReturn.ASYNC:
            result = self._await_start()
        if result == gst.StateChangeReturn.FAILURE:
            said = self._trouble(1.0) or f"{self._name} does not start"
            raise StreamLostError(said) if self._away else SourceError(said)
        live = bool(result == gst.StateChangeReturn.NO_PREROLL)
        self._sink.set_property("drop", live)
        if self._pipeline.set_state(gst.State.PLAYING) == gst.StateChangeReturn.FAILURE:
            raise SourceError(self._trouble(1.0) or f"{self._name} does not start")
        return live

    def _await_start(self) -> Any:
        """Waits for the first frame of a pipeline that is not live, or what goes wrong before."""
        gst = self._gst
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            result, _, _ = self._pipeline.get_state(20 * gst.MSECOND)
            if result != gst.StateChangeReturn.ASYNC:
                return result
            said = self._trouble()
            if said:
                raise StreamLostError(said) if self._away else SourceError(said)
        raise SourceError(f"{self._name} delivered nothing for {self._timeout_s:g} s")

    # ---- reading ----

    def read(self) -> Frame | None:
        """The next frame; None at the end of a pipeline that is not live, and once closed.

        Raises:
            StreamLostError: a live pipeline failed, ended, or delivered nothing within the timeout.
            SourceError: a pipeline that is not live did; or a frame is corrupt, of a format that
                blurvote does not take, or cannot be read, and the next call goes on.
        """
        if self._ended:
            return None
        sample = self._next_sample()
        if self._closed or sample is None:
            self._ended = True
            return None
        self._sequence += 1
        buffer = sample.get_buffer()
        if buffer.has_flags(self._gst.BufferFlags.CORRUPTED):
            raise SourceError(f"{self._name}: frame {self._sequence - 1} is corrupt")
        seen = self._picture(sample.get_caps(), buffer)
        return Frame(
            seen.pixels,
            seen.colour,
            self._name,
            self._sequence - 1,
            self._taken(sample, buffer),
            seen.window,
            seen.matrix,
            seen.range,
        )

    def _next_sample(self) -> Any:
        """The next sample; None at the proper end, and once closed."""
        kind = StreamLostError if self.live else SourceError
        deadline = time.monotonic() + self._timeout_s
        while not self._closed:
            left = deadline - time.monotonic()
            # An appsink does not wake up when another element fails.
            wait = round(max(0.0, min(_SLICE_S, left)) * self._gst.SECOND)
            sample = self._sink.try_pull_sample(wait)
            if sample is not None or self._closed:
                return sample
            said = self._trouble()
            ends = self._sink.is_eos()
            if said is None and not ends and left > 0:
                continue
            self._ended = True
            if said is not None:
                # What does not fit now would not fit the next time.
                raise SourceError(said) if _MISFIT in said else kind(said)
            if not ends:
                raise kind(f"{self._name} delivered nothing for {self._timeout_s:g} s")
            if self.live:
                raise StreamLostError(f"{self._name} ended after {self._sequence} frames")
            return None
        return None

    def _picture(self, caps: Any, buffer: Any) -> Picture:
        if self.frames_per_second is None:
            self._note_rate(caps)
        mapped, memory = buffer.map(self._gst.MapFlags.READ)
        if not mapped:
            raise SourceError(f"{self._name}: frame {self._sequence - 1} cannot be read")
        try:
            data = memory.data  # the one copy: bytes of Python's own
        finally:
            buffer.unmap(memory)
        return picture_of(self._video, caps, buffer, data, self._name)

    def _note_rate(self, caps: Any) -> None:
        if caps is not None and caps.get_size():
            found, up, down = caps.get_structure(0).get_fraction("framerate")
            if found and up and down:
                self.frames_per_second = up / down

    def _taken(self, sample: Any, buffer: Any) -> float:
        """When the frame entered a live pipeline, if its time stamp and the clock tell."""
        now = time.monotonic()
        clock, none = self._pipeline.get_clock(), self._gst.CLOCK_TIME_NONE
        if not self.live or clock is None or buffer.pts == none:
            return now
        running = sample.get_segment().to_running_time(self._gst.Format.TIME, buffer.pts)
        if running == none:
            return now
        age = (clock.get_time() - self._pipeline.get_base_time() - running) / self._gst.SECOND
        return now - age if 0 <= age < _OLDEST_S else now

    def _trouble(self, wait_s: float = 0.0) -> str | None:
        """What the pipeline reports as its first error, if anything within `wait_s`."""
        wait = round(wait_s * self._gst.SECOND)
        message = self._bus.timed_pop_filtered(wait, self._gst.MessageType.ERROR)
        if message is None:
            return None
        error, detail = message.parse_error()
        factory = message.src.get_factory() if hasattr(message.src, "get_factory") else None
        self._away = factory is not None and "Network" in (factory.get_metadata("klass") or "")
        said = f"{message.src.get_name()}: {error.message}"
        if "not-negotiated" in (detail or ""):
            said += f" {_MISFIT}"
        elif detail:
            said += f" ({detail.strip().splitlines()[-1]})"
        return without_password(f"{self._name} failed: {' '.join(said.split())}")

    def close(self) -> None:
        """Stops the pipeline, which also ends a `read` of another thread."""
        with self._closing:
            self._ended = True
            if self._closed:
                return
            self._closed = True
            with contextlib.suppress(AttributeError):  # the constructor may have failed before
                self._pipeline.set_state(self._gst.State.NULL)
