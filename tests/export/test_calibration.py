"""Fitting the threshold of `mean`, and what it does to guards of both kinds."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurvote.export import calibrate, export_guard
from blurvote.export.parity_frames import draw_frame
from blurvote.export.thresholds import fit_threshold
from blurvote.export.vote_graph import THRESHOLD
from blurvote.runtime import ExportError, Guard, GuardError

COUNT = 24
KINDS: list[dict[str, Any]] = [
    {"kind": "frames", "frame_size": (60, 80)},
    {"kind": "frames", "frame_size": "dynamic"},
]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    for seed in range(COUNT):
        place = folder if seed % 2 else folder / "more"
        cv2.imwrite(str(place / f"{seed:02}.png"), draw_frame(60, 80, seed)[..., ::-1])
    return folder


@given(
    confidences=st.lists(st.floats(0, 1), min_size=1, max_size=40, unique=True),
    coverage=st.floats(0.01, 1),
)
def test_the_threshold_accepts_the_target(confidences: list[float], coverage: float) -> None:
    threshold = fit_threshold(confidences, coverage)
    accepted = sum(confidence >= threshold for confidence in confidences)
    wanted = math.ceil(coverage * len(confidences))
    ordered = sorted(confidences, reverse=True)
    if wanted < len(ordered) and ordered[wanted - 1] - ordered[wanted] < 1e-6:
        return  # closer together than float32 can part
    assert accepted == wanted


def test_all_are_accepted_at_full_coverage() -> None:
    assert fit_threshold([0.9, 0.1, -1.0], 1.0) == 0.0


@pytest.mark.parametrize("seed", [0, 7])
def test_a_views_guard(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path, seed: int
) -> None:
    source = make_guard()
    before = source.read_bytes()
    target = tmp_path / "calibrated.onnx"
    report = calibrate(source, pictures, 0.75, output=target, seed=seed)
    assert source.read_bytes() == before
    assert (report.fitted_on, report.reported_on) == (12, 12)
    assert report.fitted_coverage == pytest.approx(0.75)
    assert report.accuracy_all is None
    with Guard(target, "cpu") as guard:
        assert guard.defense.decision == "mean"
        assert guard.defense.threshold == report.threshold
        assert guard.metadata.provenance["calibration"]["coverage"] == report.coverage
        accepted = sum(guard.classify(draw_frame(60, 80, index)).accepted for index in range(COUNT))
    assert accepted == round(12 * report.fitted_coverage + 12 * report.coverage)


@pytest.mark.parametrize("decision", ["majority", "mean"])
@pytest.mark.parametrize("kind", KINDS, ids=["fixed", "dynamic"])
def test_a_frames_guard_gets_the_threshold_into_its_graph(
    save_model: Callable[..., Path],
    pictures: Path,
    tmp_path: Path,
    kind: dict[str, Any],
    decision: str,
) -> None:
    path = tmp_path / "guard.onnx"
    export_guard(save_model(), path, defense={"decision": decision}, **kind)
    report = calibrate(path, pictures, 0.5)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    assert onnx.numpy_helper.to_array(tensors[THRESHOLD]) == np.float32(report.threshold)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with Guard(path, "cpu") as guard:
        labels = []
        for index in range(COUNT):
            frame = draw_frame(60, 80, index)
            (label,) = session.run(["label"], {"frames": frame[None]})[0]
            assert label == guard.classify(frame).label
            labels.append(label)
    accepted = sum(label >= 0 for label in labels)
    assert accepted == round(12 * report.fitted_coverage + 12 * report.coverage)
    assert 0 < accepted < COUNT


def test_accuracies_come_from_the_reporting_half(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    with Guard(make_guard(), "cpu", plan="batched") as guard:
        labels = {
            path: guard.classify(cv2.imread(str(path)), colour="bgr").view_labels[0]
            for path in sorted(pictures.rglob("*.png"))
        }
    # Clean labels are the truth of all pictures but one in four, which get another.
    lines = ["file\tindex"] + [
        f"{path.relative_to(pictures).as_posix()}\t{(label or 0) + (1 if place % 4 == 0 else 0)}"
        for place, (path, label) in enumerate(labels.items())
    ]
    truth = tmp_path / "truth.tsv"
    truth.write_text("\n".join(lines))
    report = calibrate(make_guard(), pictures, 0.75, labels=truth)
    assert report.accuracy_all is not None
    assert report.accuracy_accepted is not None
    assert 0.2 < report.accuracy_all <= report.coverage
    assert report.accuracy_all == pytest.approx(report.accuracy_accepted * report.coverage)


def test_broken_pictures_are_skipped_and_named(
    make_guard: Callable[..., Path], pictures: Path
) -> None:
    (pictures / "broken.jpg").write_bytes(b"nothing")
    cv2.imwrite(str(pictures / "thin.png"), np.zeros((2, 50, 3), np.uint8))
    report = calibrate(make_guard(), pictures, 0.9)
    assert report.fitted_on + report.reported_on == COUNT
    assert report.skipped[str(pictures / "broken.jpg")] == "cannot be decoded as a picture"
    assert "cannot be blurred" in report.skipped[str(pictures / "thin.png")]


def test_a_single_view_frames_guard_is_refused(
    save_model: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    path = tmp_path / "guard.onnx"
    export_guard(save_model(), path, defense={"decision": "single"}, **KINDS[0])
    with pytest.raises(ExportError) as caught:
        calibrate(path, pictures, 0.9)
    assert str(caught.value) == (
        f"{path} is a frames guard that builds the single-blur view alone, so there is no mean to "
        "take: export it again with --decision mean"
    )


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        (
            {"coverage": 0.0},
            ExportError,
            "coverage is 0.0; expected a number above 0 and at most 1",
        ),
        ({"seed": -1}, ExportError, "seed is -1; expected an integer of at least 0"),
        (
            {"guard": "absent.onnx"},
            GuardError,
            "absent.onnx is not a file; expected a guard written by blurvote export",
        ),
        ({"images": "absent"}, ExportError, "there is no folder of pictures at absent"),
        (
            {"labels": "absent.tsv"},
            ExportError,
            "cannot read the labels in absent.tsv: [Errno 2] No such file or directory: "
            "'absent.tsv'",
        ),
    ],
    ids=lambda case: "",
)
def test_refuses(
    make_guard: Callable[..., Path],
    pictures: Path,
    changes: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    given = {"guard": make_guard(), "images": pictures, "coverage": 0.9, **changes}
    with pytest.raises(error) as caught:
        calibrate(**given)
    assert str(caught.value) == text


def test_refuses_too_few_pictures_and_labels_that_do_not_fit(
    make_guard: Callable[..., Path], pictures: Path, tmp_path: Path, save_model: Callable[..., Path]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    with pytest.raises(ExportError, match=r"few holds no pictures; looked for \.bmp, \.jpeg,"):
        calibrate(make_guard(), few, 0.9)
    cv2.imwrite(str(few / "1.png"), draw_frame(60, 80, 1))
    with pytest.raises(ExportError, match="only 1 of 1 pictures can be used; at least 10"):
        calibrate(make_guard(), few, 0.9)
    truth = tmp_path / "truth.tsv"
    for text, reason in (
        ("a.png\t1\nb.png", r"line 2 of .*truth.tsv is 'b.png'; expected a file, a tab and a"),
        ("file\tindex\n", r"truth.tsv holds no labels; expected lines of file, tab, class index"),
        (
            "a.png\t1\n",
            r"no file that .*truth.tsv names is in .*; expected lines such as "
            r"01.png<TAB>0",
        ),
    ):
        truth.write_text(text)
        with pytest.raises(ExportError, match=reason):
            calibrate(make_guard(), pictures, 0.9, labels=truth)
    with pytest.raises(GuardError, match="is not a guard: its ONNX metadata has no blurvote"):
        calibrate(save_model(), pictures, 0.9)
