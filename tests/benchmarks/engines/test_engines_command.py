"""`blurvote engines` as a user runs it: two files of one model, of which one is worse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from blurvote.benchmarks.engines import session
from blurvote.benchmarks.engines.candidates import ALL, parse_engine
from blurvote.benchmarks.timing import Method
from blurvote.runtime import Defense, Guard, SourceError, cli

NAMES = ("red", "green", "blue")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Class folders of four pictures each, some close to another class."""
    random = np.random.default_rng(0)
    for label, name in enumerate(NAMES):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for n in range(4):
            pixels = random.integers(0, 200, (40 + n, 48 - n, 3)).astype(np.uint8)
            pixels[..., label] = np.clip(pixels[..., label].astype(int) + 10 + 12 * n, 0, 255)
            cv2.imwrite(str(folder / f"{n}.png"), pixels[..., ::-1])
    return tmp_path / "pictures"


@pytest.fixture
def two(make_guard: Callable[..., Path]) -> tuple[Path, Path]:
    """A guard, and the same whose classifier takes green for blue and blue for green."""
    right, wrong = make_guard("right.onnx"), make_guard("wrong.onnx")
    model = onnx.load(str(wrong))
    weights = next(one for one in model.graph.initializer if one.name == "weights")
    swapped = numpy_helper.to_array(weights)[:, [0, 2, 1]]
    weights.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(swapped), "weights"))
    onnx.save(model, str(wrong))
    return right, wrong


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    brief = Method(turn_s=0.002, window_s=0.05, max_windows=3, budget_s=0.1, warm_s=0.01)
    monkeypatch.setattr(session, "Method", lambda **given: brief)


def engines(*arguments: object) -> int:
    return cli.main(["engines", *map(str, arguments)])


def results(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "engines" / "right" / "engines.json").read_text())
    return found


def test_times_and_accuracies_of_both_files(
    two: tuple[Path, Path], pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ("--engines", "cpu", "--truth", pictures, "--degradations", "gaussian:0,0.3")
    size = ("--frame-size", "96x128", "--workers", 1, "--no-peers", "-o", out)
    assert engines(*two, *arguments, *size) in (0, 1)  # 1: no drawn frame divides the views
    found = results(out)
    assert [one["name"] for one in found["candidates"]] == ["right.onnx, cpu", "wrong.onnx, cpu"]
    for times in found["latency"]["times"].values():
        assert times["views"] > 0
        assert set(times["inference"]) == {"2", "3"}
        assert times["agree"]["median"] > times["inference"]["2"]
        assert times["auto"] in ("batched", "cascade")

    clean = [found["accuracies"][name][0] for name in ("right.onnx, cpu", "wrong.onnx, cpu")]
    assert clean[0]["against"] is None
    # Independently: the deployed guards on the same files, whose verdicts are the majority's.
    verdicts = []
    for path in two:
        with Guard(path, "cpu") as guard:
            verdicts.append(
                [
                    (guard.classify(cv2.imread(str(file)), "bgr").label, NAMES.index(folder.name))
                    for folder in sorted(pictures.iterdir(), key=lambda one: NAMES.index(one.name))
                    for file in sorted(folder.iterdir())
                ]
            )
    right = [np.mean([label == truth for label, truth in one]) for one in verdicts]
    assert [one["row"]["over_all"]["value"] for one in clean] == pytest.approx(right)
    same = np.mean([a == b for (a, _), (b, _) in zip(*verdicts, strict=True)])
    assert clean[1]["against"]["verdicts"]["value"] == pytest.approx(same)
    assert clean[1]["against"]["accepted"]["value"] < -0.3
    assert clean[1]["against"]["rejected"]["value"] == 0
    folder = out / "engines" / "right"
    assert "wrong.onnx" in (folder / "engines.md").read_text()
    assert cv2.imread(str(folder / "engines.png")).shape[1] == 1600
    assert "right.onnx" in capsys.readouterr().out

    # Again: every answer is there already, and the same.
    assert engines(*two, *arguments, "--no-times", "--workers", 1, "-o", out) == 0
    assert results(out)["accuracies"] == found["accuracies"]


def test_openvino_beside_onnx_runtime_and_its_peers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    from blurvote.runtime.demo import guard_path

    arguments = ("--engines", "cpu,openvino", "--frame-size", "96x128", "--json")
    assert engines(guard_path("views"), *arguments, "-o", tmp_path) in (0, 1)
    found = json.loads(capsys.readouterr().out)
    assert [one["provider"] for one in found["candidates"]] == ["cpu", "openvino"]
    assert found["latency"]["fastest"] in found["latency"]["peers"]
    for peer in found["latency"]["peers"].values():
        assert peer["checked"]["failed"] is None
    for times in found["latency"]["times"].values():
        ratio = times["ratios"]["batched"]["median"]
        fastest = found["latency"]["peers"][found["latency"]["fastest"]]["timing"]["median"]
        assert ratio == pytest.approx(times["batched"]["median"] / fastest, rel=1.0)


def test_without_engines_named_those_that_are_not_here_are_told(
    two: tuple[Path, Path], tmp_path: Path
) -> None:
    arguments = ("--frame-size", "96x128", "--no-peers", "-o", tmp_path)
    assert engines(two[0], *arguments) in (0, 1)
    found = results(tmp_path)
    there = {one["name"].split(", ")[1] for one in found["candidates"]}
    names = {p if c == "fp32" else f"{p} {c}" for p, c in ALL}
    assert there | found["skipped"].keys() >= names
    assert "cpu" in there


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (("--engines", "npu"), "--engines npu: expected some of cpu,"),
        (("--engines", "cpu:bf16"), "--engines cpu:bf16: expected some of"),
        (("--no-times",), "--no-times leaves nothing to measure"),
        (("--engines", "cpu", "--truth", "nowhere"), "nowhere is neither a folder"),
    ],
)
def test_mistakes_are_one_line(
    make_guard: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    given: tuple[str, ...],
    text: str,
) -> None:
    assert engines(make_guard(), *given) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_files_of_different_models_are_refused(
    make_guard: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_guard("other.onnx", defense=Defense(resize=20, crop=(16, 16), sigma=2.0))
    assert engines(make_guard(), other) == 2
    assert "another defence" in capsys.readouterr().err
    unnamed = make_guard("unnamed.onnx", labels=False)
    assert engines(make_guard(), unnamed) == 2
    assert "other labels" in capsys.readouterr().err
    assert engines(make_guard(), make_guard()) == 2
    assert "the same name" in capsys.readouterr().err
    mean = make_guard("mean.onnx", defense=Defense(resize=20, crop=(16, 16), decision="mean"))
    assert engines(mean) == 2
    assert "decides by mean" in capsys.readouterr().err


def test_engines_are_named_by_provider_and_compute() -> None:
    assert parse_engine("openvino:bf16") == ("openvino", "bf16")
    assert parse_engine("cuda") == ("cuda", "fp32")
    with pytest.raises(SourceError):
        parse_engine("auto")
