"""OpenCV's capture, made safe to close from another thread."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Capture"]


class Capture:
    """Wraps an open `cv2.VideoCapture`, which crashes when it is released while it reads."""

    def __init__(self, capture: Any) -> None:
        self.closed = False
        self.frames_per_second: float | None = float(capture.get(cv2.CAP_PROP_FPS)) or None
        self._capture = capture
        self._lock = threading.Lock()

    def get(self, number: int) -> float:
        """The property of that number; 0 once closed."""
        with self._lock:
            return 0.0 if self.closed else float(self._capture.get(number))

    def read(self) -> NDArray[np.uint8] | None:
        """The next picture, `(H, W, 3)` BGR; None where there is none, and once closed."""
        with self._lock:
            if self.closed:
                return None
            ok, pixels = self._capture.read()
        return pixels if ok and not self.closed else None

    def close(self) -> None:
        """Waits for a `read` of another thread."""
        self.closed = True
        with self._lock:
            self._capture.release()
