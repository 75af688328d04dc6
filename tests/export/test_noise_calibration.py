"""Fitting the noise switch: the choice by itself, and a guard with a denoiser from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.export import calibrate
from blurvote.export.noise_calibration import (
    MARGIN,
    SIGMAS,
    SetAnswer,
    Shown,
    fit_noise,
    fit_switch,
)
from blurvote.runtime import ExportError, Guard
from blurvote.runtime.cli import main
from tests.runtime.adaptive import ADAPTIVE, grainy, write_adaptive_guard

RIGHT, WRONG = SetAnswer(1, 1, 0.9), SetAnswer(2, 2, 0.4)


def shown(level: float, quiet: SetAnswer, noisy: SetAnswer, sigma: float = 0.1) -> Shown:
    return Shown(sigma, level, quiet, noisy, truth=1)


def test_the_switch_lies_where_the_noisy_views_begin_to_win() -> None:
    quiet_wins = [shown(level, RIGHT, WRONG) for level in (0.01, 0.02, 0.03)]
    noisy_wins = [shown(level, WRONG, RIGHT) for level in (0.05, 0.06)]
    equal = [shown(level, RIGHT, RIGHT) for level in (0.04, 0.045)]
    assert fit_switch(quiet_wins + noisy_wins + equal, "majority") == pytest.approx(0.0475)


def test_pictures_without_noise_lose_nothing() -> None:
    """However much the noisy frames would gain."""
    texture = [shown(0.03, RIGHT, WRONG, sigma=0.0)]
    noisy = [shown(level, WRONG, RIGHT) for level in (0.01, 0.02, 0.025)]
    assert fit_switch(texture + noisy, "majority") == 1.0
    louder = [shown(0.05, WRONG, RIGHT)]
    assert fit_switch(texture + noisy + louder, "majority") == pytest.approx(0.04)


def test_a_useless_denoiser_is_never_asked() -> None:
    frames = [shown(level, RIGHT, WRONG) for level in np.linspace(0.01, 0.1, 9)]
    assert fit_switch(frames, "majority") == 1.0


def test_the_report_is_of_the_other_half() -> None:
    fitting = [[shown(0.0, RIGHT, WRONG, 0.0), shown(0.05, WRONG, RIGHT, 0.125)]]
    reporting = [
        [shown(0.0, RIGHT, RIGHT, 0.0), *(shown(0.06, WRONG, RIGHT, sigma) for sigma in SIGMAS)],
        [shown(0.0, RIGHT, RIGHT, 0.0), *(shown(0.01, WRONG, RIGHT, sigma) for sigma in SIGMAS)],
    ]
    report = fit_noise(fitting, reporting, "majority", None, None, "labels")
    assert report.noise_switch == pytest.approx((MARGIN * 0.025, 0.025))
    assert report.noisy_threshold is None
    rows = {row["sigma"]: row for row in report.rows}
    assert rows[0.0]["accuracy_all"] == 1.0
    assert rows[0.125]["noisy"] == 0.5
    assert (rows[0.125]["quiet_views"], rows[0.125]["noisy_views"]) == (0.0, 1.0)
    assert rows[0.125]["accuracy_all"] == 0.5


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for seed in range(12):
        colour = np.roll((150, 110, 90), seed % 3)
        cv2.imwrite(str(folder / f"{seed:02}.png"), grainy(seed, 0.002, colour=colour)[..., ::-1])
    return folder


def test_a_guard_with_a_denoiser(tmp_path: Path, pictures: Path) -> None:
    guard = write_adaptive_guard(tmp_path / "guard.onnx")
    target = tmp_path / "fitted.onnx"
    report = calibrate(guard, pictures, output=target)
    assert report.threshold is None
    assert report.noise is not None
    assert report.noise.truth == "quiet verdicts"
    assert len(report.noise.rows) == 1 + len(SIGMAS)
    with Guard(target, threads=1) as loaded:
        assert loaded.defense.noise_switch == report.noise.noise_switch
        assert replace(loaded.defense, noise_switch=ADAPTIVE.noise_switch) == ADAPTIVE


def test_both_thresholds_of_mean(tmp_path: Path, pictures: Path) -> None:
    guard = write_adaptive_guard(tmp_path / "guard.onnx")
    report = calibrate(guard, pictures, 0.9, noisy_coverage=0.5)
    assert report.noise is not None
    with Guard(guard, threads=1) as loaded:
        assert loaded.defense.decision == "mean"
        assert loaded.defense.threshold == report.threshold
        assert loaded.defense.noisy_threshold == report.noise.noisy_threshold is not None


def test_bad_requests(tmp_path: Path, pictures: Path) -> None:
    adaptive = write_adaptive_guard(tmp_path / "guard.onnx")
    with pytest.raises(ExportError, match=r"noisy_coverage is 2; expected a number above 0"):
        calibrate(adaptive, pictures, 0.9, noisy_coverage=2)
    with pytest.raises(ExportError, match="a noisy coverage was given"):
        calibrate(adaptive, pictures, noisy_coverage=0.5)


def test_a_coverage_is_needed_without_a_denoiser(
    tmp_path: Path, pictures: Path, make_guard: object
) -> None:
    assert callable(make_guard)
    with pytest.raises(ExportError, match=r"needs a coverage, such as --coverage 0\.9"):
        calibrate(make_guard(), pictures)


def test_the_command(tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guard = write_adaptive_guard(tmp_path / "guard.onnx")
    assert main(["calibrate", str(guard), str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert "taken for noisy" in printed
    assert main(["calibrate", str(guard), str(pictures), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["noise"]
    assert found["reported_on"] == 6
