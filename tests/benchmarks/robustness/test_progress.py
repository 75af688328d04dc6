"""The line that says how much of a long run is done, and how long the rest takes."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from blurvote.benchmarks.robustness import sweep as sweeping
from blurvote.benchmarks.robustness.journal import Journal
from blurvote.benchmarks.robustness.sweep import Progress, sweep


@dataclass(frozen=True)
class Item:
    key: str


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(sweeping.time, "monotonic", lambda: self.now)


def test_progress_in_a_log_every_half_minute_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Progress("pictures", 100)
    for done in range(1, 101):
        clock.now += 1.0
        progress.update(done)
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "pictures: 30/100, 1 min 10 s left",
        "pictures: 60/100, 0 min 40 s left",
        "pictures: 90/100, 0 min 10 s left",
        "pictures: 100/100, 0 min 00 s left",
    ]


def test_time_left_of_a_resumed_run_is_by_this_runs_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """900 of 1000 were there; 10 take 100 s, so the other 90 take 15 minutes."""
    clock = Clock(monkeypatch)
    progress = Progress("pictures", 1000)
    clock.now += 7.0
    progress.resume(900)
    clock.now += 100.0
    progress.update(910)
    assert capsys.readouterr().err == "pictures: 910/1000, 15 min 00 s left\n"


def test_a_sweep_counts_what_an_earlier_run_did(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = [Item(str(n)) for n in range(6)]
    for some, quiet in ((items[:4], True), (items, False)):
        with Journal(tmp_path / "j", {}) as journal:
            sweep(some, lambda: lambda item: item.key, journal, 1, Progress("items", 6, quiet))
    assert capsys.readouterr().err == "items: 6/6, 0 min 00 s left\n"


def test_progress_on_a_terminal_is_one_line_that_goes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    clock = Clock(monkeypatch)
    progress = Progress("pictures", 10_000)
    for done in (1, 2, 3):
        clock.now += 0.15
        progress.update(done)
    clock.now += 4.0
    progress.update(4)
    progress.close()
    text = capsys.readouterr().err
    assert text.endswith("\r\x1b[K")
    shown = re.findall(r"\r([^\r\x1b]+)\x1b\[K", text)
    assert len(shown) == 2
    assert shown[0] == "pictures: 2/10000, 25 min 00 s left"
    assert shown[1].startswith("pictures: 4/10000, 3 h ")


def test_quiet_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock(monkeypatch)
    progress = Progress("pictures", 2, quiet=True)
    clock.now += 99
    progress.update(2)
    progress.close()
    monkeypatch.setattr(sys, "stderr", None)
    Progress("pictures", 2).update(2)
    monkeypatch.undo()
    assert capsys.readouterr().err == ""
