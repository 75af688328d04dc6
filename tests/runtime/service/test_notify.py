"""What systemd is told, over a real socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blurvote.runtime.service.notify import Notifier


class Manager:
    """The other end, as systemd has it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(10)

    def notifier(self, **environment: str) -> Notifier:
        return Notifier({"NOTIFY_SOCKET": self.address, **environment})

    def heard(self) -> dict[str, str]:
        lines = self.socket.recv(4096).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture(params=["file", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    abstract = request.param == "abstract"
    made = Manager(f"@blurvote-test-{os.getpid()}" if abstract else str(tmp_path / "notify"))
    yield made
    made.socket.close()


def test_the_life_of_a_service(manager: Manager) -> None:
    notifier = manager.notifier()
    assert notifier.active
    assert notifier.ready("2 cameras")
    assert manager.heard() == {"READY": "1", "STATUS": "2 cameras"}
    before = time.monotonic_ns() // 1000
    assert notifier.reloading()
    heard = manager.heard()
    assert heard["RELOADING"] == "1"
    assert before <= int(heard["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    assert notifier.status("1 of 2 live\nREADY=0")
    assert manager.heard() == {"STATUS": "1 of 2 live READY=0"}
    assert notifier.stopping()
    assert manager.heard() == {"STOPPING": "1", "STATUS": "draining"}


def test_the_watchdog_gets_a_beat_as_often_as_needed(manager: Manager) -> None:
    notifier = manager.notifier(WATCHDOG_USEC="200000", WATCHDOG_PID=str(os.getpid()))
    assert notifier.watchdog_s == 0.2
    assert notifier.beat()
    assert manager.heard() == {"WATCHDOG": "1"}
    asked, deadline = 1, time.monotonic() + 10
    while not notifier.beat() and time.monotonic() < deadline:
        asked += 1
        time.sleep(0.001)
    assert manager.heard() == {"WATCHDOG": "1"}
    assert asked > 3


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "soon"},
        {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"},
    ],
)
def test_without_a_watchdog(manager: Manager, environment: dict[str, str]) -> None:
    notifier = manager.notifier(**environment)
    assert notifier.watchdog_s is None
    assert not notifier.beat()
    assert notifier.status("after")
    assert manager.heard() == {"STATUS": "after"}


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1"])
def test_without_systemd(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    assert not notifier.active
    assert notifier.watchdog_s is None
    for told in (notifier.ready("x"), notifier.reloading(), notifier.stopping(), notifier.beat()):
        assert not told


def test_a_manager_that_is_gone_or_busy_does_no_harm(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("x")
    manager = Manager(str(tmp_path / "busy"))
    notifier = manager.notifier()
    sent = 0
    while notifier.status("x") and sent < 100_000:  # nobody reads, so its queue fills
        sent += 1
    assert 0 < sent < 100_000
    manager.socket.close()
    assert not notifier.status("x")
