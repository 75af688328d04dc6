"""`blurvote evaluate` on a guard whose noisy frames have views of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.dataset import open_dataset
from blurvote.benchmarks.robustness.defenses import plain
from blurvote.benchmarks.robustness.degradations import parse_degradations
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.adapted import Adapted
from blurvote.benchmarks.robustness.evaluate.adaptive_score import AdaptiveRow, score_row
from blurvote.benchmarks.robustness.evaluate.measure import variants
from blurvote.benchmarks.robustness.evaluate.score import Answers
from blurvote.benchmarks.robustness.sizes import resized
from blurvote.runtime import Guard, cli
from blurvote.runtime.decision import softmax
from blurvote.runtime.vote import REJECTED
from tests.benchmarks.robustness.conftest import ADAPTIVE
from tests.conftest import ONE_THREAD

MakeGuard = Callable[..., Path]
NOISE = "gaussian:0,0.3"


def evaluate(*arguments: object) -> int:
    return cli.main(["evaluate", *map(str, arguments)])


def document(out: Path, guard: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / guard / "evaluate.json").read_text())
    return found


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Three pictures each of two classes of ten, whose colours they do not have to deserve."""
    random = np.random.default_rng(0)
    for label in (2, 7):
        folder = tmp_path / "pictures" / f"class {label}"
        folder.mkdir(parents=True)
        for n in range(3):
            y, x = np.mgrid[: 52 + n, : 60 - n]
            waves = np.sin(x * random.uniform(0, 0.3) + y * random.uniform(0, 0.3))[..., None]
            pixels = random.integers(60, 200, 3) + random.integers(10, 50, 3) * waves
            cv2.imwrite(str(folder / f"{n}.png"), pixels.astype(np.uint8))
    return tmp_path / "pictures"


def test_every_figure_is_counted_by_hand(
    conv_guard: MakeGuard, pictures: Path, tmp_path: Path
) -> None:
    """Two draws of noise, against `Guard` and the plain guard of the same model, frame by frame."""
    path = conv_guard("adaptive.onnx", ADAPTIVE, classes=10, seed=9)
    other = conv_guard("plain.onnx", plain(ADAPTIVE), classes=10, seed=9)
    out = tmp_path / "out"
    arguments = ("--degradations", NOISE, "--workers", 1, "--seed", 3, "--repeats", 2, "-o", out)
    for guard in (path, other):
        assert evaluate(guard, pictures, *arguments) == 0
    found, blog = document(out, "adaptive"), document(out, "plain")
    assert found["settings"]["repeats"] == 2
    samples = open_dataset(pictures, 10, tuple(f"class {n}" for n in range(10))).samples
    deployed = Deployed(path, ONE_THREAD)
    for row, same, degradation in zip(
        found["rows"], blog["rows"], parse_degradations(NOISE), strict=True
    ):
        draws = 2 if degradation.severity else 1
        frames = [
            (np.asarray(degradation.apply(s.read(), degradation.generator(3 + draw, s.index))), s)
            for draw in range(draws)
            for s in samples
        ]
        with Guard(path, "cpu", "batched", 1) as guard:
            verdicts = [guard.classify(frame) for frame, _ in frames]
        truth = [sample.label for _, sample in frames]
        counts: dict[str, list[int]] = {"own majority": [0, 0], "own mean": [0, 0]}
        for verdict, label, (frame, _) in zip(verdicts, truth, frames, strict=True):
            counts["own majority"][0] += verdict.label == label
            counts["own majority"][1] += verdict.label != REJECTED
            mean = softmax(deployed.answer(frame).logits).mean(axis=0)
            counts["own mean"][0] += int(mean.argmax()) == label
            counts["own mean"][1] += 1
        assert row["images"] == 6
        for name, (right, accepted) in counts.items():
            judged = row["decisions"][name]["accepted"]
            assert (judged["successes"], judged["trials"]) == (right, accepted), name
            assert row["decisions"][name]["over_all"]["trials"] == len(frames)
        assert row["decisions"]["as deployed"] == row["decisions"]["own majority"]
        assert row["denoised"]["successes"] == sum(v.denoised for v in verdicts)
        levels = [v.noise for v in verdicts if v.noise is not None]
        assert row["noise"]["mean"] == pytest.approx(np.mean(levels), abs=1e-5)
        assert row["noise"]["unread"] == len(frames) - len(levels)
        # The blog's majority and the undefended view are the plain guard's own figures.
        for name in ("accepted", "over_all", "rejected", "confidence", "gain", "views", "mean"):
            assert row[name] == same[name], name
        assert row["decisions"]["blog's majority"]["accepted"] == same["accepted"]
        assert row["decisions"]["no defence"]["over_all"] == same["views"]["0"]
    quiet, noisy = found["rows"]
    assert (quiet["denoised"]["value"], noisy["denoised"]["value"]) == (0, 1)
    assert quiet["decisions"]["own majority"] == quiet["decisions"]["blog's majority"]
    assert "decisions" not in blog["rows"][0]
    text = (out / "adaptive" / "evaluate.md").read_text()
    assert "own mean, blog's coverage" in text
    assert "as deployed" not in text  # which is the majority, named already
    assert "by denoised, 50%-denoised, double-blur" in text
    for name in ("noise.png", "risk-coverage.png", "examples.png", "card.md"):
        assert (out / "adaptive" / name).stat().st_size > 0
    assert "of noisy frames denoised, 50%-denoised" in (out / "adaptive" / "card.md").read_text()


def test_frames_of_a_large_camera(conv_guard: MakeGuard, pictures: Path, tmp_path: Path) -> None:
    """What is averaged away on the grid no longer counts as noisy, and float frames agree."""
    path = conv_guard("adaptive.onnx", ADAPTIVE, classes=10, seed=9)
    wanted = ("--degradations", "gaussian:0.2", "--workers", 1)
    rows = {}
    for name, more in (
        ("small", ()),
        ("large", ("--short-side", 160)),
        ("float", ("--float-frames",)),
    ):
        assert evaluate(path, pictures, *wanted, *more, "-o", tmp_path / name) == 0
        rows[name] = document(tmp_path / name, "adaptive")["rows"][0]
    assert (rows["small"]["denoised"]["value"], rows["large"]["denoised"]["value"]) == (1, 0)
    for row in rows.values():
        assert row["noise"]["mean"] == pytest.approx(0.2, rel=0.15)
    assert rows["float"]["noise"] == rows["small"]["noise"]
    report = (tmp_path / "large" / "adaptive" / "evaluate.md").read_text()
    # Of a smaller side, too, so it is not said that they were enlarged.
    assert ", resized to a short side of 160 px (smaller ones by a bicubic enlargement," in report
    assert "enlarged to" not in report
    assert "resized to" not in (tmp_path / "small" / "adaptive" / "evaluate.md").read_text()


def test_resized_keeps_the_sides_ratio() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (50, 75, 3), dtype=np.uint8)
    assert resized(picture, None) is picture
    assert resized(picture, 50) is picture
    assert resized(picture, 100).shape == (100, 150, 3)
    assert resized(picture.swapaxes(0, 1), 100).shape == (150, 100, 3)
    # Areas of two by two pixels are averaged.
    means = picture.astype(float).reshape(25, 2, 75, 3).mean(axis=1)[:, :74]
    means = means.reshape(25, 37, 2, 3).mean(axis=2)
    even = resized(np.ascontiguousarray(picture[:, :74]), 25).astype(float)
    np.testing.assert_allclose(even, means, atol=0.51)


def test_what_an_adaptive_guard_cannot_be_asked(
    conv_guard: MakeGuard, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = conv_guard("adaptive.onnx", ADAPTIVE, classes=10)
    start = (path, pictures, "--workers", 1, "-o", tmp_path / "out")
    assert evaluate(*start, "--smoothing", tmp_path / "d.onnx") == 2
    assert "exported without a denoiser" in capsys.readouterr().err


def test_other_variants_are_plain() -> None:
    own, *others = variants(ADAPTIVE, (5, 7))
    assert (own.name, own.defense) == ("own", ADAPTIVE)
    assert [other.defense for other in others] == [replace(ADAPTIVE, kernel_size=7, noisy_views=())]


def by_hand() -> Answers:
    """Four frames of two pictures of class 0, each twice.

    The quiet views are right on the first frame and reject the last; those that judged are right
    on the first three. Sure of them, by their mean, are the first two.
    """
    quiet = np.array([[0, 0, 1], [1, 1, 0], [0, 1, 1], [0, 1, 2]])
    own = np.array([[0, 0, 0], [0, 0, 2], [0, 0, 1], [1, 1, 1]])
    sure = np.array([[3.0, 0, 0], [2.0, 0, 0], [1.0, 0, 0], [4.0, 0, 0]])
    return Answers(
        truth=np.zeros(4, np.int64),
        view_labels=quiet,
        view_confidences=sure,
        passes=(0, 1, 2),
        majority=np.array([0, 1, 1, REJECTED]),
        votes=np.array([2, 2, 2, 1]),
        majority_confidence=np.array([1.0, 1.0, 2.0, 0.0]),
        mean_label=np.array([0, 1, 1, 1]),
        mean_confidence=np.array([1.0, 1.0, 2.0, 0.0]),
        own=np.array([0, REJECTED, 0, 1]),
        adapted=Adapted(
            own,
            np.ones((4, 3)),
            np.array([0, 0, 0, 1]),
            np.array([3, 2, 2, 3]),
            np.array([5.0, 1.0, 2.0, 4.0]),
            np.array([0, 0, 1, 1]),
            np.array([9.0, 8.0, 1.0, 2.0]),
            np.array([0.1, np.nan, 0.3, 0.2]),
            np.array([True, False, True, True]),
        ),
        pictures=np.array([0, 1, 0, 1]),
    )


def test_a_row_counted_by_hand() -> None:
    row = score_row("shot:3", "own", by_hand(), 0)
    assert isinstance(row, AdaptiveRow)
    counted = {
        name: tuple(
            (value.successes, value.trials)
            for value in (judged.accepted, judged.over_all, judged.rejected, judged.confidence)
        )
        for name, judged in row.decisions.items()
    }
    assert counted == {
        "no defence": ((3, 4), (3, 4), (0, 4), (3, 4)),
        "blog's majority": ((1, 3), (1, 4), (1, 4), (2, 3)),  # surest: 3, 0 and 1
        "own majority": ((3, 4), (3, 4), (0, 4), (3, 4)),
        "own mean": ((2, 4), (2, 4), (0, 4), (3, 4)),
        "own mean, blog's coverage": ((2, 3), (2, 4), (1, 4), (2, 3)),  # surest: 0, 1 and 3
        "as deployed": ((2, 3), (2, 4), (1, 4), (2, 3)),
    }
    majority = row.decisions["own majority"]
    assert majority.gain.value == pytest.approx(0)
    assert majority.accepted_over_blog.value == pytest.approx(3 / 4 - 1 / 3)
    assert majority.over_all_over_blog.value == pytest.approx(2 / 4)
    assert (row.noise.mean, row.noise.unread) == (pytest.approx(0.2), 1)
    assert (row.denoised.successes, row.images) == (3, 2)
    assert [view.successes for view in row.own_views] == [3, 3, 1]
    assert list(row.curves) == [
        "blog's majority",
        "own majority",
        "own mean",
        "undefended confidence",
    ]
    # By votes, then sureness: frames 0 (right), 3 (wrong), 2 and 1 (right).
    np.testing.assert_allclose(row.curves["own majority"].risk, [0, 1 / 2, 1 / 3, 1 / 4])
