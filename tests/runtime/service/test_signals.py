"""Requests by signal, in processes of their own where the signals are real."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from blurvote.runtime.pipeline.process import process_usage
from blurvote.runtime.service import signals
from blurvote.runtime.service.signals import Signals

SCRIPT = """
import signal, sys
from blurvote.runtime.service.signals import Signals
signal.signal(signal.SIGINT, {sigint})
with Signals(reloads={reloads}) as signals:
    print("ready", flush=True)
    try:
        while True:
            signals.wait(60)
            if signals.take_reload():
                print("reload", flush=True)
            elif signals.stop_signal is not None:
                print(signals.stop_signal.name, flush=True)
                if not {drains}:
                    break
    except KeyboardInterrupt:
        print("at once", flush=True)
print("left", flush=True)
"""


class Child:
    """A process that prints what is requested of it."""

    def __init__(
        self, sigint: str = "signal.default_int_handler", reloads: bool = True, drains: bool = False
    ) -> None:
        script = SCRIPT.format(sigint=sigint, reloads=reloads, drains=drains)
        self.process = subprocess.Popen(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def send(self, *numbers: signal.Signals) -> None:
        for number in numbers:
            self.process.send_signal(number)

    def end(self) -> tuple[list[str], int]:
        out, _ = self.process.communicate(timeout=60)
        return out.split("\n")[:-1], self.process.returncode


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_requests_a_drain(number: signal.Signals) -> None:
    child = Child()
    child.send(number)
    assert child.end() == ([number.name, "left"], 0)


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ends_at_once(second: signal.Signals) -> None:
    child = Child(drains=True)
    child.send(signal.SIGTERM)
    assert child.line() == "SIGTERM"
    time.sleep(signals.SAME_REQUEST_S * 1.5)
    child.send(second)
    assert child.end() == (["at once", "left"], 0)


def test_one_request_that_comes_twice_is_one() -> None:
    """As `timeout` sends it: to the process, then to its group."""
    child = Child(drains=True)
    child.send(signal.SIGTERM)
    assert child.line() == "SIGTERM"
    child.send(signal.SIGTERM)
    assert child.line() == "SIGTERM"  # woken, and still draining
    time.sleep(signals.SAME_REQUEST_S * 1.5)
    child.send(signal.SIGTERM)
    assert child.end() == (["at once", "left"], 0)


def test_sighup_reloads_every_time() -> None:
    child = Child()
    for _ in range(3):
        child.send(signal.SIGHUP)
        assert child.line() == "reload"
    child.send(signal.SIGTERM)
    assert child.end() == (["SIGTERM", "left"], 0)


def test_sighup_stops_where_there_is_nothing_to_reload() -> None:
    child = Child(reloads=False)
    child.send(signal.SIGHUP)
    assert child.end() == (["SIGHUP", "left"], 0)


def test_what_the_parent_ignored_stays_ignored() -> None:
    child = Child(sigint="signal.SIG_IGN")
    child.send(signal.SIGINT, signal.SIGINT)
    child.send(signal.SIGHUP)
    assert child.line() == "reload"
    child.send(signal.SIGTERM)
    assert child.end() == (["SIGTERM", "left"], 0)


def test_a_signal_that_reaches_another_thread_ends_the_wait() -> None:
    """The kernel hands a process's signal to any thread that does not block it."""
    with Signals(reloads=True) as watched:
        ready = threading.Event()

        def other() -> None:
            ready.wait(10)
            signal.pthread_kill(threading.get_ident(), signal.SIGHUP)

        thread = threading.Thread(target=other)
        thread.start()
        ready.set()
        woken = watched.wait(30)
        thread.join()
        assert woken
        assert watched.take_reload()
        assert not watched.take_reload()


def test_a_signal_before_the_wait_is_not_slept_through() -> None:
    with Signals() as watched:
        assert not watched.stop_requested
        os.kill(os.getpid(), signal.SIGTERM)
        assert watched.wait(30)
        assert watched.stop_requested
        assert watched.stop_signal is signal.SIGTERM
        assert not watched.wait(0)  # told once; a drain may wait again without spinning


def test_another_thread_can_wake_it() -> None:
    with Signals() as watched:
        assert not watched.wait(0)
        for _ in range(100_000):  # more than the socket holds: never blocks, never fails
            watched.wake()
        assert watched.wait(30)
        assert not watched.wait(0)
        timer = threading.Timer(0.05, watched.wake)
        timer.start()
        assert watched.wait(30)
        timer.join()
    watched.wake()  # late: nobody waits any more
    Signals().wake()  # early: nobody waits yet


def _fail(watched: Signals, numbers: tuple[signal.Signals, ...]) -> None:
    assert all(signal.getsignal(number) == watched._on_signal for number in numbers)
    raise ZeroDivisionError


def test_everything_is_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    descriptors = process_usage()["open_files"]
    watched = Signals()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), watched:
            _fail(watched, numbers)
        assert [signal.getsignal(number) for number in numbers] == before
    assert process_usage()["open_files"] == descriptors
    wakeup = signal.set_wakeup_fd(-1)
    assert wakeup == -1


def test_a_handler_of_somebody_else_is_left_alone() -> None:
    def mine(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, mine)
    try:
        with Signals():
            assert signal.getsignal(signal.SIGTERM) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_nothing_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def other() -> None:
        with Signals() as watched:
            watched.wake()
            seen.extend([watched.wait(30), watched.wait(0), signal.getsignal(signal.SIGTERM)])

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [True, False, before]
