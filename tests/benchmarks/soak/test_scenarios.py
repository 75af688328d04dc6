"""Every scenario once, in a few seconds, with all its checks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blurvote.benchmarks.soak.catalogue import SCENARIOS
from blurvote.benchmarks.soak.films import damage_file, draw_film
from blurvote.benchmarks.soak.rtsp import missing_gstreamer
from blurvote.benchmarks.soak.session import SHORT_S, run_scenario
from blurvote.benchmarks.soak.setup import Scenario, Setup
from blurvote.runtime.demo import guard_path

WITH_FAULTS = {"rtsp-kill", "rtsp-stall", "rtsp-slow", "rtsp-resize", "corrupt-h264", "broker"}
WITH_FAULTS |= {"full-disk", "rtsp-come-and-go", "service"}


@pytest.mark.parametrize("name", SCENARIOS)
def test_short(name: str) -> None:
    outcome = run_scenario(SCENARIOS[name], guard_path("views"), SHORT_S, None, short=True)
    if outcome.status == "skipped":
        pytest.skip(outcome.reason)
    failed = [f"{check.name}: {check.detail}" for check in outcome.checks if not check.passed]
    assert (outcome.status, failed, outcome.reason) == ("passed", [], "")
    assert len(outcome.checks) >= 5
    assert set(outcome.usage) == {"start", "end"}
    assert bool(outcome.faults) == (name in WITH_FAULTS)
    assert all(fault.back_after_s is not None for fault in outcome.faults)


def _unable(setup: Setup) -> None:
    raise AssertionError("this is not called here")


def test_a_process_that_dies_is_a_failure() -> None:
    unknown = Scenario("no-such-scenario", "none", 1.0, _unable)  # type: ignore[arg-type]
    outcome = run_scenario(unknown, guard_path("views"), 1.0, None, short=True)
    assert outcome.status == "failed"
    assert outcome.reason == "its process ended with status 1"


def test_ctrl_c_gives_everything_back(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "blurvote.benchmarks.soak.worker", "fast-4k"]
    command += [str(tmp_path / "out.json"), "--guard", str(guard_path("views")), "--seconds", "60"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, env=environment)
    deadline = time.monotonic() + 60
    tasks = Path("/proc") / str(process.pid) / "task"
    while len(list(tasks.iterdir())) < 6 or not list(tmp_path.glob("blurvote-soak-*")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert list(tmp_path.glob("blurvote-soak-*")) == []


@pytest.mark.skipif(missing_gstreamer() is not None, reason=str(missing_gstreamer()))
def test_damage_goes_where_it_should(tmp_path: Path) -> None:
    clean = draw_film(tmp_path / "clean.mp4", frames=50)
    none, some = tmp_path / "none.mp4", tmp_path / "some.mp4"
    assert damage_file(clean, none, 0.0) == 0
    damaged = damage_file(clean, some, 0.5)
    assert 10 < damaged < 40
    before, after = none.read_bytes(), some.read_bytes()
    assert len(before) == len(after)
    changed = [at for at, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert damaged <= len(changed) < len(before) / 50
    start = before.index(b"mdat")
    end = start - 4 + int.from_bytes(before[start - 4 : start], "big")
    assert start < min(changed)
    assert max(changed) < end
