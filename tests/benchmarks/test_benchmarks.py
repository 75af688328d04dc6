"""The benchmarks measure what they say: method, peers, output; and ratios in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blurvote.benchmarks import report
from blurvote.benchmarks.latency import memory
from blurvote.runtime import GuardError, SinkError
from blurvote.runtime.demo import guard_path

Main = Callable[[], None]


def run(main: Main, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    main()


def test_tables_line_up() -> None:
    text = report.table(["name", "ms"], [["a", 1.0], ["longer", 23.4567]])
    assert text.splitlines() == [
        "| name   |     ms |",
        "|--------|-------:|",
        "| a      |  1.000 |",
        "| longer | 23.457 |",
    ]


def test_memory_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_info:
        run(
            memory.main,
            monkeypatch,
            guard_path("views"),
            "--minutes",
            "0.05",
            "--json",
            "--limit",
            "200",
        )
    assert exit_info.value.code == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["refused"] > 0
    assert results["resident_MiB_at_end"] > 10


def test_mistakes_are_explained(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    args = argparse.Namespace(json=False, out=str(tmp_path / "file" / "x"))
    with pytest.raises(SinkError, match=r"file/.*memory.json cannot be written"):
        report.publish(args, "memory", {}, "")


def test_a_mistake_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def no_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    def no_guard() -> None:
        raise GuardError("x.onnx is not a file")

    for main, text in ((no_torch, "'torch'; pip install it"), (no_guard, "is not a file")):
        with pytest.raises(SystemExit) as exit_info:
            report.entry(main)
        assert exit_info.value.code == 2
        printed = capsys.readouterr().err
        assert text in printed
        assert printed.count("\n") == 1
