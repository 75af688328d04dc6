"""The benchmarks measure what they say: method, peers, scores, output; and ratios in one run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blurvote.benchmarks import report, timing
from blurvote.benchmarks.latency import imports, memory, peers, verdict, views, vote
from blurvote.benchmarks.robustness import noise
from blurvote.export import reference
from blurvote.runtime import Defense, SinkError, SourceError, ViewBuilder
from blurvote.runtime.demo import guard_path

Main = Callable[[], None]


def run(main: Main, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", *map(str, arguments)])
    main()


def test_alternatives_take_turns_and_warm_up_uncounted() -> None:
    calls: list[str] = []
    times = timing.interleave(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")},
        rounds=2,
        calls=3,
        pause_s=0,
    )
    turn = ["a"] * 4 + ["b"] * 4
    assert calls == turn * 3
    assert times["a"].calls == times["b"].calls == 6


def test_quantiles() -> None:
    summary = timing.summarise([5.0, 1.0, 2.0, 3.0, 4.0])
    assert (summary.minimum, summary.p25, summary.median, summary.p75) == (1, 2, 3, 4)
    assert summary.mean == 3
    assert json.loads(json.dumps(summary.to_dict()))["median"] == 3


def test_tables_line_up() -> None:
    text = report.table(["name", "ms"], [["a", 1.0], ["longer", 23.4567]])
    assert text.splitlines() == [
        "| name   |     ms |",
        "|--------|-------:|",
        "| a      |  1.000 |",
        "| longer | 23.457 |",
    ]


# What 8-bit arithmetic in between (and, for the fastest way, aliasing) may cost, in standard
# deviations; kornia's float32 is exact to its rounding.
PEERS = {
    "kornia": (lambda frame: peers.kornia_views(peers.to_tensor(frame)).numpy(), 1e-4, 1e-5),
    "area": (peers.opencv_area_views, 0.5, 0.05),
    "fastest": (peers.opencv_fastest_views, 2.0, 0.2),
}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("size", [(375, 500), (500, 375), (720, 1280)])
def test_peers_make_the_same_views(peer: str, size: tuple[int, int]) -> None:
    way, largest, mean = PEERS[peer]
    frame = views.natural_frame(*size)
    difference = np.abs(np.asarray(way(frame)) - reference.build_views(Defense(), frame))
    assert difference.max() < largest
    assert difference.mean() < mean


def test_the_kernel_is_faster_than_its_peers_in_one_run() -> None:
    """Far below the targets, so that a busy machine passes; the benchmark has the figures."""
    frame = views.natural_frame(1080, 1920)
    builder = ViewBuilder(Defense())
    out = builder.build(frame)
    tensor = peers.to_tensor(frame)
    times = timing.interleave(
        {
            "kernel": lambda: builder.build(frame, out),
            "fastest": lambda: peers.opencv_fastest_views(frame),
            "area": lambda: peers.opencv_area_views(frame),
            "kornia": lambda: peers.kornia_views(tensor),
        },
        rounds=3,
        calls=2,
    )
    fastest = {name: summary.minimum / times["kernel"].minimum for name, summary in times.items()}
    assert fastest["fastest"] > 1.5
    assert fastest["area"] > 4
    assert fastest["kornia"] > 15


def test_views_benchmark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(views.main, monkeypatch, "--sizes", "240x320", "--rounds", "1", "--out", tmp_path)
    assert "kornia + torchvision" in capsys.readouterr().out
    document = json.loads((tmp_path / "views.json").read_text())
    result = document["results"]["240x320"]
    assert result["error"]["blurvote, 1 thread"]["largest"] < 1e-4  # of kornia's float64
    assert result["milliseconds"]["read once"]["median"] > 0
    assert document["machine"]["versions"]["numpy"]


def test_vote_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vote, "FRAMES", 5)
    monkeypatch.setattr(vote, "CALLS", 2)
    run(vote.main, monkeypatch, "--json")
    figures = json.loads(capsys.readouterr().out)["results"]["median_us"]
    assert set(figures) == {"C++, float32", "C++, float16", "from Python", "NumPy"}


def test_imports_benchmark(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(imports.main, monkeypatch, "--rounds", "1", "--json")
    assert "added_ms" in json.loads(capsys.readouterr().out)["results"]


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


def test_verdict_benchmark(monkeypatch: pytest.MonkeyPatch, assets: Path, tmp_path: Path) -> None:
    from blurvote.export import export_guard

    guard = tmp_path / "guard.onnx"
    export_guard(assets / "models" / "mobilenet_v2_1.0_224_quant.onnx", guard)
    monkeypatch.setattr(verdict, "SIZES", {"320x240": (240, 320)})
    run(
        verdict.main,
        monkeypatch,
        guard,
        "--images",
        assets / "images" / "imagenet-half",
        "--stills",
        "2",
        "--rounds",
        "1",
        "--out",
        tmp_path,
    )
    figures = json.loads((tmp_path / "verdict.json").read_text())["results"]["guard.onnx"]
    ways = figures["sizes"]["320x240"]["milliseconds"]
    assert set(ways) == {
        "undefended",
        "guard, cascade, views agree",
        "guard, cascade, views differ",
        "guard, batched",
        "OpenCV fastest + ONNX Runtime",
    }
    assert figures["stills"]["images"] == 2


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


def test_mistakes_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "labels.tsv"
    empty.write_text("file\tclass_index\tcolour\n")
    with pytest.raises(SourceError, match="holds no lines of file, tab, class index"):
        noise.read_labels(str(empty))
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(vote, "FRAMES", 2)
    monkeypatch.setattr(vote, "CALLS", 1)
    with pytest.raises(SinkError, match=r"file/.*vote.json cannot be written"):
        run(vote.main, monkeypatch, "--out", tmp_path / "file" / "x")


def test_a_mistake_on_the_command_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def no_torch() -> None:
        raise ModuleNotFoundError("No module named 'torch'")

    def no_labels() -> None:
        noise.read_labels("/dev/null")

    for main, text in ((no_torch, "blurvote[bench]"), (no_labels, "holds no lines")):
        with pytest.raises(SystemExit) as exit_info:
            report.entry(main)
        assert exit_info.value.code == 2
        printed = capsys.readouterr().err
        assert text in printed
        assert printed.count("\n") == 1
