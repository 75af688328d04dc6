"""Annotated pictures into a GStreamer pipeline."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SinkError
from blurvote.runtime.gst import load_gstreamer
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks.annotated import draw
from blurvote.runtime.sinks.fitting import even_size, fit
from blurvote.runtime.sinks.sink import SinkContext

__all__ = ["GstSink"]

WAITING = 4  # pictures that may wait inside the appsrc
BUSY_S = 5.0  # that a full pipeline may take to accept one more
FINISH_S = 20.0  # that a pipeline may take from end of stream to its last byte


class GstSink:
    """Pushes pictures into the `appsrc` of a pipeline given as for `gst-launch-1.0`.

    The first picture sets the size (made even); later ones of other sizes are fitted into it.
    Times are those of capture for live sources, else the run's frame rate. After an error the
    next write starts the pipeline anew. `close` ends the stream and waits until it has drained.

    Args:
        description: such as `appsrc ! videoconvert ! x264enc ! mp4mux ! filesink location=a.mp4`.
            Of several appsrc elements, the one named `blurvote` is fed.
        context: of the run.

    Raises:
        SinkError: PyGObject or GStreamer is missing, the pipeline cannot be built, or it has no
            appsrc to feed.
    """

    holds_pictures = True

    def __init__(self, description: str, context: SinkContext) -> None:
        self._gst = load_gstreamer(SinkError)[0]
        self._description = description
        self._context = context
        self._pipeline: Any = None
        self._source: Any = None
        self._size = (0, 0)
        self._rate = 1.0
        self._first_at = 0.0
        self._last_ns = -1
        self._count = 0
        self._build()

    def write(self, observation: Observation) -> None:
        picture = draw(observation, self._context)
        if self._pipeline is None:
            self._build()
        if self._count == 0:
            self._start(picture, observation.frame.captured_at)
        self._wait_for_room()
        buffer = self._gst.Buffer.new_wrapped(self._fitted(picture).tobytes())
        buffer.pts = buffer.dts = self._time_ns(observation.frame.captured_at)
        # Without a duration, players drop a video's last picture.
        buffer.duration = int(self._gst.SECOND / self._rate)
        answer = self._source.emit("push-buffer", buffer)
        if answer != self._gst.FlowReturn.OK:
            raise self._broken(f"appsrc says {answer.value_nick}")
        self._count += 1
        self._check_bus()

    def tell(self, event: Event) -> None:
        """Pictures have no place for events."""

    def close(self) -> None:
        if self._pipeline is None:
            return
        try:
            if self._count:
                self._source.emit("end-of-stream")
                kinds = self._gst.MessageType.EOS | self._gst.MessageType.ERROR
                wait_ns = int(FINISH_S * self._gst.SECOND)
                message = self._pipeline.get_bus().timed_pop_filtered(wait_ns, kinds)
                if message is None:
                    raise SinkError(f"gst: the pipeline did not end within {FINISH_S:g} s")
                if message.type == self._gst.MessageType.ERROR:
                    raise SinkError(_explain(message))
        finally:
            self._tear_down()

    def _build(self) -> None:
        from gi.repository import GLib

        try:
            pipeline = self._gst.parse_launch(self._description)
        except GLib.Error as error:
            raise SinkError(f"gst: the pipeline cannot be built: {error.message}") from error
        if not isinstance(pipeline, self._gst.Bin):  # a lone element
            element, pipeline = pipeline, self._gst.Pipeline.new(None)
            pipeline.add(element)
        self._source = _find_appsrc(pipeline)
        if self._source is None:
            raise SinkError(
                "gst: the pipeline has no appsrc (or several, none of them named blurvote); "
                "expected appsrc name=blurvote ! videoconvert ! ..."
            )
        self._pipeline = pipeline
        self._count = 0

    def _start(self, picture: NDArray[np.uint8], captured_at: float) -> None:
        width, height = self._size = even_size(picture)
        self._rate = self._context.frames_per_second()
        rate = Fraction(self._rate).limit_denominator(1001)
        live = self._context.live()
        caps = (
            f"video/x-raw,format=BGR,width={width},height={height},"
            f"framerate={rate.numerator}/{rate.denominator}"
        )
        source = self._source
        source.set_property("caps", self._gst.Caps.from_string(caps))
        source.set_property("format", self._gst.Format.TIME)
        source.set_property("is-live", live)
        source.set_property("block", False)
        source.set_property("max-bytes", 0)  # `_wait_for_room` keeps the bound
        self._first_at, self._last_ns = captured_at, -1
        if self._pipeline.set_state(self._gst.State.PLAYING) == self._gst.StateChangeReturn.FAILURE:
            raise self._broken("it cannot be started")

    def _fitted(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """As GStreamer wants BGR: each row begins at a multiple of 4 bytes."""
        picture = fit(picture, self._size)
        padding = -picture.shape[1] * 3 % 4
        return np.pad(picture.reshape(len(picture), -1), ((0, 0), (0, padding)))

    def _time_ns(self, captured_at: float) -> int:
        second = self._gst.SECOND
        if self._context.live():
            now = int((captured_at - self._first_at) * second)
        else:
            now = int(self._count * second / self._rate)
        self._last_ns = max(now, self._last_ns + 1)  # muxers want times that grow
        return self._last_ns

    def _wait_for_room(self) -> None:
        width, height = self._size
        room = (WAITING - 1) * width * height * 3
        deadline = time.monotonic() + BUSY_S
        while self._source.get_property("current-level-bytes") > room:
            self._check_bus()
            if time.monotonic() > deadline:
                raise self._broken(f"it took no picture for {BUSY_S:g} s")
            time.sleep(0.002)

    def _check_bus(self) -> None:
        kinds = self._gst.MessageType.ERROR | self._gst.MessageType.EOS
        message = self._pipeline.get_bus().pop_filtered(kinds)
        if message is None:
            return
        if message.type == self._gst.MessageType.EOS:
            raise self._broken("it ended by itself")
        text = _explain(message)
        self._tear_down()
        raise SinkError(text)

    def _broken(self, text: str) -> SinkError:
        """The error, preferably in the words of the element that failed; ends the pipeline."""
        message = self._pipeline.get_bus().pop_filtered(self._gst.MessageType.ERROR)
        self._tear_down()
        return SinkError(f"gst: {text}" if message is None else _explain(message))

    def _tear_down(self) -> None:
        pipeline, self._pipeline, self._source = self._pipeline, None, None
        pipeline.set_state(self._gst.State.NULL)
        self._count = 0


def _find_appsrc(pipeline: Any) -> Any:
    found = []
    elements = pipeline.iterate_elements()
    while True:
        result, element = elements.next()
        if int(result) != 1:  # Gst.IteratorResult.OK
            break
        factory = element.get_factory()
        if factory is not None and factory.get_name() == "appsrc":
            found.append(element)
    named = [element for element in found if element.get_name() == "blurvote"]
    if named:
        return named[0]
    return found[0] if len(found) == 1 else None


def _explain(message: Any) -> str:
    error, detail = message.parse_error()
    last = (detail or "").strip().splitlines()[-1:]
    more = f" ({last[0].strip()})" if last else ""
    return f"gst: {message.src.get_name()}: {error.message}{more}"
