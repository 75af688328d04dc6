"""`blurvote export` and `blurvote calibrate` as they are typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

import blurvote.export as export
from blurvote.export.parity_frames import draw_frame
from blurvote.runtime.cli import main

QUICK = ["--input", "frames", "--frame-size", "60x80"]


def test_export_prints_the_parity_table(
    save_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "guard.onnx"
    assert main(["export", str(save_model(tail="Softmax")), "-o", str(target), *QUICK]) == 0
    out, err = capsys.readouterr()
    assert "parity on drawn frames" in out
    assert f"wrote {target}: " in out
    assert "takes    frames of 80x60 px" in out
    assert "adapted  probabilities turned into logits by their logarithm" in out
    assert all(line.startswith("... ") for line in err.splitlines())
    assert main(["info", str(target)]) == 0


def test_export_options_reach_the_defence(
    save_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    arguments = [
        "export",
        str(save_model(size="S")),
        "-o",
        str(tmp_path / "guard.onnx"),
        *QUICK,
        "--json",
        "--kernel-size",
        "7",
        "--sigma",
        "2",
        "--passes",
        "0,1,3",
        "--blur-at",
        "model",
        "--resize",
        "40",
        "--crop",
        "32x24",
        "--interpolation",
        "bicubic",
        "--no-antialias",
        "--mean",
        "0.1,0.2,0.3",
        "--std",
        "1,2,3",
        "--channels",
        "bgr",
        "--decision",
        "mean",
        "--threshold",
        "0.25",
        "--layout",
        "nchw",
        "--output",
        "logits",
        "--labels",
        str(labels),
    ]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["defense"] == {
        "schema_version": 1,
        "kernel_size": 7,
        "sigma": 2.0,
        "passes": [0, 1, 3],
        "blur_at": "model",
        "border": "reflect",
        "antialias": False,
        "interpolation": "bicubic",
        "fit": "crop",
        "resize": 40,
        "crop": [32, 24],
        "mean": [0.3, 0.2, 0.1],
        "std": [3.0, 2.0, 1.0],
        "decision": "mean",
        "threshold": 0.25,
    }
    assert (report["kind"], report["frame_size"]) == ("frames", [60, 80])
    assert report["named_classes"] == 5
    assert report["parity"]["labels_differing"] == 0


def test_a_plain_export_works_for_the_usual_model(
    save_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(save_model()), "-o", str(tmp_path / "guard.onnx")]) == 0
    assert "takes    views" in capsys.readouterr().out


def test_mean_without_a_threshold_says_what_comes_next(
    save_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "guard.onnx"
    command = ["export", str(save_model()), "-o", str(target), *QUICK, "--decision", "mean"]
    assert main(command) == 0
    assert f"next: blurvote calibrate {target} IMAGES --coverage 0.9" in capsys.readouterr().out


def test_calibrate(
    save_model: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, folder = tmp_path / "guard.onnx", tmp_path / "pictures"
    folder.mkdir()
    for seed in range(20):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_frame(60, 80, seed))
    truth = tmp_path / "truth.tsv"
    truth.write_text("".join(f"{seed}.png\t0\n" for seed in range(20)))
    assert main(["export", str(save_model()), "-o", str(target), *QUICK]) == 0
    capsys.readouterr()
    command = ["calibrate", str(target), str(folder), "--coverage", "0.8", "--labels", str(truth)]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"wrote {target}: decides by mean softmax, threshold 0." in out
    assert "fitted on    10 pictures, accepts 80.0% (target 80.0%, seed 0)" in out
    assert "accuracy" in out
    assert main([*command, "--json", "-o", str(tmp_path / "other.onnx"), "--seed", "3"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["seed"], report["fitted_on"], report["reported_on"]) == (3, 10, 10)


def test_errors_are_one_line_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent, target = tmp_path / "absent.onnx", tmp_path / "guard.onnx"
    assert main(["export", str(absent), "-o", str(target)]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith(f"blurvote: error: there is no model at {absent}.")
    assert main(["calibrate", str(absent), str(tmp_path), "--coverage", "0.9"]) == 2
    assert capsys.readouterr().err.startswith(f"blurvote: error: {absent} is not a file")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--frame-size", "wide"], "'wide' is not HEIGHTxWIDTH such as 1080x1920, or dynamic"),
        (["--crop", "0"], "'0' is not pixels, or HEIGHTxWIDTH"),
        (["--mean", "1,2"], "'1,2' is not three numbers such as 0.485,0.456,0.406"),
        (["--passes", "a"], "'a' is not integers such as 0,1,2"),
    ],
)
def test_values_that_cannot_be_read(
    arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "model.onnx", "-o", "guard.onnx", *arguments]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("command", ["export", "calibrate"])
def test_help_needs_neither_torch_nor_onnx(command: str) -> None:
    code = (
        "import sys\n"
        "from blurvote.runtime.cli import main\n"
        f"assert main(['{command}', '--help']) == 0\n"
        "print(sorted(name for name in ('torch', 'onnx', 'onnxruntime') if name in sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert "examples:" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [["export", "m.onnx", "-o", "g.onnx"], ["calibrate", "g.onnx", ".", "--coverage", "1"]],
)
def test_without_onnx(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "sys.modules['onnx'] = None\n"
        "from blurvote.runtime.cli import main\n"
        f"sys.exit(main({arguments!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("blurvote: error: blurvote.export needs onnx, which cannot be")
    assert done.stderr.endswith("; pip install onnx\n")


def test_exported_members() -> None:
    assert export.__all__ == sorted(export.__all__)
    for name in export.__all__:
        assert getattr(export, name).__doc__
    with pytest.raises(AttributeError, match=r"'blurvote.export' has no attribute 'absent'"):
        _ = export.absent
