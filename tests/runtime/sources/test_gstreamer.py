"""GStreamer pipelines as sources, with the real GStreamer."""

from __future__ import annotations

import gc
import sys
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import Frame, SourceError, StreamLostError
from blurvote.runtime.frame import check_frame
from blurvote.runtime.sources import SourceOptions, open_source
from blurvote.runtime.sources.csi import csi_pipeline
from blurvote.runtime.sources.gst_pixels import CAMERA_FORMATS, picture_of
from tests.runtime.rtsp import needs_gstreamer

pytestmark = needs_gstreamer


def gst(pipeline: str, timeout_s: float = 20) -> Any:
    return open_source(f"gst:{pipeline}", SourceOptions(timeout_s=timeout_s))


def refusal(pipeline: str, timeout_s: float = 20) -> str:
    with pytest.raises(SourceError) as caught:
        gst(pipeline, timeout_s)
    return str(caught.value).removeprefix(f"gst:{pipeline} ")


def frames(source: Any) -> list[Frame]:
    try:
        return list(iter(source.read, None))
    finally:
        source.close()


@pytest.mark.parametrize("width", [64, 61, 62, 63])
@pytest.mark.parametrize("kind", ["BGR", "RGB", "BGRx", "RGBx", "BGRA", "RGBA"])
def test_colours_come_out_right_at_every_width(kind: str, width: int) -> None:
    # 0xff3010a0 is red 0x30, green 0x10, blue 0xa0; rows of 3-byte pixels are padded to 4.
    source = gst(
        "videotestsrc pattern=solid-color foreground-color=0xff3010a0 num-buffers=2 "
        f"! video/x-raw,format={kind},width={width},height=7,framerate=25/1 ! appsink"
    )
    assert not source.live
    assert source.frames_per_second == 25
    got = frames(source)
    assert [f.sequence for f in got] == [0, 1]
    for frame in got:
        assert frame.pixels.shape == (7, width, 3)
        rgb = frame.pixels if frame.colour == "rgb" else frame.pixels[..., ::-1]
        assert np.abs(rgb.astype(int) - (0x30, 0x10, 0xA0)).max() <= 2


def test_an_appsink_without_caps_takes_what_videoconvert_can_make() -> None:
    got = frames(
        gst("videotestsrc num-buffers=3 ! video/x-raw,format=I420 ! videoconvert ! appsink")
    )
    assert len(got) == 3
    assert got[0].pixels.shape == (240, 320, 3)


def test_frames_are_copies() -> None:
    source = gst("videotestsrc pattern=snow ! video/x-raw,format=BGR ! appsink")
    first = source.read()
    kept = first.pixels.copy()
    for _ in range(20):
        source.read()
    source.close()
    np.testing.assert_array_equal(first.pixels, kept)


def test_every_frame_of_a_file_and_the_newest_of_a_live_pipeline() -> None:
    caps = "video/x-raw,format=BGR,width=64,height=48,framerate=100/1"
    slow = []
    source = gst(f"videotestsrc num-buffers=30 ! {caps} ! appsink")
    while (frame := source.read()) is not None:
        slow.append(frame)
        time.sleep(0.002)
    assert len(slow) == 30
    source.close()
    live = gst(f"videotestsrc is-live=true ! {caps} ! appsink")
    assert live.live
    live.read()
    time.sleep(0.3)  # some 30 frames
    before = time.monotonic()
    live.read()  # one was waiting
    assert live.read().captured_at > before - 0.15
    live.close()


def test_the_age_counts_the_time_in_the_pipeline() -> None:
    source = gst(
        "videotestsrc is-live=true ! video/x-raw,format=BGR,width=64,height=48,framerate=50/1 "
        "! queue min-threshold-time=200000000 ! appsink"
    )
    ages = []
    for _ in range(5):
        frame = source.read()
        ages.append(time.monotonic() - frame.captured_at)
    source.close()
    assert min(ages) >= 0.15


def test_a_size_that_changes_in_mid_stream(tmp_path: Any) -> None:
    for k, size in enumerate([(64, 48), (33, 21), (80, 50)]):
        picture = np.full((size[1], size[0], 3), 50 * k, np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{k}.png"), picture)
    source = gst(f"multifilesrc location={tmp_path}/%d.png ! pngdec ! videoconvert ! appsink")
    assert [f.pixels.shape for f in frames(source)] == [(48, 64, 3), (21, 33, 3), (50, 80, 3)]


@pytest.mark.parametrize(
    ("pipeline", "said"),
    [
        (
            "videotestsrc ! fakesink",
            "has no appsink; expected one at its end, as gst:videotestsrc ! videoconvert ! appsink",
        ),
        ("videotestsrc ! tee name=t ! appsink t. ! appsink", "has 2 appsinks; expected one at"),
        ("nosuchthing ! appsink", 'cannot be built: no element "nosuchthing"'),
        ("videotestsrc colour=3 ! appsink", 'cannot be built: no property "colour" in element'),
        ("videotestsrc ! ! appsink", "cannot be built: syntax error"),
        ("filesrc location=/none ! decodebin ! videoconvert ! appsink", 'No such file "/none"'),
        (
            "videotestsrc ! video/x-raw,format=I420 ! appsink",
            "an appsink takes 8-bit BGR, BGRx or RGB; put videoconvert before it",
        ),
    ],
)
def test_pipelines_that_cannot_be(pipeline: str, said: str) -> None:
    assert said in refusal(pipeline)


def test_a_format_that_is_asked_for_but_not_taken() -> None:
    source = gst("videotestsrc ! appsink caps=video/x-raw,format=GRAY16_LE")
    with pytest.raises(SourceError, match=r"video/x-raw GRAY16_LE; expected 8-bit BGR, BGRx"):
        source.read()
    source.close()


SOLID = "videotestsrc pattern=solid-color foreground-color=0xff3010a0 num-buffers=2"


@pytest.mark.parametrize(("width", "height"), [(64, 48), (66, 46), (61, 48), (62, 7), (63, 9)])
@pytest.mark.parametrize(("kind", "colour"), CAMERA_FORMATS.items())
@pytest.mark.parametrize("colorimetry", ["bt601", "bt709", "1:4:5:1"])
def test_formats_of_cameras_come_as_they_are(
    kind: str, colour: str, width: int, height: int, colorimetry: str
) -> None:
    """1:4:5:1 is BT.601 in the full range."""
    caps = f"video/x-raw,format={kind},width={width},height={height},colorimetry=(string)"
    caps += "1:4:0:0" if kind == "GRAY8" else colorimetry
    made = f"{SOLID} ! video/x-raw,format=RGBx ! videoconvert ! {caps}"
    got = frames(gst(f"{made} ! appsink caps=video/x-raw,format={kind}"))
    assert len(got) == 2
    for frame in got:
        check_frame(frame)
        assert frame.colour == colour
        assert (frame.width, frame.height) == (width, height)
        if kind == "GRAY8":
            assert np.ptp(frame.pixels) == 0
            continue
        matrix, range_ = ("bt601", "full") if ":" in colorimetry else (colorimetry, "limited")
        assert (frame.matrix, frame.range) == (matrix, range_)
        assert np.abs(frame.as_rgb().astype(int) - (0x30, 0x10, 0xA0)).max() <= 4


@pytest.mark.parametrize(
    ("caps", "said"),
    [
        ("format=NV12,colorimetry=bt2020", "expected bt601 or bt709: put videoconvert"),
        ("format=GRAY8,colorimetry=(string)2:4:0:0", "expected the range 0..255"),
    ],
)
def test_colours_that_are_none_of_ours(caps: str, said: str) -> None:
    kind = caps.partition(",")[0]
    source = gst(
        f"videotestsrc ! videoconvert ! video/x-raw,{caps} ! appsink caps=video/x-raw,{kind}"
    )
    with pytest.raises(SourceError, match=said):
        source.read()
    source.close()


@pytest.mark.parametrize(("rows", "stride"), [(48, 64), (48, 80), (64, 80), (50, 64)])
def test_padded_planes_of_nv12(rows: int, stride: int) -> None:
    """As hardware decoders deliver them: what a buffer says of itself goes before its caps."""
    from gi.repository import Gst, GstVideo

    random = np.random.default_rng(0)
    data = random.integers(0, 256, rows * stride + 24 * stride, np.uint8).tobytes()
    buffer = Gst.Buffer.new_wrapped(data)
    GstVideo.buffer_add_video_meta_full(
        buffer, GstVideo.VideoFrameFlags.NONE, GstVideo.VideoFormat.NV12, 64, 48, 2,
        [0, rows * stride, 0, 0], [stride, stride, 0, 0],
    )  # fmt: skip
    caps = Gst.Caps.from_string("video/x-raw,format=NV12,width=64,height=48,framerate=1/1")
    seen = picture_of(GstVideo, caps, buffer, data, "it")
    frame = Frame(seen.pixels, seen.colour, window=seen.window)
    check_frame(frame)
    lines = np.frombuffer(data, np.uint8).reshape(-1, stride)
    packed = np.concatenate([lines[:48, :64], lines[rows : rows + 24, :64]])
    np.testing.assert_array_equal(frame.as_rgb(), Frame(packed, "nv12").as_rgb())
    with pytest.raises(SourceError, match="cut short"):
        picture_of(GstVideo, caps, buffer, data[: -1 - (stride - 64)], "it")


def test_a_pipeline_that_never_delivers() -> None:
    assert refusal("appsink", timeout_s=0.2).endswith("delivered nothing for 0.2 s")


def test_a_live_pipeline_that_stops_delivering() -> None:
    source = gst("videotestsrc is-live=true ! valve drop=true ! videoconvert ! appsink", 0.2)
    with pytest.raises(StreamLostError, match=r"delivered nothing for 0\.2 s"):
        source.read()
    assert source.read() is None
    source.close()


def test_a_live_pipeline_that_ends_is_lost() -> None:
    source = gst("videotestsrc is-live=true num-buffers=2 ! videoconvert ! appsink")
    assert source.read() is not None
    with pytest.raises(StreamLostError, match="ended after"):
        frames(source)
    source.close()


def test_an_element_that_fails_in_mid_stream() -> None:
    source = gst("videotestsrc ! identity error-after=5 ! videoconvert ! appsink")
    with pytest.raises(SourceError, match="failed: identity"):
        frames(source)
    assert source.read() is None
    source.close()


def test_the_password_of_a_pipeline_is_not_shown() -> None:
    url = "rtsp://joe:s3cret@127.0.0.1:1/x"
    source = gst(f"rtspsrc location={url} ! decodebin ! videoconvert ! appsink", 600)
    with pytest.raises(StreamLostError, match="failed: rtspsrc") as caught:
        source.read()
    source.close()
    assert "s3cret" not in str(caught.value)
    assert "joe:***@127.0.0.1" in str(caught.value)


def test_close_ends_a_read_of_another_thread() -> None:
    source = gst("videotestsrc is-live=true ! valve drop=true ! videoconvert ! appsink", 600)
    said: list[Any] = []
    reader = threading.Thread(target=lambda: said.append(source.read()))
    reader.start()
    time.sleep(0.1)
    source.close()
    source.close()
    reader.join(30)
    assert not reader.is_alive()
    assert said == [None]


def open_things() -> tuple[int, int]:
    """Descriptors and threads of this process."""
    gc.collect()
    process = Path("/proc/self")
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
@pytest.mark.parametrize("live", ["true", "false"])
def test_opening_and_closing_leaves_nothing_behind(live: str) -> None:
    def once() -> None:
        source = gst(f"videotestsrc is-live={live} ! video/x-raw,format=BGR ! appsink")
        assert source.read() is not None
        source.close()

    for _ in range(5):
        once()
    before = open_things()
    for _ in range(50):
        once()
    deadline = time.monotonic() + 20
    while (after := open_things()) > before and time.monotonic() < deadline:
        time.sleep(0.05)  # GStreamer's pooled threads take a moment
    assert after[0] <= before[0]
    assert after[1] <= before[1]


def test_csi_elsewhere_than_on_a_jetson() -> None:
    with pytest.raises(SourceError, match="only a Jetson with JetPack has"):
        open_source("csi://0")
    with pytest.raises(SourceError, match="names no sensor; expected a number, such as csi://0"):
        open_source("csi://front")


def test_csi_asks_for_size_and_rate() -> None:
    text = csi_pipeline(2, SourceOptions(width=1280, height=720, fps=59.94))
    assert "sensor-id=2" in text
    assert "width=1280,height=720,framerate=59940/1000" in text
    assert text.endswith("! video/x-raw,format=BGRx ! appsink")
    assert "width=1920,height=1080,framerate=30000/1000" in csi_pipeline(0, SourceOptions())
    raw = csi_pipeline(0, SourceOptions(), "nv12")
    assert raw.endswith("! video/x-raw,format=NV12 ! appsink caps=video/x-raw,format=NV12")
    with pytest.raises(SourceError, match="pixels is 'rgb'; expected bgr or nv12"):
        open_source("csi://0#pixels=rgb")
