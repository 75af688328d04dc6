"""What tests of sinks share: observations, a context, pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import Defense, Frame, SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks import SinkContext
from blurvote.runtime.verdict import StageTimes, Verdict

A_WHILE = 30.0


def picture(height: int = 48, width: int = 64, shade: int = 200) -> np.ndarray:
    """A (height, width, 3) uint8 BGR picture of one shade of red."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 2] = shade
    return pixels


def rate(fps: float) -> Callable[[], float]:
    return lambda: fps


def context(fps: float = 10.0, **more: Any) -> SinkContext:
    return SinkContext(Defense(), ("red", "green"), rate(fps), **more)


def verdict(number: int = 0, confidence: float = 0.9) -> Verdict:
    times = StageTimes(1.0, 2.0, 0.1)
    return Verdict(0, "red", None, confidence, 3, (0, 0, 0), "batched", times, "a", number, 5.0)


def observation(
    number: int = 0,
    camera: str = "a",
    pixels: np.ndarray | None = None,
    confidence: float = 0.9,
    captured_at: float | None = None,
) -> Observation:
    taken = time.monotonic() if captured_at is None else captured_at
    frame = Frame(picture() if pixels is None else pixels, "bgr", "a/cat.png", number, taken)
    return Observation(camera, frame, verdict(number, confidence), 1.5)


def event(camera: str | None = None, **data: Any) -> Event:
    return Event("state", camera, "hello", 1.5, data)


def frames_of(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        ok, pixels = capture.read()
        if not ok:
            capture.release()
            return frames
        frames.append(pixels)


def refusal(act: Callable[[], Any]) -> str:
    with pytest.raises(SinkError) as caught:
        act()
    return str(caught.value)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + A_WHILE
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
