"""Cameras at the machine, played by a fake: what they are asked for, and what they make of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from blurvote.runtime import SourceError, StreamLostError
from blurvote.runtime.frame import check_frame
from blurvote.runtime.sources import SourceOptions, open_source

SIZE = {cv2.CAP_PROP_FRAME_WIDTH: 640.0, cv2.CAP_PROP_FRAME_HEIGHT: 480.0}


class FakeCapture:
    """Takes every property but those in `stubborn`."""

    stubborn: ClassVar[dict[int, float]] = {}
    delivers: ClassVar[tuple[int, int] | None] = None
    made: ClassVar[list[FakeCapture]] = []

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.asked: list[int] = []
        self.values: dict[int, float] = {**SIZE, cv2.CAP_PROP_FPS: 30.0, **self.stubborn}
        self.left, self.released = 3, False
        self.made.append(self)

    def isOpened(self) -> bool:
        return True

    def set(self, number: int, value: float) -> bool:
        self.asked.append(number)
        if number not in self.stubborn:
            self.values[number] = value
        return number not in self.stubborn

    def get(self, number: int) -> float:
        return self.values.get(number, 0.0)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        width, height = self.delivers or tuple(int(self.values[p]) for p in SIZE)
        picture = np.zeros((height, width, 3), np.uint8)
        if self.values.get(cv2.CAP_PROP_CONVERT_RGB) == 0:  # what the driver itself delivers
            shapes = {"YUYV": (height, width, 2), "GREY": (height, width)}
            code = int(self.values[cv2.CAP_PROP_FOURCC])
            name = "".join(chr(code >> 8 * k & 0xFF) for k in range(4))
            picture = np.zeros(shapes.get(name, (height * 3 // 2, width)), np.uint8)
        return (True, picture) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.released = True


@pytest.fixture(autouse=True)
def capture(monkeypatch: pytest.MonkeyPatch) -> type[FakeCapture]:
    fresh: type[FakeCapture] = type("Fresh", (FakeCapture,), {"stubborn": {}, "made": []})
    monkeypatch.setattr(cv2, "VideoCapture", fresh)
    return fresh


def test_a_device_is_opened_by_v4l2_and_asked_for_all(
    capture: type[FakeCapture], tmp_path: Path
) -> None:
    device = tmp_path / "video0"
    device.touch()
    options = SourceOptions(width=1280, height=720, fps=15, codec="MJPG")
    source = open_source(f"v4l2://{device}", options)
    made = capture.made[0]
    assert made.arguments == (str(device), cv2.CAP_V4L2)
    assert made.asked == [
        cv2.CAP_PROP_BUFFERSIZE,
        cv2.CAP_PROP_FOURCC,
        cv2.CAP_PROP_FRAME_WIDTH,
        cv2.CAP_PROP_FRAME_HEIGHT,
        cv2.CAP_PROP_FPS,
    ]
    assert made.values[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert made.values[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter.fourcc(*"MJPG")
    assert source.frames_per_second == 15
    got = source.read()
    assert got is not None
    assert got.pixels.shape == (720, 1280, 3)
    assert got.source == f"v4l2://{device}"
    source.close()
    assert made.released
    assert source.read() is None


@pytest.mark.parametrize(
    ("stubborn", "options", "said"),
    [
        (
            SIZE,
            {"width": 1280, "height": 720},
            "camera:0 has no 1280 x 720 pixels; the nearest it gives are 640 x 480",
        ),
        ({cv2.CAP_PROP_FPS: 25.0}, {"fps": 60}, "camera:0 has no 60 frames/s; it gives 25"),
        (
            {cv2.CAP_PROP_FOURCC: float(cv2.VideoWriter.fourcc(*"YUYV"))},
            {"codec": "MJPG"},
            "camera:0 has no codec MJPG; it delivers 'YUYV'",
        ),
    ],
)
def test_a_camera_that_gives_something_else_is_refused(
    capture: type[FakeCapture],
    stubborn: dict[int, float],
    options: dict[str, Any],
    said: str,
) -> None:
    capture.stubborn = stubborn
    with pytest.raises(SourceError) as caught:
        open_source("0", SourceOptions(**options))
    assert str(caught.value) == said
    assert capture.made[0].released


def test_a_camera_whose_frames_are_not_as_it_says(capture: type[FakeCapture]) -> None:
    capture.delivers = (320, 240)
    source = open_source("0", SourceOptions(width=640, height=480))
    with pytest.raises(SourceError, match="delivers 320 x 240 pixels, not 640 x 480"):
        source.read()


def test_the_time_of_the_driver_counts_if_it_can_be(capture: type[FakeCapture]) -> None:
    source = open_source("0")
    taken = time.monotonic() - 0.04
    capture.made[0].values[cv2.CAP_PROP_POS_MSEC] = taken * 1000
    got = source.read()
    assert got is not None
    assert got.captured_at == pytest.approx(taken)
    before = time.monotonic()
    capture.made[0].values[cv2.CAP_PROP_POS_MSEC] = 1.7e12  # since 1970
    got = source.read()
    assert got is not None
    assert before <= got.captured_at <= time.monotonic()


def test_a_camera_that_dies_is_lost() -> None:
    source = open_source("0")
    for _ in range(3):
        assert source.read() is not None
    with pytest.raises(StreamLostError, match="camera:0 delivers no more frames after 3"):
        source.read()
    assert source.read() is None


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("v4l2:///dev/none", "no such device"),
        ("v4l2://0", "names no device; expected a path, such as v4l2:///dev/video0"),
    ],
)
def test_devices_that_are_not_there(uri: str, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        open_source(uri)


def test_cameras_do_not_loop() -> None:
    with pytest.raises(SourceError, match="cannot be asked for loop and pace"):
        open_source("0", SourceOptions(loop=True, pace=True))


@pytest.mark.parametrize("pixels", ["yuyv", "nv12", "gray"])
def test_a_camera_that_converts_nothing(
    capture: type[FakeCapture], tmp_path: Path, pixels: str
) -> None:
    device = tmp_path / "video0"
    device.touch()
    options = SourceOptions(width=1280, height=720)
    source = open_source(f"v4l2://{device}#pixels={pixels}", options)
    frame = source.read()
    assert frame is not None
    check_frame(frame)
    assert (frame.colour, frame.width, frame.height) == (pixels, 1280, 720)
    assert frame.source == f"v4l2://{device}"
    assert capture.made[0].asked[1] == cv2.CAP_PROP_FOURCC


@pytest.mark.parametrize(
    ("fragment", "codec", "stubborn", "said"),
    [
        ("pixels=rgb", None, {}, "pixels is 'rgb'; expected bgr, yuyv, nv12 or gray"),
        ("size=3", None, {}, "sets 'size'; expected pixels"),
        ("pixels=yuyv", "MJPG", {}, "pixels=yuyv is the codec YUYV, not MJPG"),
        ("pixels=nv12", None, {cv2.CAP_PROP_FOURCC: 0.0}, "has no codec NV12"),
        (
            "pixels=yuyv",
            None,
            {cv2.CAP_PROP_CONVERT_RGB: 1.0},
            "always converts; leave out pixels=yuyv",
        ),
    ],
)
def test_cameras_that_cannot_leave_it_out(
    capture: type[FakeCapture],
    tmp_path: Path,
    fragment: str,
    codec: str | None,
    stubborn: dict[int, float],
    said: str,
) -> None:
    device = tmp_path / "video0"
    device.touch()
    capture.stubborn.update(stubborn)
    with pytest.raises(SourceError, match=said):
        open_source(f"v4l2://{device}#{fragment}", SourceOptions(codec=codec))
    assert all(made.released for made in capture.made)
