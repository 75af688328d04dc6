"""Fitting the noise switch: the choice by itself, and a guard with a denoiser from end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from blurvote.export import calibrate
from blurvote.export.noise_answers import SIGMAS, SetAnswer, Shown
from blurvote.export.noise_calibration import MARGIN, fit_noise, fit_switch
from blurvote.runtime import ExportError, Guard
from blurvote.runtime.cli import main
from tests.runtime.adaptive import ADAPTIVE, denoiser_model, grainy, write_adaptive_guard

RIGHT, WRONG = SetAnswer(1, 1, 0.9), SetAnswer(2, 2, 0.4)


def shown(level: float, quiet: SetAnswer, noisy: SetAnswer, sigma: float = 0.1) -> Shown:
    return Shown(sigma, level, quiet, noisy, truth=1)


def test_the_switch_lies_where_the_noisy_views_begin_to_win() -> None:
    quiet_wins = [shown(level, RIGHT, WRONG) for level in (0.01, 0.02, 0.03)]
    noisy_wins = [shown(level, WRONG, RIGHT) for level in (0.05, 0.06)]
    equal = [shown(level, RIGHT, RIGHT) for level in (0.04, 0.045)]
    assert fit_switch(quiet_wins + noisy_wins + equal, "majority") == pytest.approx(0.0475)


def test_what_chance_may_explain_is_not_believed() -> None:
    """Below .025 the noisy views win six times and lose four: two more are within one error."""
    noisy_wins = [shown(level, WRONG, RIGHT) for level in np.linspace(0.03, 0.06, 12)]
    wins = [shown(0.018 + k / 1000, WRONG, RIGHT) for k in range(7)]
    losses = [shown(0.0215 + k / 1000, RIGHT, WRONG) for k in range(4)]
    assert 0.0245 < fit_switch(noisy_wins + wins + losses, "majority") < 0.035
    # The same wins alone are beyond chance; the lowest level of all is never cut off.
    assert fit_switch(noisy_wins + wins, "majority") == pytest.approx(0.0185)


def test_pictures_without_noise_lose_nothing() -> None:
    """However much the noisy frames would gain."""
    texture = [shown(0.03, RIGHT, WRONG, sigma=0.0)]
    noisy = [shown(level, WRONG, RIGHT) for level in (0.01, 0.02, 0.025)]
    assert fit_switch(texture + noisy, "majority") == 1.0
    louder = [shown(0.05, WRONG, RIGHT)]
    assert fit_switch(texture + noisy + louder, "majority") == pytest.approx(0.04)


def test_pictures_without_noise_stay_quiet_even_where_denoising_them_would_help() -> None:
    """But for one in twenty."""
    clean = [shown(k / 1000, WRONG, RIGHT, sigma=0.0) for k in range(20)]
    noisy = [shown(0.05, WRONG, RIGHT), shown(0.06, WRONG, RIGHT)]
    assert fit_switch(clean + noisy, "majority") == pytest.approx(0.0185)


def test_a_useless_denoiser_is_never_asked() -> None:
    frames = [shown(level, RIGHT, WRONG) for level in np.linspace(0.01, 0.1, 9)]
    assert fit_switch(frames, "majority") == 1.0


def test_the_report_is_of_the_other_half() -> None:
    fitting = [[shown(0.0, RIGHT, WRONG, 0.0), shown(0.05, WRONG, RIGHT, 0.125)]]
    reporting = [
        [shown(0.0, RIGHT, RIGHT, 0.0), *(shown(0.06, WRONG, RIGHT, sigma) for sigma in SIGMAS)],
        [shown(0.0, RIGHT, RIGHT, 0.0), *(shown(0.01, WRONG, RIGHT, sigma) for sigma in SIGMAS)],
    ]
    threshold, report = fit_noise(fitting, reporting, "majority", None, "labels")
    assert threshold is None
    assert report.noise_switch == pytest.approx((MARGIN * 0.025, 0.025))
    assert report.noisy_threshold is None
    rows = {row["sigma"]: row for row in report.rows}
    assert rows[0.0]["accuracy_all"] == 1.0
    assert rows[0.125]["noisy"] == 0.5
    assert (rows[0.125]["quiet_views"], rows[0.125]["noisy_views"]) == (0.0, 1.0)
    assert rows[0.125]["accuracy_all"] == 0.5


def test_each_set_has_the_threshold_of_its_own_frames() -> None:
    """Quiet: of the pictures as they are that stay quiet. Noisy: of whatever is taken for it."""
    sure, unsure = SetAnswer(1, 1, 0.9), SetAnswer(1, 1, 0.5)
    fitting = [
        [shown(0.0, sure, WRONG, 0.0), shown(0.05, WRONG, SetAnswer(1, 1, 0.8), 0.125)],
        [shown(0.0, unsure, WRONG, 0.0), shown(0.06, WRONG, SetAnswer(1, 1, 0.2), 0.125)],
    ]
    threshold, report = fit_noise(fitting, fitting, "mean", (0.5, 1.0), "labels")
    assert threshold == pytest.approx(0.7)
    assert report.noisy_threshold == 0.0
    rows = {row["sigma"]: row for row in report.rows}
    assert (rows[0.0]["rejected"], rows[0.0]["accuracy_accepted"]) == (0.5, 1.0)
    assert rows[0.125]["rejected"] == 0.0


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


def colours(folder: Path, names: list[str]) -> Path:
    """Their true classes, but for the first, which is called the next one's."""
    path = folder.parent / "truth.tsv"
    truth = {name: int(name[:2]) % 3 for name in names}
    truth[names[0]] = (truth[names[0]] + 1) % 3
    path.write_text("".join(f"{name}\t{label}\n" for name, label in truth.items()))
    return path


def test_only_pictures_with_a_label_count(tmp_path: Path, pictures: Path) -> None:
    names = [f"{k:02}.png" for k in range(11)]  # of twelve
    labels, listed = colours(pictures, names), tmp_path / "held-out.tsv"
    guard = write_adaptive_guard(tmp_path / "guard.onnx")
    report = calibrate(guard, pictures, labels=labels, held_out=listed)
    assert list(report.skipped.values()) == ["has no label"]
    assert (report.fitted_on, report.reported_on) == (5, 6)
    heading, *lines = listed.read_text().splitlines()
    assert heading == "file\tclass_index"
    found = {Path(line.split("\t")[0]).name for line in lines}
    assert len(found) == 6
    # Every picture is plain but the wrongly labelled one.
    wrong = int(names[0] in found)
    assert report.accuracy_all == pytest.approx(1 - wrong / 6)
    assert report.noise is not None
    assert report.noise.rows[0]["accuracy_all"] == pytest.approx(1 - wrong / 6)


def test_without_labels_the_decision_s_own_verdict_is_the_truth(
    tmp_path: Path, pictures: Path
) -> None:
    """And accuracies against it are not called accuracies of the guard."""
    guard = write_adaptive_guard(tmp_path / "guard.onnx")
    report = calibrate(guard, pictures, 1.0)
    assert report.accuracy_all is None
    assert report.noise is not None
    assert report.noise.rows[0]["quiet_views"] == 1.0


def test_single_is_judged_by_its_one_view(tmp_path: Path, pictures: Path) -> None:
    """The other noisy views turn the class; the second one, which decides, does not."""
    defense = replace(
        ADAPTIVE, decision="single", noisy_views=("denoised", "single-blur", "double-blur")
    )
    guard = write_adaptive_guard(tmp_path / "guard.onnx", defense)
    report = calibrate(guard, pictures)
    assert report.noise is not None
    assert [row["noisy_views"] for row in report.noise.rows[:3]] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("denoiser", "message"),
    [
        (b"junk", "the guard's denoiser cannot be read"),
        (denoiser_model(1, *ADAPTIVE.crop), r"makes views of shape \(1, 1, 3, .*expected \(1, 2"),
    ],
)
def test_broken_denoisers(tmp_path: Path, pictures: Path, denoiser: bytes, message: str) -> None:
    guard = write_adaptive_guard(tmp_path / "guard.onnx", denoiser=denoiser)
    with pytest.raises(ExportError, match=message):
        calibrate(guard, pictures)


def test_bad_requests(tmp_path: Path, pictures: Path) -> None:
    adaptive = write_adaptive_guard(tmp_path / "guard.onnx")
    with pytest.raises(ExportError, match=r"noisy_coverage is 2; expected a number above 0"):
        calibrate(adaptive, pictures, 0.9, noisy_coverage=2)
    with pytest.raises(ExportError, match="a noisy coverage was given"):
        calibrate(adaptive, pictures, noisy_coverage=0.5)
    with pytest.raises(ExportError, match="held-out pictures needs their labels"):
        calibrate(adaptive, pictures, held_out=tmp_path / "held-out.tsv")


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
