"""The benchmarks measure what they say: method, peers, scores, output; and ratios in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blurvote.benchmarks import report
from blurvote.benchmarks.latency import memory
from blurvote.benchmarks.robustness import noise
from blurvote.runtime import SinkError, SourceError
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


def test_scores_by_hand() -> None:
    truth = np.array([0, 1, 2, 0])
    votes = np.array([[0, 0, 1], [0, 1, 1], [0, 1, 2], [2, 2, 2]])
    row = noise.score(np.eye(3, dtype=np.float32)[votes] * 4, truth)
    assert (row["clean"], row["single"], row["double"]) == (0.25, 0.5, 0.5)
    assert row["majority_accepted"] == pytest.approx(2 / 3)
    assert (row["majority_all"], row["rejected"]) == (0.5, 0.25)


def test_confidence_keeps_the_surest() -> None:
    shares = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]], np.float32)
    assert noise.most_confident(shares, np.array([0, 1, 0]), 1) == 1
    assert noise.most_confident(shares, np.array([0, 1, 0]), 3) == pytest.approx(1 / 3)
    assert np.isnan(noise.most_confident(shares, np.array([0, 1, 0]), 0))


def test_noise_benchmark(
    monkeypatch: pytest.MonkeyPatch,
    assets: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from blurvote.export import export_guard

    guard = tmp_path / "guard.onnx"
    export_guard(assets / "models" / "mobilenet_v2_1.0_224_quant.onnx", guard)
    images = assets / "images"
    run(
        noise.main,
        monkeypatch,
        guard,
        "--images",
        images / "imagenet-half",
        "--labels",
        images / "imagenet-half.tsv",
        "--limit",
        "6",
        "--sigmas",
        "0,0.25",
        "--json",
    )
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["images"] == 6
    assert set(results["rows"]) == {"0", "0.25"}
    assert results["rows"]["0"]["clean"] >= 0.5


def test_mistakes_are_explained(tmp_path: Path) -> None:
    empty = tmp_path / "labels.tsv"
    empty.write_text("file\tclass_index\tcolour\n")
    with pytest.raises(SourceError, match="holds no lines of file, tab, class index"):
        noise.read_labels(str(empty))
    (tmp_path / "file").write_text("")
    args = argparse.Namespace(json=False, out=str(tmp_path / "file" / "x"))
    with pytest.raises(SinkError, match=r"file/.*noise.json cannot be written"):
        report.publish(args, "noise", {}, "")


def test_a_mistake_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def no_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    def no_labels() -> None:
        noise.read_labels("/dev/null")

    for main, text in ((no_torch, "'torch'; pip install it"), (no_labels, "holds no lines")):
        with pytest.raises(SystemExit) as exit_info:
            report.entry(main)
        assert exit_info.value.code == 2
        printed = capsys.readouterr().err
        assert text in printed
        assert printed.count("\n") == 1
