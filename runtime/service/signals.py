"""Signals as requests: SIGTERM and Ctrl-C ask for a drain, SIGHUP for a reload."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["Signals"]

_DEFAULTS = (signal.SIG_DFL, signal.default_int_handler)
# `timeout` and other wrappers signal a process and its group, so one request may come twice.
SAME_REQUEST_S = 0.25
GIVE_UP_S = 45.0  # that a drain may take; systemd's patience (unit.py) is longer


class Signals:
    """Turns signals into requests while it is entered; a context manager for the main thread.

    The first SIGINT or SIGTERM requests a stop. Another one, 0.25 s or more later, raises
    KeyboardInterrupt wherever the main thread is: in `wait` that is harmless, but OpenCV 5's text
    functions have been seen to crash when it reaches them, so leave pictures to other threads.

    A signal that the process was started to ignore (`nohup`, `&` in a script) stays ignored, and
    one that has a handler keeps it: somebody else decides. In other threads nothing is installed,
    so there are no requests, but `wait` and `wake` work.

    Args:
        reloads: what SIGHUP requests: True a reload, False a stop, as when a terminal is closed.

    Attributes:
        stop_signal: the first signal that requested a stop; None before.
        reload_requested: whether there is a reload to take; see `take_reload`.
    """

    def __init__(self, reloads: bool = False) -> None:
        self.stop_signal: signal.Signals | None = None
        self.reload_requested = False
        self._reloads = reloads
        self._stopped_at = 0.0
        self._armed = False
        self._before: dict[signal.Signals, Any] = {}
        self._wakeup_before: int | None = None
        self._reading: socket.socket
        self._writing: socket.socket | None = None

    @property
    def stop_requested(self) -> bool:
        """Whether to drain and end."""
        return self.stop_signal is not None

    def take_reload(self) -> bool:
        """Whether a reload was requested since the last call."""
        taken, self.reload_requested = self.reload_requested, False
        return taken

    def wait(self, timeout_s: float) -> bool:
        """Sleeps for `timeout_s`, less when a signal comes or `wake` is called.

        What came since the last `wait` ends the next one at once, so nothing is slept through.

        Returns:
            Whether it was woken.

        Raises:
            KeyboardInterrupt: a second request to stop.
        """
        woken, _, _ = select.select([self._reading], [], [], max(0.0, timeout_s))
        if not woken:
            return False
        with contextlib.suppress(BlockingIOError):
            while self._reading.recv(4096):
                pass
        return True

    def wake(self) -> None:
        """Ends the `wait` that is going on or comes next; from any thread."""
        writing = self._writing
        with contextlib.suppress(OSError):  # full: it is awake already; closed: nobody waits
            if writing is not None:
                writing.send(b"\0")

    def __enter__(self) -> Signals:
        self._reading, self._writing = socket.socketpair()
        self._reading.setblocking(False)
        self._writing.setblocking(False)
        if threading.current_thread() is not threading.main_thread():
            return self
        # The C handler writes into the socket, whichever thread the signal reached.
        self._wakeup_before = signal.set_wakeup_fd(
            self._writing.fileno(), warn_on_full_buffer=False
        )
        self._armed = True
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM):
            if signal.getsignal(number) in _DEFAULTS:
                self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._armed = False  # a late signal must not tear the clean-up apart
        if self._before:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        if self._wakeup_before is not None:
            signal.set_wakeup_fd(self._wakeup_before)
            self._wakeup_before = None
        self._reading.close()
        if self._writing is not None:
            self._writing.close()

    def _on_signal(self, number: int, stack: FrameType | None) -> None:
        if number == signal.SIGHUP and self._reloads:
            self.reload_requested = True
            return
        now = time.monotonic()
        if self.stop_signal is None:
            self.stop_signal, self._stopped_at = signal.Signals(number), now
            # A write to a pipe that nobody reads would hold up the drain for ever.
            signal.setitimer(signal.ITIMER_REAL, GIVE_UP_S)
        elif self._armed and now - self._stopped_at >= SAME_REQUEST_S:
            raise KeyboardInterrupt
