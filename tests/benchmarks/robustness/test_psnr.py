"""Denoisers compared on the model's grid."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.psnr import main, methods
from blurvote.export.parity_frames import draw_frame


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(2):
        cv2.imwrite(str(folder / f"{seed}.png"), draw_frame(300, 400, seed)[..., ::-1])
    return folder


def test_the_table(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([str(pictures), "--count", "2", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    found = json.loads((out / "psnr.json").read_text())["psnr_db"]
    for name in methods({}):
        assert name in printed
        assert list(found[name]) == ["0.0625", "0.125", "0.25", "0.375"]
    # What is measured of noise that was not denoised is what was added: its level on the grid.
    assert 20 < found["noisy"]["0.125"] < 30
    assert found["noisy"]["0.0625"] - found["noisy"]["0.125"] == pytest.approx(6, abs=0.6)
    assert found["shipped"]["0.25"] > found["noisy"]["0.25"] + 2
    grid = cv2.imread(str(out / "psnr.png"))
    assert grid.shape[1] == 224 * (1 + len(found))
    assert grid.std() > 10


def test_mistakes(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty")]) == 2
    assert "holds no pictures" in capsys.readouterr().err
    assert main([str(pictures), "--denoiser", "other=missing.onnx"]) == 2
    assert "missing.onnx is not a file" in capsys.readouterr().err
    for words in (
        ("--denoiser", "ffdnet.onnx"), ("--count", "-1"), ("--count", "0"), ("--seed", "-1"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as refused:
            main([str(pictures), *words, "--out", str(tmp_path / "out")])
        assert refused.value.code == 2
    assert "'-1' is not an integer from 0 on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_shipped_denoiser_is_given_the_sizes_that_it_takes() -> None:
    view = np.random.default_rng(0).random((20, 28, 3)).astype(np.float32)
    denoised = methods({})["shipped"](view, 0.1, 0.1)
    assert denoised.shape == view.shape
    assert np.isfinite(denoised).all()


def test_numbers_are_those_of_the_definition(pictures: Path) -> None:
    from blurvote.benchmarks.robustness.psnr import measure

    flat = {"grey": lambda view, level, estimate: np.full_like(view, 0.5)}
    found, rows = measure([pictures / "0.png"], flat, [0.125], 0, lambda line: None)
    clean = rows[0][0]
    expected = -10 * np.log10(np.mean((clean - 0.5) ** 2))
    assert found["grey"]["0.125"][0] == pytest.approx(expected, abs=1e-4)
