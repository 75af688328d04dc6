"""Denoised smoothing beside the guard, with denoisers that do nothing or everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime import ViewBuilder, cli

Guards = Callable[..., Path]
CLASSES = ("red", "green", "blue")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for label, name in enumerate(CLASSES):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for n in range(2):
            pixels = np.random.default_rng(n).integers(80, 120, (24, 30, 3)).astype(np.uint8)
            pixels[..., label] += 60
            cv2.imwrite(str(folder / f"{n}.png"), pixels[..., ::-1])
    return tmp_path / "pictures"


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["image"], ["clean"])],
        "identity",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [helper.make_tensor_value_info("clean", TensorProto.FLOAT, ["N", 3, "H", "W"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    path = tmp_path / "identity.onnx"
    onnx.save(model, str(path))
    return path


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def read(out: Path) -> Any:
    """The comparison without its times."""
    found = json.loads((out / "guard" / "evaluate.json").read_text())["smoothing"]
    for row in found["rows"]:
        del row["milliseconds"]
    return found


def start(guard: Path, pictures: Path, denoiser: Path, out: Path, *more: object) -> int:
    return evaluate(
        guard, pictures, "--degradations", "gaussian:0", "--smoothing", denoiser,
        "--smoothing-n", 40, "-o", out, *more,
    )  # fmt: skip


def test_a_classifier_that_noise_cannot_move_is_certified_everywhere(
    make_guard: Guards, pictures: Path, identity: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert start(make_guard(), pictures, identity, out, "--workers", 1) == 0
    found = read(out)
    assert (found["images"], found["settings"]["n"], found["settings"]["n0"]) == (6, 40, 4)
    shares = [
        (row["frames"], row["method"], row["accepted"]["successes"], row["rejected"]["successes"])
        for row in found["rows"]
    ]
    # The mean over 256 pixels of noise 0.25 moves by 0.016, the classes are 0.23 apart.
    methods = ("no defence", "majority", "denoised smoothing")
    assert shares[:3] == [("gaussian:0", name, 6, 0) for name in methods]
    assert [row["method"] for row in found["rows"][3:]] == [
        "no defence",
        "majority",
        "denoised once",
        "denoised smoothing",
    ]
    # All copies agree, so every radius is the largest: sigma times the quantile of alpha^(1/n).
    from scipy.stats import norm

    largest = 0.25 * norm.ppf(0.001 ** (1 / 40))
    assert found["largest_radius"] == pytest.approx(largest)
    assert found["median_radius"] == pytest.approx(largest)
    assert [entry["radius"] for entry in found["certified"]] == [0, 0.25]
    assert all(entry["accuracy"]["successes"] == 6 for entry in found["certified"])
    assert [row["inferences"] for row in found["rows"][:3]] == [1, 3, 40]
    # What a denoiser is told is what the view kernel's resize leaves of the frame's noise.
    gain = ViewBuilder(Deployed(make_guard()).defense).noise_gain(24, 30)
    assert found["sigma_left"] == pytest.approx(0.25 * gain)
    text = (out / "guard" / "evaluate.md").read_text()
    assert "## Denoised smoothing (Salman et al. 2020), sigma 0.25" in text
    assert "4 further copies choose the class, the 40 bound its probability" in text


def test_workers_and_resuming_change_nothing(
    make_guard: Guards, pictures: Path, identity: Path, tmp_path: Path
) -> None:
    guard = make_guard()
    # So much noise that the copies disagree.
    more = ("--smoothing-sigma", 1.0)
    assert start(guard, pictures, identity, tmp_path / "two", *more, "--workers", 2) == 0
    assert start(guard, pictures, identity, tmp_path / "one", *more, "--workers", 1) == 0
    expected = read(tmp_path / "two")
    smoothed = expected["rows"][2]
    assert smoothed["rejected"]["successes"] > 0
    assert read(tmp_path / "one") == expected
    journal = tmp_path / "one" / "guard" / "smoothing.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 6
    journal.write_bytes(b"".join(lines[:3]) + lines[3][:40])
    assert start(guard, pictures, identity, tmp_path / "one", *more, "--workers", 1) == 0
    assert journal.read_bytes().startswith(b"".join(lines[:3]))
    assert read(tmp_path / "one") == expected


def test_fewer_pictures_are_some_of_them_and_other_settings_are_refused(
    make_guard: Guards,
    pictures: Path,
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    guard, out = make_guard(), tmp_path / "out"
    few = ("--smoothing-images", 2, "--workers", 1)
    assert start(guard, pictures, identity, out, *few) == 0
    journal = out / "guard" / "smoothing.jsonl"
    first = journal.read_bytes()
    assert read(out)["images"] == 2
    assert start(guard, pictures, identity, out, "--smoothing-images", 4, "--workers", 1) == 0
    assert read(out)["images"] == 4
    assert journal.read_bytes().startswith(first)
    capsys.readouterr()
    assert start(guard, pictures, identity, out, *few, "--smoothing-sigma", 0.5) == 2
    assert "sigma was 0.25, is 0.5" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--smoothing-sigma", 0), "sigma is 0.0; expected a number above 0"),
        (("--smoothing-sigma", 1.5), "sigma of gaussian is 1.5; expected a number from 0 to 1"),
        (("--smoothing", "absent.onnx"), "absent.onnx is not a file"),
    ],
)
def test_mistakes(
    make_guard: Guards,
    pictures: Path,
    identity: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[object, ...],
    message: str,
) -> None:
    assert start(make_guard(), pictures, identity, tmp_path / "out", "--workers", 1, *more) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # refused before anything was run
