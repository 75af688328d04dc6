"""Tells systemd how the service is doing; does nothing where there is no systemd."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping

__all__ = ["Notifier"]

LONGEST_S = 1200.0  # that something long may take: engine builds take minutes
_SEND_S = 1.0  # that systemd may take to make room in its queue


class Notifier:
    """Sends `sd_notify` messages to the socket that the unit's `Type=notify` provides.

    Messages that cannot be sent are dropped: a service goes on without its manager.

    Args:
        environment: with `NOTIFY_SOCKET` and `WATCHDOG_USEC`; None for the process's.

    Attributes:
        active: whether anybody listens.
        watchdog_s: systemd restarts the service after so many seconds without a `beat`; None where
            it does not watch.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        environment = os.environ if environment is None else environment
        address = environment.get("NOTIFY_SOCKET", "")
        self.active = address[:1] in ("/", "@")
        # A leading @ stands for the NUL of a socket in the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = _watchdog_s(environment) if self.active else None
        self._beaten_at = float("-inf")

    def ready(self, status: str) -> bool:
        """The service has started, or has reloaded."""
        return self._send(READY="1", STATUS=status)

    def reloading(self) -> bool:
        """A reload has begun; `ready` ends it."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send(RELOADING="1", MONOTONIC_USEC=str(now), STATUS="reloading")

    def stopping(self, status: str = "draining") -> bool:
        """The service has begun to end."""
        return self._send(STOPPING="1", STATUS=status)

    def status(self, text: str) -> bool:
        """One line that `systemctl status` shows."""
        return self._send(STATUS=text)

    def beat(self) -> bool:
        """All is well; may be called as often as one likes, and is sent as often as needed."""
        now = time.monotonic()
        if self.watchdog_s is None or now - self._beaten_at < self.watchdog_s / 4:
            return False
        self._beaten_at = now
        return self._send(WATCHDOG="1")

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Beats from another thread during something long, such as loading a guard."""
        done = threading.Event()

        def beat() -> None:
            until = time.monotonic() + LONGEST_S
            while not done.wait(1.0) and time.monotonic() < until:
                self.beat()

        thread = threading.Thread(target=beat, name="blurvote-beat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _send(self, **fields: str) -> bool:
        """Whether the message went out."""
        if not self.active:
            return False
        lines = "\n".join(f"{key}={' '.join(value.split())}" for key, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.settimeout(_SEND_S)
                sender.sendto(lines.encode(errors="replace"), self._address)
        except OSError:
            return False
        return True


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    given, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if not (given.isascii() and given.isdecimal() and int(given)):
        return None
    if pid is not None and pid != str(os.getpid()):
        return None  # meant for the process that started this one
    return int(given) / 1e6
