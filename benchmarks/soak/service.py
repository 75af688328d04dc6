"""`blurvote run --config` as a process, with everything on and everything going wrong at once."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from blurvote.benchmarks.soak.outcome import Check, Fault, Outcome, Skipped
from blurvote.benchmarks.soak.rtsp import RtspServer, free_port, pattern
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_gstreamer, need_mosquitto, say

__all__ = ["SCENARIOS"]

_WITHIN_S = 60.0
_SUMS = re.compile(r"(\S+): (\d+) frames = (\d+) verdicts \+ (\d+) dropped \+ (\d+) pending; ")


class _Service:
    """The process, and the JSON lines of its log."""

    def __init__(self, config: Path) -> None:
        self.log: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "blurvote.runtime.cli", "run", "--config", str(config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._collect, name="soak-log", daemon=True)
        self._reader.start()

    def _collect(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.log.append({**json.loads(line), "seen": time.monotonic()})

    def told(self, since: float, *words: str) -> dict[str, Any] | None:
        """The first line since then that has all the words."""
        for line in [*self.log]:
            if line["seen"] >= since and all(word in line["text"] for word in words):
                return line
        return None

    def wait(self, since: float, *words: str) -> dict[str, Any]:
        """The same, once it comes.

        Raises:
            TimeoutError: it did not come.
        """
        _until(lambda: self.told(since, *words), f"{words} in the log")
        found = self.told(since, *words)
        assert found is not None
        return found

    def end(self) -> int:
        """Its exit status, after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(_WITHIN_S)
        self._reader.join(_WITHIN_S)
        return status

    def close(self) -> None:
        """Kills it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reader.join(_WITHIN_S)
        if self.process.stderr is not None:
            self.process.stderr.close()


def _until(true: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come within {_WITHIN_S:g} s")
        time.sleep(0.02)


class _Visitor:
    """Asks the live page for its figures again and again."""

    def __init__(self, port: int) -> None:
        self.answers = self.failures = 0
        self._url = f"http://127.0.0.1:{port}"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-visitor", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def get(self, path: str) -> str:
        """What it says, or an empty text."""
        try:
            with urllib.request.urlopen(self._url + path, timeout=5.0) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return ""

    def _run(self) -> None:
        while not self._over.wait(0.1):
            good = bool(self.get("/healthz")) and "blurvote_" in self.get("/metrics")
            self.answers += good
            self.failures += not good

    def close(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(10.0)


def _usage(pid: int) -> dict[str, float]:
    """Of the process, as `Outcome.usage` has it."""
    folder = Path("/proc") / str(pid)
    pages = int((folder / "statm").read_text().split()[1])
    return {
        "rss_mib": pages * os.sysconf("SC_PAGE_SIZE") / 2**20,
        "threads": sum(1 for _ in (folder / "task").iterdir()),
        "files": sum(1 for _ in (folder / "fd").iterdir()),
    }


def _config(setup: Setup, port: int, broker_port: int, cameras: dict[str, str]) -> str:
    entries = "".join(f'\n[[cameras]]\nname = "{n}"\nuri = "{uri}"\n' for n, uri in cameras.items())
    return (
        f'guard = "{setup.guard.absolute()}"\nprovider = "cpu"\n'
        f'sinks = ["verdicts.jsonl", "mqtt://127.0.0.1:{broker_port}/soak"]\n'
        '[defaults]\nsmoothing = "3 of 5"\nalarm = true\n'
        f'[serve]\naddress = "127.0.0.1:{port}"\n'
        '[log]\nformat = "json"\nevery_s = 0\n' + entries
    )


def _service(setup: Setup) -> Outcome:
    need_gstreamer()
    need_mosquitto()
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise Skipped(f"no {package}; pip install 'blurvote[serve]'")
    from blurvote.benchmarks.soak.broker import running_mosquitto

    began = time.monotonic()
    faults: list[Fault] = []
    checks: list[Check] = []
    facts: dict[str, Any] = {}
    usage: dict[str, dict[str, float]] = {}
    port, config = free_port(), setup.folder / "cameras.toml"
    with contextlib.ExitStack() as stack:
        broker = stack.enter_context(running_mosquitto(setup.folder))
        server = stack.enter_context(RtspServer({"a": pattern(), "b": pattern(kind="ball")}))
        cameras = {"gate": server.url("a"), "yard": server.url("b")}
        config.write_text(_config(setup, port, broker.port, cameras))
        service = _Service(config)
        stack.callback(service.close)
        service.wait(0.0, "gate is live")
        service.wait(0.0, "yard is live")
        visitor = _Visitor(port)
        stack.callback(visitor.close)
        _until(lambda: visitor.get("/readyz"), "readiness")
        visitor.start()
        pause_s = max(0.5, setup.seconds / 8)
        time.sleep(pause_s)
        usage["start"] = _usage(service.process.pid)

        since = time.monotonic()
        cameras["roof"] = "synthetic:?live=1&fps=20"
        config.write_text(_config(setup, port, broker.port, cameras))
        service.process.send_signal(signal.SIGHUP)
        service.wait(since, "reloaded", "2 cameras go on", "1 added")
        service.wait(since, "roof is live")
        facts["a camera added by SIGHUP is live after, s"] = round(time.monotonic() - since, 2)
        time.sleep(pause_s)

        since = time.monotonic()
        server.kill()
        broker.kill()
        time.sleep(pause_s)
        server.restart()
        broker.start()
        removed = time.monotonic()
        for name in ("gate", "yard"):
            lost = service.wait(since, f"{name} is lost")
            live = service.wait(removed - 0.2, f"{name} is live")
            faults.append(
                Fault(
                    "RTSP server and broker killed, started again",
                    name,
                    since - began,
                    removed - since,
                    lost["text"],
                    lost["seen"] - since,
                    live["seen"] - lost["seen"],
                    live["seen"] - removed,
                )
            )
        works = service.told(since, "mqtt", "works again") or service.wait(since, "works again")
        facts["the mqtt sink works again after, s"] = round(works["seen"] - removed, 2)
        time.sleep(pause_s)
        visitor.close()
        usage["end"] = _usage(service.process.pid)
        status = service.end()
    checks += _report_checks(service, status, setup.folder / "verdicts.jsonl", facts)
    checks.append(
        Check(
            "the live page answered all the time",
            visitor.answers > 0 and not visitor.failures,
            f"{visitor.answers} answers, {visitor.failures} failures",
        )
    )
    say(f"exit status {status}, {facts}")
    return Outcome(
        "service",
        "passed" if all(check.passed for check in checks) else "failed",
        "blurvote run --config with two RTSP cameras, .jsonl and mqtt sinks, smoothing, alarm and "
        "the live page; SIGHUP adds a camera; RTSP server and broker are killed and started again; "
        "SIGTERM ends it",
        seconds=time.monotonic() - began,
        faults=tuple(faults),
        usage=usage,
        checks=tuple(checks),
        facts=facts,
        events=tuple(f"{x['seen'] - began:8.2f} s  {x['text']}" for x in service.log[-60:]),
    )


def _report_checks(
    service: _Service, status: int, lines: Path, facts: dict[str, Any]
) -> list[Check]:
    """Of what the service said at its end, and of its file."""
    found = {}
    for line in service.log:
        match = _SUMS.search(line["text"])
        if match:
            found[match[1]] = tuple(map(int, match.groups()[1:]))
    written: dict[str, int] = {}
    whole = True
    for text in lines.read_text().splitlines():
        try:
            said = json.loads(text)
        except ValueError:
            whole = False
            continue
        if said["type"] == "verdict":
            written[said["camera"]] = written.get(said["camera"], 0) + 1
    facts["frames, verdicts, dropped, pending"] = found
    facts["lines of verdicts"] = written
    wrong = [name for name, (n, v, d, p) in found.items() if n != v + d or p]
    return [
        Check("SIGTERM ends it with status 0", status == 0, str(status)),
        Check(
            "it reports on all three cameras", {*found} == {"gate", "yard", "roof"}, str([*found])
        ),
        Check("frames = verdicts + dropped, none pending", bool(found) and not wrong, str(found)),
        Check("every line of the file is whole", whole),
        Check(
            "the file has a line for every verdict",
            written == {name: sums[1] for name, sums in found.items()},
            str(written),
        ),
    ]


SCENARIOS = (Scenario("service", "blurvote run --config through all of this", 30.0, _service),)
