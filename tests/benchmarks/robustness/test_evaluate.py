"""`blurvote evaluate` as a user runs it, on a guard that names colours."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import helper

from blurvote.benchmarks.robustness.dataset import open_dataset
from blurvote.benchmarks.robustness.degradations import parse_degradations
from blurvote.benchmarks.robustness.evaluate import measure as measure_module
from blurvote.export import ModelOptions, export_guard
from blurvote.runtime import Defense, Guard, cli
from tests.conftest import colour_classifier

CLASSES = ("red", "green", "blue")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Class folders of four pictures each, odd sizes, some close to another class."""
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for n in range(4):
            size = (23 + n, 31 - n, 3)
            pixels = random.integers(0, 200, size).astype(np.uint8)
            pixels[..., label] = np.minimum(255, pixels[..., label] + 4 * n)
            cv2.imwrite(str(folder / f"{n}.png"), pixels[..., ::-1])
    return tmp_path / "pictures"


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def document(out: Path, name: str = "evaluate", guard: str = "guard") -> dict[str, Any]:
    """The results without what differs from run to run."""
    found: dict[str, Any] = json.loads((out / guard / f"{name}.json").read_text())
    del found["machine"]
    return found


@pytest.mark.parametrize("decision", ["majority", "single"])
def test_figures_are_those_of_the_deployed_guard(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path, decision: str
) -> None:
    guard = make_guard(defense=Defense(resize=20, crop=(16, 16), decision=decision))
    out = tmp_path / "out"
    wanted = "gaussian:0,0.3 impulse:3"
    arguments = ("--degradations", wanted, "--workers", 1, "--seed", 3, "-o", out)
    assert evaluate(guard, pictures, *arguments) == 0
    rows = document(out)["rows"]
    samples = open_dataset(pictures, 3, CLASSES).samples
    with Guard(guard) as deployed:
        for row, degradation in zip(rows, parse_degradations(wanted), strict=True):
            verdicts = [
                deployed.classify(
                    np.asarray(degradation.apply(s.read(), degradation.generator(3, s.index)))
                )
                for s in samples
            ]
            right = sum(v.label == s.label for v, s in zip(verdicts, samples, strict=True))
            accepted = sum(v.accepted for v in verdicts)
            assert row["degradation"] == str(degradation)
            own = row["own_accepted"]
            assert (own["successes"], own["trials"]) == (right, accepted)
            assert row["own_rejected"]["successes"] == 12 - accepted
            if decision == "majority":
                assert row["accepted"] == own
                assert row["over_all"]["successes"] == right
    text = (out / "guard" / "evaluate.md").read_text()
    assert ("guard, accepted" in text) == (decision == "single")


def test_an_interrupted_run_and_two_workers_give_the_same(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guard = make_guard()
    wanted = ("--degradations", "gaussian:0,0.3")
    assert evaluate(guard, pictures, *wanted, "--workers", 2, "-o", tmp_path / "two") == 0
    with monkeypatch.context() as patch:
        real, count = measure_module._row, iter(range(100))

        def interrupted(*arguments: Any) -> Any:
            if next(count) == 9:  # in the middle of the fifth picture
                raise KeyboardInterrupt
            return real(*arguments)

        patch.setattr(measure_module, "_row", interrupted)
        again = (guard, pictures, *wanted, "--workers", 1, "-o", tmp_path / "one")
        assert evaluate(*again) == 130
    journal = tmp_path / "one" / "guard" / "evaluate.jsonl"
    before = journal.read_bytes()
    assert before.count(b"\n") == 1 + 4
    with journal.open("ab") as file:
        file.write(b'{"key": "red/3.png", "resu')  # as a power cut leaves it
    assert evaluate(*again) == 0
    assert journal.read_bytes().startswith(before)
    assert document(tmp_path / "one") == document(tmp_path / "two")


def test_a_larger_limit_keeps_what_a_smaller_one_measured(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    guard, out = make_guard(), tmp_path / "out"
    journal = out / "guard" / "evaluate.jsonl"

    def run(limit: int) -> dict[str, Any]:
        arguments = ("--limit", limit, "--workers", 1, "--degradations", "gaussian:0", "-o", out)
        assert evaluate(guard, pictures, *arguments) == 0
        return document(out)

    small, lines = run(3), journal.read_bytes()
    assert small["rows"][0]["images"] == small["dataset"]["drawn"] == 3
    assert run(7)["rows"][0]["images"] == 7
    assert journal.read_bytes().startswith(lines)
    assert journal.read_bytes().count(b"\n") == 1 + 7
    assert run(3) == small  # the larger run's pictures are left out


def test_other_settings_are_refused_and_fresh_starts_over(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = make_guard()
    start = (guard, pictures, "--limit", 2, "--workers", 1, "-o", tmp_path / "out")
    assert evaluate(*start, "--degradations", "gaussian:0") == 0
    capsys.readouterr()
    assert evaluate(*start, "--degradations", "gaussian:0.1") == 2
    message = capsys.readouterr().err
    assert 'degradations was ["gaussian:0"], is ["gaussian:0.1"]' in message
    assert "--fresh" in message
    assert evaluate(*start, "--degradations", "gaussian:0.1", "--fresh") == 0
    assert [row["degradation"] for row in document(tmp_path / "out")["rows"]] == ["gaussian:0.1"]


def test_unreadable_and_grey_pictures_are_listed(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (pictures / "green" / "broken.png").write_bytes(b"no picture")
    cv2.imwrite(str(pictures / "blue" / "grey.png"), np.full((30, 30, 3), 90, np.uint8))
    cv2.imwrite(str(pictures / "red" / "tiny.png"), np.full((2, 2, 3), (9, 0, 90), np.uint8))
    arguments = ("--degradations", "gaussian:0", "--workers", 1, "-o", tmp_path / "out")
    assert evaluate(make_guard(), pictures, "--colour-only", *arguments) == 1
    found = document(tmp_path / "out")
    assert {entry["key"] for entry in found["skipped"]} == {
        "green/broken.png",
        "blue/grey.png",
        "red/tiny.png",
    }
    assert found["rows"][0]["images"] == 12
    text = capsys.readouterr().out
    assert "1 grey pictures were left out." in text
    assert "2 pictures could not be measured:" in text
    assert "- green/broken.png: " in text


def test_nothing_readable(
    make_guard: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set" / "red").mkdir(parents=True)
    (tmp_path / "set" / "red" / "a.png").write_bytes(b"")
    assert evaluate(make_guard(), tmp_path / "set", "--workers", 1, "-o", tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert "none of 1 pictures could be measured; the first: " in message
    assert "a.png" in message


def test_float_frames_agree_with_8_bit_ones_where_there_is_no_noise(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    rows = {}
    for name, more in (("8-bit", ()), ("float", ("--float-frames",))):
        arguments = ("--degradations", "gaussian:0", "--workers", 1, "-o", tmp_path / name)
        assert evaluate(make_guard(), pictures, *arguments, *more) == 0
        found = document(tmp_path / name)
        assert found["settings"]["delivery"] == name
        rows[name] = found["rows"][0]
    assert rows["float"]["views"] == rows["8-bit"]["views"]
    assert rows["float"]["accepted"] == rows["8-bit"]["accepted"]


def test_other_kernels_and_resize_filters(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("--degradations", "gaussian:0.2", "--workers", 1, "-o", out)
    assert (
        evaluate(make_guard(), pictures, *arguments, "--kernels", "5,7", "--antialias", "both") == 0
    )
    names = [row["variant"] for row in document(out)["rows"]]
    assert names == ["own", "5x5, not antialiased", "7x7, antialiased", "7x7, not antialiased"]
    assert "## Other views: 7x7, antialiased" in (out / "guard" / "evaluate.md").read_text()


def test_json_can_be_parsed_and_is_what_the_file_holds(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("--limit", 4, "--workers", 1, "--json", "-o", tmp_path / "out")
    assert evaluate(make_guard(), pictures, *arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "blurvote.evaluate/1"
    assert printed == json.loads((tmp_path / "out" / "guard" / "evaluate.json").read_text())


def test_wrong_class_counts(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard = make_guard()
    listed = tmp_path / "list.tsv"
    listed.write_text("pictures/red/0.png\t3\n")
    assert evaluate(guard, listed) == 2
    assert "class index 3, but the guard has 3 classes (0 to 2)" in capsys.readouterr().err
    assert evaluate(guard, pictures, "--protocol", "imagenet-a") == 2
    message = capsys.readouterr().err
    assert "has 3 classes; --protocol imagenet-a needs a guard of ImageNet's 1000" in message
    assert evaluate(guard, pictures, "--in-distribution", pictures) == 2
    assert "--in-distribution is for --protocol imagenet-o" in capsys.readouterr().err


def test_a_frames_guard_refuses_other_views(
    make_guard: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backbone = helper.make_model(
        colour_classifier(), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    )
    onnx.save(backbone, str(tmp_path / "colour.onnx"))
    guard = tmp_path / "guard.onnx"
    size: Any = {"kind": "frames", "frame_size": "dynamic"}
    export_guard(
        tmp_path / "colour.onnx",
        guard,
        defense={"resize": 20, "crop": (16, 16)},
        options=ModelOptions(labels=CLASSES),
        **size,
    )
    out = tmp_path / "out"
    for more in (("--kernels", "7"), ("--float-frames",), ("--smoothing", tmp_path / "d.onnx")):
        assert evaluate(guard, pictures, *more, "--workers", 1, "-o", out) == 2
        assert "export the same model with --input views" in capsys.readouterr().err
    arguments = ("--degradations", "gaussian:0,0.3", "--workers", 1)
    assert evaluate(guard, pictures, *arguments, "-o", out, "--fresh") == 0
    assert evaluate(make_guard("views.onnx"), pictures, *arguments, "-o", out) == 0
    assert document(out)["rows"][0]["views"] == document(out, guard="views")["rows"][0]["views"]
