"""What a soak run leaves behind, and what it returns."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.soak import session
from blurvote.benchmarks.soak.catalogue import SCENARIOS
from blurvote.benchmarks.soak.cli import COMMAND, NAMES
from blurvote.benchmarks.soak.outcome import Check, Fault, Outcome
from blurvote.benchmarks.soak.report import document, markdown, verdict_line
from blurvote.runtime.errors import BlurvoteError

CAMERA = {
    "name": "gate",
    "verdicts": 7,
    "dropped": 3,
    "pending": 0,
    "errors": 0,
    "reconnects": 1,
    "frames": 10,
    "age_ms": {"p50": 2.0, "p99": 9.5, "max": 12.0},
    "longest_gap_s": 1.25,
}
GOOD = Outcome(
    "rtsp-kill",
    "passed",
    "a server was killed",
    seconds=9.0,
    faults=(Fault("killed", "gate", 1.0, 3.0, "gate is lost", 0.01, 4.5, 1.5),),
    cameras=(CAMERA,),
    usage={
        "start": {"rss_mib": 100.0, "threads": 9, "files": 12},
        "end": {"rss_mib": 101.0, "threads": 9, "files": 12},
    },
    checks=(Check("sums", True, "10 = 7 + 3"),),
    facts={"returns": 1},
    events=("1.0 s  gate is lost",),
)
BAD = Outcome("broker", "failed", "a broker", checks=(Check("flat", False, "+9 | MiB"),))
ABSENT = Outcome("full-disk", "skipped", "a disk", "it needs root")


def test_names_are_those_of_the_scenarios() -> None:
    assert tuple(SCENARIOS) == NAMES
    for name, scenario in SCENARIOS.items():
        assert scenario.name == name
        assert name in COMMAND.description


def test_an_outcome_survives_json() -> None:
    for outcome in (GOOD, BAD, ABSENT):
        assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))) == outcome


def test_one_line_each() -> None:
    assert verdict_line(GOOD) == "rtsp-kill: passed (1 of 1 checks passed, 9 s)"
    assert verdict_line(BAD) == "broker: failed: flat (0 of 1 checks passed, 0 s)"
    assert verdict_line(ABSENT) == "full-disk: skipped: it needs root"


def test_the_report_says_all() -> None:
    facts = {"machine": {"cpu": "a chip"}, "guard": "g.onnx", "video": None}
    text = markdown(facts, [GOOD, BAD, ABSENT])
    for said in (
        "Guard `g.onnx`, a drawn film; a chip",
        "100 to 101",
        "## rtsp-kill: passed",
        "gate is lost",
        "## broker: failed",
        "+9 \\| MiB",
        "Reason: it needs root.",
        "- returns: 1",
    ):
        assert said in text
    fault = next(line for line in text.splitlines() if "killed" in line and line.startswith("|"))
    assert [cell.strip() for cell in fault.strip("|").split("|")][-3:] == ["0.01", "4.50", "1.50"]
    assert document(facts, [GOOD])["scenarios"][0]["cameras"] == (CAMERA,)


@pytest.fixture
def soak(monkeypatch: pytest.MonkeyPatch, make_guard: Callable[..., Path]) -> Any:
    """Runs the command with outcomes made up; returns the exit status."""

    def call(outcomes: dict[str, Any], *args: str, guard: bool = True) -> int:
        def run_scenario(scenario: Any, *_: Any) -> Outcome:
            found = outcomes[scenario.name]
            if isinstance(found, BaseException):
                raise found
            return found

        monkeypatch.setattr(session, "run_scenario", run_scenario)
        parser = argparse.ArgumentParser()
        COMMAND.configure(parser)
        chosen = ["--scenario", ",".join(outcomes)] if outcomes else []
        given = [str(make_guard())] if guard else []
        return COMMAND.run(parser.parse_args([*given, *chosen, *args]))

    return call


def test_exit_status(soak: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert soak({"rtsp-kill": GOOD, "full-disk": ABSENT}) == 0
    assert "## rtsp-kill: passed" in capsys.readouterr().out
    assert soak({"rtsp-kill": GOOD, "broker": BAD}, "--json") == 1
    printed = json.loads(capsys.readouterr().out)
    assert [one["status"] for one in printed["scenarios"]] == ["passed", "failed"]


def test_ctrl_c_keeps_what_was_finished(soak: Any, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    outcomes = {"rtsp-kill": GOOD, "broker": KeyboardInterrupt(), "full-disk": ABSENT}
    assert soak(outcomes, "-o", str(folder)) == 130
    kept = json.loads((folder / "soak.json").read_text())
    assert kept["schema"] == "blurvote.soak/1"
    assert [one["scenario"] for one in kept["scenarios"]] == ["rtsp-kill"]
    assert "## rtsp-kill" in (folder / "soak.md").read_text()


def test_wrong_use(soak: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        soak({}, "--scenario", "rtsp-kill,nonsense")
    assert "'rtsp-kill,nonsense' is not a list of rtsp-kill, " in capsys.readouterr().err
    with pytest.raises(BlurvoteError, match=r"missing\.mp4 is not a file"):
        soak({"rtsp-kill": GOOD}, "--video", "missing.mp4")
    with pytest.raises(BlurvoteError, match=r"missing\.onnx"):
        soak({"rtsp-kill": GOOD}, str(tmp_path / "missing.onnx"), guard=False)
    (tmp_path / "file").touch()
    with pytest.raises(BlurvoteError, match="cannot be written"):
        soak({"rtsp-kill": GOOD}, "-o", str(tmp_path / "file"))
