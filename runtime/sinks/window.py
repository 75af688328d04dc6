"""Annotated pictures in windows on the screen."""

from __future__ import annotations

import subprocess
import sys

import cv2

from blurvote.runtime.errors import SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks.annotated import draw
from blurvote.runtime.sinks.sink import SinkContext

__all__ = ["WindowSink"]

KEYS = (27, ord("q"))  # 27: Esc
WIDEST = 1280  # pixels that a new window takes; it can be made larger
# In a process of its own: without a display Qt aborts the whole process that asks it.
PROBE = "import cv2; cv2.namedWindow('blurvote'); cv2.destroyAllWindows()"


class WindowSink:
    """One window for each camera. Esc, q or closing a window stops the run.

    Windows belong to the thread that writes.

    Args:
        title: what windows are called; with several cameras the camera's name follows.
        context: of the run.

    Raises:
        SinkError: no window can be opened: no display, or an OpenCV without windows.
    """

    holds_pictures = True

    def __init__(self, title: str, context: SinkContext) -> None:
        _check_windows()
        self._title = title or "blurvote"
        self._context = context
        self._windows: dict[str, str] = {}
        self._stopped = False

    def write(self, observation: Observation) -> None:
        if self._stopped:
            return
        picture = draw(observation, self._context)
        window = self._windows.get(observation.camera)
        try:
            if window is None:
                window = self._title
                if self._windows:
                    window = f"{self._title}: {observation.camera}"
                self._windows[observation.camera] = window
                cv2.namedWindow(window, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                height, width = picture.shape[:2]
                scale = min(1.0, WIDEST / width)
                cv2.resizeWindow(window, max(1, int(width * scale)), max(1, int(height * scale)))
            cv2.imshow(window, picture)
            pressed = cv2.waitKey(1) & 0xFF in KEYS
            closed = cv2.getWindowProperty(window, cv2.WND_PROP_VISIBLE) < 1
        except cv2.error as error:
            raise SinkError(f"the window cannot be drawn: {error.err}") from error
        if pressed or closed:
            self._stopped = True
            self._destroy()
            self._context.stop()

    def tell(self, event: Event) -> None:
        """Pictures have no place for events."""

    def close(self) -> None:
        self._destroy()

    def _destroy(self) -> None:
        if self._windows:
            self._windows.clear()
            cv2.destroyAllWindows()
            cv2.waitKey(1)  # lets the toolkit take them off the screen


def _check_windows() -> None:
    try:
        ran = subprocess.run(
            [sys.executable, "-c", PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SinkError(f"window: cannot be tried out: {error}") from error
    if ran.returncode == 0:
        return
    said = " ".join(ran.stderr.split())
    if "not implemented" in said:
        raise SinkError(
            "window: needs an OpenCV with windows, and this one is headless; "
            "pip uninstall opencv-python-headless, then pip install opencv-python"
        )
    raise SinkError(
        "window: no window can be opened; is there a display (DISPLAY, WAYLAND_DISPLAY)? "
        f"OpenCV says: {said[:200] or 'nothing'}"
    )
