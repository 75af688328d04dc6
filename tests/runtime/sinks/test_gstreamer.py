"""Pictures into real GStreamer pipelines: what is pushed can be read back from a file."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import SinkError
from blurvote.runtime.gst import load_gstreamer
from blurvote.runtime.pipeline.delivery import Delivery, Retry
from blurvote.runtime.sinks import gstreamer, open_sink
from tests.runtime.sinks.material import (
    context,
    event,
    frames_of,
    observation,
    picture,
    refusal,
    until,
)


def _why_not() -> str | None:
    try:
        gst, _ = load_gstreamer(SinkError)
    except SinkError as error:
        return f"needs PyGObject and GStreamer: {error}"
    for element in ("appsrc", "videoconvert", "x264enc", "mp4mux", "jpegenc", "avimux"):
        if gst.ElementFactory.find(element) is None:
            return f"needs GStreamer's element {element}"
    return None


_REASON = _why_not()
pytestmark = pytest.mark.skipif(_REASON is not None, reason=_REASON or "")

ENCODE = "appsrc name=blurvote ! videoconvert ! x264enc tune=zerolatency ! mp4mux"


def duration_s(path: Path) -> float:
    capture = cv2.VideoCapture(str(path))
    length = capture.get(cv2.CAP_PROP_FRAME_COUNT) / capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return float(length)


def test_a_video_through_gstreamer(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(f"gst:{ENCODE} ! filesink location={path}", context(fps=12.5))
    assert sink.holds_pictures
    for shade in range(100, 250, 5):
        sink.write(observation(0, pixels=picture(47, 63, shade)))  # odd sides, padded rows
    sink.tell(event())
    sink.close()
    sink.close()
    frames = frames_of(path)
    assert len(frames) == 30
    assert duration_s(path) == pytest.approx(30 / 12.5)
    for shade, stored in zip(range(100, 250, 5), frames, strict=True):
        middle = stored[10:37, 10:53].astype(int)
        assert np.abs(middle - (0, 0, shade)).max() < 30  # lossy
    assert frames[0].shape[1] == 64


def test_times_of_live_frames_are_those_of_their_capture(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(f"gst:{ENCODE} ! filesink location={path}", context(10, live=lambda: True))
    for at in (100.0, 100.1, 101.0, 101.0, 103.0):  # a gap, and two at once
        sink.write(observation(0, captured_at=at))
    sink.close()
    capture = cv2.VideoCapture(str(path))
    times = []
    while capture.read()[0]:
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC))
    capture.release()
    assert times == pytest.approx([0, 100, 1000, 1000, 3000], abs=2)


def test_other_sizes_are_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    sink = open_sink(f"gst:{ENCODE} ! filesink location={path}", context())
    for size in ((48, 64), (200, 100), (30, 300), (48, 64)):
        sink.write(observation(0, pixels=picture(*size)))
    sink.close()
    frames = frames_of(path)
    assert len({frame.shape for frame in frames}) == 1
    assert len(frames) == 4


def test_nothing_written_leaves_nothing_running(tmp_path: Path) -> None:
    before = threading.active_count()
    sink = open_sink("gst:appsrc ! fakesink", context())
    sink.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("description", ["appsrc ! fakesink", "appsrc name=other ! fakesink"])
def test_a_single_appsrc_needs_no_name(description: str) -> None:
    sink = open_sink(f"gst: {description}", context())
    for number in range(20):
        sink.write(observation(number))
    sink.close()


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ("", "gst: the pipeline cannot be built: "),
        ("appsrc ! nosuchelement", 'the pipeline cannot be built: no element "nosuchelement"'),
        ("appsrc ! filesink loc=x", 'cannot be built: no property "loc" in element "filesink"'),
        ("videotestsrc ! fakesink", "gst: the pipeline has no appsrc"),
        ("appsrc ! fakesink appsrc ! fakesink", "(or several, none of them named blurvote)"),
    ],
)
def test_mistakes_are_told_at_once(description: str, message: str) -> None:
    assert message in refusal(lambda: open_sink(f"gst:{description}", context()))


def test_a_pipeline_that_fails_is_started_anew(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    path = folder / "out.mp4"
    told: list[Any] = []
    sink = open_sink(f"gst:{ENCODE} ! filesink location={path}", context())
    delivery = Delivery("gst", sink, "drop", told.append, retry=Retry(0.01, 0.05))
    delivery.put(observation(0))
    until(lambda: delivery.snapshot()["failures"] >= 3)
    assert "Could not open file" in told[0].text
    assert "No such file or directory" in told[0].text
    folder.mkdir()
    until(lambda: delivery.snapshot()["delivered"] == 1)
    delivery.close()
    assert len(frames_of(path)) == 1


def test_an_error_in_mid_stream_is_told() -> None:
    sink = open_sink("gst:appsrc ! identity error-after=3 ! fakesink", context())

    def write_many() -> None:
        for number in range(1000):
            sink.write(observation(number))
            time.sleep(0.001)

    assert "Failed after iterations as requested" in refusal(write_many)
    sink.write(observation(0))  # a new pipeline
    sink.close()


def test_a_pipeline_that_takes_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gstreamer, "BUSY_S", 0.2)
    monkeypatch.setattr(gstreamer, "FINISH_S", 0.2)
    sink = open_sink("gst:appsrc ! identity sleep-time=600000 ! fakesink", context())

    def write_many() -> None:
        for number in range(100):
            sink.write(observation(number))

    assert refusal(write_many) == "gst: it took no picture for 0.2 s"
    sink.write(observation(0))
    assert refusal(sink.close) == "gst: the pipeline did not end within 0.2 s"
    sink.close()


@pytest.mark.skipif(sys.platform != "linux", reason="counts open files in /proc")
def test_failing_again_and_again_leaks_nothing() -> None:
    def handles() -> tuple[int, int]:
        return len([*Path("/proc/self/task").iterdir()]), len([*Path("/proc/self/fd").iterdir()])

    def write_until_it_fails() -> None:
        while True:
            sink.write(observation())
            time.sleep(0.001)

    sink = open_sink("gst:appsrc ! filesink location=/nowhere/at/all", context())
    for _ in range(3):
        refusal(write_until_it_fails)
    before = handles()
    for _ in range(20):
        refusal(write_until_it_fails)
    until(lambda: all(now <= then for now, then in zip(handles(), before, strict=True)))
    sink.close()
