"""Windows: with a fake OpenCV, and on a real (virtual) screen where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime.sinks import WindowSink, open_sink, window
from tests.runtime.sinks.material import context, event, observation, picture, refusal


class Screen:
    """What of OpenCV a window needs, without a screen."""

    WINDOW_NORMAL, WINDOW_KEEPRATIO, WND_PROP_VISIBLE = 0, 0, 4
    error = cv2.error

    def __init__(self) -> None:
        self.key = -1
        self.shown: dict[str, Any] = {}
        self.sizes: dict[str, tuple[int, int]] = {}
        self.visible = 1.0
        self.fails = False

    def namedWindow(self, title: str, flags: int) -> None:
        self.shown[title] = None

    def resizeWindow(self, title: str, width: int, height: int) -> None:
        self.sizes[title] = (width, height)

    def imshow(self, title: str, pixels: np.ndarray) -> None:
        if self.fails:
            raise cv2.error("no luck")
        self.shown[title] = pixels

    def waitKey(self, milliseconds: int) -> int:
        return self.key

    def getWindowProperty(self, title: str, which: int) -> float:
        return self.visible

    def destroyAllWindows(self) -> None:
        self.shown.clear()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    fake = Screen()
    monkeypatch.setattr(window, "cv2", fake)
    monkeypatch.setattr(window, "PROBE", "")
    return fake


def test_a_window_for_each_camera(screen: Screen) -> None:
    sink = open_sink("window:Gate", context())
    assert isinstance(sink, WindowSink)
    assert sink.holds_pictures
    sink.write(observation(0, "a", picture(720, 2560)))
    sink.write(observation(0, "b", picture(48, 64)))
    sink.write(observation(1, "a", picture(720, 2560)))
    sink.tell(event())
    assert [*screen.shown] == ["Gate", "Gate: b"]
    assert screen.sizes["Gate"][0] == 1280
    assert screen.sizes["Gate: b"][0] == 64
    sink.close()
    assert screen.shown == {}


@pytest.mark.parametrize("how", ["esc", "q", "closed"])
def test_ways_to_stop_the_run(screen: Screen, how: str) -> None:
    stopped: list[bool] = []
    sink = open_sink("window:", context(stop=lambda: stopped.append(True)))
    screen.key = ord("x")
    sink.write(observation(0))
    assert stopped == []
    assert [*screen.shown] == ["blurvote"]
    screen.key = {"esc": 27, "q": ord("q"), "closed": -1}[how]
    screen.visible = 0.0 if how == "closed" else 1.0
    sink.write(observation(1))
    sink.write(observation(2))  # what still waited opens no window again
    assert stopped == [True]
    assert screen.shown == {}
    sink.close()


def test_a_screen_that_goes_away(screen: Screen) -> None:
    sink = open_sink("window:", context())
    screen.fails = True
    assert refusal(lambda: sink.write(observation())).startswith("the window cannot be drawn: ")


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (
            "import sys; sys.exit('The function is not implemented. Rebuild the library')",
            "window: needs an OpenCV with windows, and this one is headless; pip uninstall "
            "opencv-python-headless, then pip install opencv-python",
        ),
        (
            "import os, sys; print('could not\\nconnect', file=sys.stderr, flush=True); os.abort()",
            "window: no window can be opened; is there a display (DISPLAY, WAYLAND_DISPLAY)? "
            "OpenCV says: could not connect",
        ),
    ],
)
def test_no_window_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, probe: str, message: str
) -> None:
    monkeypatch.setattr(window, "PROBE", probe)
    assert refusal(lambda: open_sink("window:", context())) == message


def test_no_display_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert refusal(lambda: open_sink("window:", context())).startswith("window: ")


SHOW = """
import sys, threading, time
from tests.runtime.sinks.material import context, observation, until
from blurvote.runtime.pipeline.delivery import Delivery
from blurvote.runtime.sinks import open_sink
stopped = threading.Event()
sink = open_sink("window:Gate", context(stop=stopped.set))
delivery = Delivery("window", sink, "drop")
found = set()
import subprocess
for number in range(600):
    for camera in "ab":
        delivery.put(observation(number, camera))
    time.sleep(0.02)
    if number % 20 == 19:
        tree = subprocess.run(["xwininfo", "-root", "-tree"], capture_output=True, text=True).stdout
        found |= {name for name in ("Gate", "Gate: b") if f'"{name}"' in tree}
        if len(found) == 2:
            break
delivery.close()
print(sorted(found), delivery.snapshot()["delivered"] > 5, delivery.snapshot()["last_error"])
"""


@pytest.mark.skipif(
    shutil.which("xvfb-run") is None or shutil.which("xwininfo") is None,
    reason="needs Debian's packages xvfb and x11-utils",
)
def test_windows_on_a_real_screen() -> None:
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "PYTHONPATH": root, "OPENCV_LOG_LEVEL": "OFF"}
    environment.pop("WAYLAND_DISPLAY", None)
    ran = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-c", SHOW],
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    if "headless" in ran.stderr:
        pytest.skip("this OpenCV has no windows")
    assert ran.stdout.splitlines()[-1:] == ["['Gate', 'Gate: b'] True None"], ran.stderr
