"""`blurvote run` as a process: cameras, signals, a config file, systemd's socket."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import cli

MakeGuard = Callable[..., Path]
CAMERA = "synthetic:?live=1&fps=50&seed={}"
WITHIN_S = 60.0


class Process:
    """A `blurvote run` whose lines of stdout and stderr can be waited for."""

    def __init__(self, *args: object, **environment: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "blurvote.runtime.cli", "run", *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._new: queue.Queue[None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._collect, args=pair)
            for pair in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))
        ]
        for thread in self._threads:
            thread.start()

    def _collect(self, stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line.rstrip("\n"))
            self._new.put(None)
        stream.close()

    def until(self, true: Callable[[], object]) -> None:
        """Waits until what was printed makes it true."""
        while not true():
            try:
                self._new.get(timeout=WITHIN_S)
            except queue.Empty:
                raise AssertionError(f"not seen in {self.out[-5:]} {self.err[-5:]}") from None

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def end(self) -> int:
        """Its exit status, once it and its output have ended."""
        status = self.popen.wait(WITHIN_S)
        for thread in self._threads:
            thread.join(WITHIN_S)
        return status

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out]


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Starts processes; kills those that a failed test leaves."""
    started: list[Process] = []

    def call(*args: object, **environment: str) -> Process:
        started.append(Process(*args, **environment))
        return started[-1]

    yield call
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
        process.end()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=("SIGTERM", "SIGINT")
)
def test_a_signal_drains_and_reports(
    start: Callable[..., Process], make_guard: MakeGuard, number: signal.Signals, status: int
) -> None:
    process = start(make_guard(), CAMERA.format(1), CAMERA.format(2), "--json")
    process.until(lambda: len(process.out) > 40)
    process.send(number)
    assert process.end() == status
    *lines, summary = process.objects
    assert summary["type"] == "summary"
    verdicts = [line for line in lines if line["type"] == "verdict"]
    assert {line["camera"] for line in verdicts} == {CAMERA.format(1), CAMERA.format(2)}
    totals = summary["totals"]
    assert totals["frames"] == totals["verdicts"] + totals["dropped"]
    assert totals["pending"] == 0
    assert len(verdicts) == totals["verdicts"]


def test_lines_for_people_name_every_camera(
    start: Callable[..., Process], make_guard: MakeGuard
) -> None:
    process = start(make_guard(), CAMERA.format(1), CAMERA.format(2), "--quiet", "--max-frames", 60)
    assert process.end() == 0
    assert sorted(process.err) == [f"blurvote: {CAMERA.format(n)} is live" for n in (1, 2)]
    assert process.out[0].startswith("60 frames: ")
    for seed in (1, 2):
        (line,) = [line for line in process.out if line.startswith(f"  {CAMERA.format(seed)}: ")]
        assert "dropped" in line
        assert "age p50" in line


def test_a_reader_who_stops_reading_cannot_hold_up_the_end(make_guard: MakeGuard) -> None:
    code = (
        "import sys\nfrom blurvote.runtime import cli\n"
        "from blurvote.runtime.service import signals\n"
        "signals.GIVE_UP_S = 1.0; sys.exit(cli.main(sys.argv[1:]))"
    )
    args = ["run", str(make_guard()), "synthetic:?live=1&fps=500", "--json"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(1.0)  # until the pipe, of 64 KiB, is full
        process.send_signal(signal.SIGTERM)
        assert process.wait(WITHIN_S) == 130


def test_names_for_cameras(start: Callable[..., Process], make_guard: MakeGuard) -> None:
    process = start(make_guard(), "gate=synthetic:?live=1", "--max-frames", 3, "--json")
    assert process.end() == 0
    assert {line["camera"] for line in process.objects if line["type"] == "verdict"} == {"gate"}


def test_files_and_cameras_together_get_what_they_can_be_asked_for(
    start: Callable[..., Process], make_guard: MakeGuard, tmp_path: Path
) -> None:
    path = tmp_path / "still.png"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    assert cv2.imwrite(str(path), pixels)
    sources = [f"still={path}", "camera=synthetic:?live=1"]
    asked = ["--loop", "--pace", "--fps", 20, "--width", 160, "--height", 120]
    process = start(make_guard(), *sources, *asked, "--max-frames", 120, "--json")
    assert process.end() == 0
    *_, summary = process.objects
    sizes = {camera["name"]: camera["size"] for camera in summary["cameras"]}
    assert sizes == {"still": [64, 48], "camera": [160, 120]}


def config(folder: Path, guard: Path, cameras: dict[str, str], more: str = "") -> Path:
    path = folder / "cameras.toml"
    entries = "".join(
        f'[[cameras]]\nname = "{name}"\nuri = "{uri}"\n' for name, uri in cameras.items()
    )
    path.write_text(f'guard = "{guard}"\n{more}\n{entries}')
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a file that may be growing: what has no end yet is not one."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [json.loads(line) for line in whole.splitlines()]


def test_a_service_from_its_config(
    start: Callable[..., Process], make_guard: MakeGuard, tmp_path: Path
) -> None:
    guard = make_guard()
    cameras = {"gate": CAMERA.format(1), "yard": CAMERA.format(2)}
    path = config(tmp_path, guard, cameras, 'sinks = ["out.jsonl"]\n[log]\nformat = "json"')
    out = tmp_path / "out.jsonl"
    address = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.bind(address)
        manager.settimeout(WITHIN_S)
        process = start("--config", path, NOTIFY_SOCKET=address)
        assert b"READY=1" in manager.recv(4096)
        process.until(lambda: any('"gate is live"' in line for line in process.err))
        process.until(lambda: any('"yard is live"' in line for line in process.err))
        # One camera goes, one changes, one comes; the rest of the file is the same.
        config(
            tmp_path,
            guard,
            {"gate": CAMERA.format(1), "roof": CAMERA.format(3)},
            'sinks = ["out.jsonl"]\n[log]\nformat = "json"',
        )
        process.send(signal.SIGHUP)
        assert b"RELOADING=1" in manager.recv(4096)
        assert b"READY=1" in manager.recv(4096)
        process.until(lambda: any('"roof is live"' in line for line in process.err))
        said = [json.loads(line)["text"] for line in process.err]
        assert "reloaded: 1 cameras go on, 0 changed, 1 added, 1 removed" in said
        assert sum(text == "gate is live" for text in said) == 1, "it was not touched"
        # A broken file changes nothing.
        path.write_text("guard = ")
        process.send(signal.SIGHUP)
        assert b"RELOADING=1" in manager.recv(4096)
        process.until(lambda: any("the config was not reloaded" in line for line in process.err))
        manager.recv(4096)
        seen = len(lines_of(out))
        while len(lines_of(out)) < seen + 20:
            assert process.popen.poll() is None
        process.send(signal.SIGTERM)
        assert b"STOPPING=1" in manager.recv(4096)
        assert process.end() == 0
    names = [line["camera"] for line in lines_of(out) if line["type"] == "verdict"]
    assert {"gate", "yard", "roof"} == set(names)
    last = json.loads(process.err[-1])["text"]
    assert "dropped" in last


def test_a_reload_of_another_guard_starts_all_anew(
    start: Callable[..., Process], make_guard: MakeGuard, tmp_path: Path
) -> None:
    cameras = {"gate": CAMERA.format(1)}
    every_line = "[log]\nevery_s = 0"
    path = config(tmp_path, make_guard(), cameras, every_line)
    process = start("--config", path)
    process.until(lambda: any("gate is live" in line for line in process.err))
    config(tmp_path, tmp_path / "no.onnx", cameras, every_line)
    process.send(signal.SIGHUP)
    process.until(lambda: any("was not reloaded" in line for line in process.err))
    config(tmp_path, make_guard("other.onnx"), cameras, every_line)
    process.send(signal.SIGHUP)
    process.until(lambda: any("guard changed, so all was started anew" in x for x in process.err))
    process.until(lambda: sum("gate is live" in line for line in process.err) == 2)
    process.send(signal.SIGTERM)
    assert process.end() == 0


# ---- wrong use ----


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--config", "missing.toml"], "missing.toml"),
        (["g.onnx", "0", "--smooth", "3"], "--smooth is '3'; expected K/N, such as 3/5"),
        (["g.onnx", "0", "--smooth", "2/5"], "smoothing is 2 of 5; expected more than half"),
        (["g.onnx", "0", "--serve", "0.0.0.0:80"], "token"),
        (["g.onnx", "0", "--width", "640"], "width and height go together"),
        (["g.onnx", "0", "--out", "foo://x"], "g.onnx is not a file"),
    ],
)
def test_wrong_use_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    args: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", *args]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("blurvote: error: ")
    assert said in printed.err
    assert printed.err.count("\n") == 1


def test_check_prints_the_settings_without_secrets(
    capsys: pytest.CaptureFixture[str], make_guard: MakeGuard, tmp_path: Path
) -> None:
    path = config(tmp_path, make_guard(), {"gate": "rtsp://me:secret@host/live"})
    assert cli.main(["run", "--config", str(path), "--check"]) == 0
    printed = capsys.readouterr().out
    assert "secret" not in printed
    assert json.loads(printed)["cameras"][0]["uri"] == "rtsp://me:***@host/live"


def test_check_names_what_no_kind_of_source_or_sink_is(
    capsys: pytest.CaptureFixture[str], make_guard: MakeGuard, tmp_path: Path
) -> None:
    path = config(
        tmp_path, make_guard(), {"gate": "rtps://host/live"}, 'sinks = ["mqt://x", "a.wmv"]'
    )
    assert cli.main(["run", "--config", str(path), "--check"]) == 2
    said = capsys.readouterr().err
    assert "cameras.toml:5: rtps://host/live is of no known kind" in said
    assert "cameras.toml:2: there is no sink for mqt://" in said


def test_a_config_whose_files_end_is_done(
    start: Callable[..., Process], make_guard: MakeGuard, tmp_path: Path
) -> None:
    path = config(tmp_path, make_guard(), {"clip": "synthetic:?frames=5"})
    process = start("--config", path)
    assert process.end() == 0
    assert any("5 frames: " in line for line in process.err)
