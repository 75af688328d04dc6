"""The demo and the shipped guards, both kinds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

from blurvote.runtime import Defense, Frame, Guard, GuardError, majority_vote
from blurvote.runtime.cli import main
from blurvote.runtime.demo import guard_path
from blurvote.runtime.demo.experiment import Level
from blurvote.runtime.demo.scenes import (
    CLASSES,
    FRAME_HEIGHT,
    FRAME_WIDTH,
    ClipFrame,
    add_noise,
    draw_clip,
    draw_scene,
)

Kind = Literal["views", "frames"]
MEBIBYTE_AND_A_HALF = 1_500_000


@pytest.fixture(scope="module")
def clip() -> list[ClipFrame]:
    return list(draw_clip(5, frames_per_sign=3))


@pytest.fixture(params=["views", "frames"])
def shipped(request: pytest.FixtureRequest) -> Iterator[Guard]:
    with Guard(guard_path(request.param), "cpu", "batched") as guard:
        yield guard


def test_scenes_are_reproducible_and_varied() -> None:
    one, same, other = (draw_scene(2, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one.shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)
    assert one.dtype == np.uint8
    np.testing.assert_array_equal(one, same)
    assert np.abs(one.astype(int) - other).mean() > 10
    assert len(CLASSES) >= 10


def test_the_clip_shows_every_sign_and_repeats(clip: list[ClipFrame]) -> None:
    assert sorted({frame.label for frame in clip}) == list(range(len(CLASSES)))
    again = draw_clip(5, frames_per_sign=3)
    for frame, same in islice(zip(clip, again, strict=True), 5):
        np.testing.assert_array_equal(frame.pixels, same.pixels)
    assert (np.diff([frame.sign_px for frame in clip[:3]]) > 0).all(), "signs come nearer"


def test_noise_has_the_stated_strength() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    noisy = add_noise(grey, 0.125, np.random.default_rng(0))
    assert noisy.dtype == np.uint8
    assert noisy.std() / 255 == pytest.approx(0.125, rel=0.02)
    assert noisy.mean() == pytest.approx(128, abs=1)


def test_shipped_guards_are_small_and_complete(shipped: Guard) -> None:
    assert shipped.path.stat().st_size <= MEBIBYTE_AND_A_HALF
    assert shipped.labels == CLASSES
    assert len(shipped.metadata.provenance["sha256"]) == 64
    assert shipped.metadata.parity["labels_differing"] == 0


def test_shipped_guards_know_clean_signs(shipped: Guard, clip: list[ClipFrame]) -> None:
    verdicts = [shipped.classify(frame.pixels) for frame in clip]
    right = [v.label == frame.label for v, frame in zip(verdicts, clip, strict=True)]
    assert np.mean(right) >= 0.9
    assert all(verdict.name == CLASSES[verdict.label] for verdict in verdicts if verdict.accepted)


def test_both_kinds_say_the_same(clip: list[ClipFrame]) -> None:
    """The same views, votes and verdicts from the C++ kernels and from the graph alone."""
    views, frames = (Guard(guard_path(kind), "cpu", "batched") for kind in ("views", "frames"))
    random = np.random.default_rng(0)
    rejected = 0
    for frame in clip:
        for sigma in (0.0, 0.375):
            pixels = add_noise(frame.pixels, sigma, random)
            a, b = views.classify(pixels), frames.classify(pixels)
            assert (a.label, a.reason, a.view_labels, a.count) == (
                b.label,
                b.reason,
                b.view_labels,
                b.count,
            )
            assert a.confidence == pytest.approx(b.confidence, abs=1e-4)
            rejected += not a.accepted
    assert rejected > 0, "no frame was rejected, so rejections were not compared"


def test_a_frames_guard_takes_batches_and_bgr(clip: list[ClipFrame]) -> None:
    guard = Guard(guard_path("frames"), "cpu")
    singles = [guard.classify(frame.pixels).label for frame in clip[:6]]
    bgr = [Frame(np.ascontiguousarray(frame.pixels[..., ::-1]), "bgr") for frame in clip[:6]]
    rgb = [frame.pixels for frame in clip[:6]]
    assert [v.label for v in guard.classify_batch(bgr)] == singles
    assert [v.label for v in guard.classify_batch(rgb)] == singles
    assert guard.classify(bgr[0]).label == singles[0]
    assert guard.classify(np.ascontiguousarray(rgb[0][::-1])[::-1]).label == singles[0]


def test_a_frames_guard_refuses_what_it_cannot_do() -> None:
    with pytest.raises(Exception, match="its graph builds and runs all views at once"):
        Guard(guard_path("frames"), plan="cascade")
    guard = Guard(guard_path("frames"), "cpu")
    assert guard.plan == "batched"
    with pytest.raises(GuardError, match=r"100x90 px does not fit.*320x240 px.*--input views"):
        guard.classify(np.zeros((90, 100, 3), np.uint8))


def test_rows_of_the_table() -> None:
    truth = np.array([0, 1, 2, 3])
    votes = np.array([[0, 0, 0], [1, 2, 1], [0, 1, 2], [1, 1, 3]])
    logits = np.eye(4, dtype=np.float32)[votes]
    level = Level(0.25, truth, votes, majority_vote(logits).labels)
    row = level.row()
    assert (row.clean, row.single, row.double) == (0.5, 0.25, 1.0)
    assert row.majority_accepted == pytest.approx(2 / 3)
    assert (row.majority_all, row.rejected) == (0.5, 0.25)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demo"
    assert main(["demo", "--out", str(out), "--frames-per-sign", "2", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "demo.json").read_text())
    assert "drawn" in printed["note"]
    assert [row["sigma"] for row in printed["table"]] == [0, 0.125, 0.25, 0.375]
    assert printed["frames"] == 2 * len(CLASSES)
    clean, *_, worst = (row["clean"] for row in printed["table"])
    assert worst < clean, "noise costs the undefended classifier nothing"
    figure = cv2.imread(str(out / "demo.png"))
    assert figure is not None
    assert figure.std() > 20
    video = cv2.VideoCapture(str(out / "demo.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == printed["frames"]
    video.release()


def test_the_command_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "--out", str(tmp_path), "--frames-per-sign", "1", "--no-video"]
    assert main([*arguments, "--kind", "frames"]) == 0
    text = capsys.readouterr().out
    assert "majority vote of the three" in text
    assert "The clip is drawn by blurvote" in text
    assert not (tmp_path / "demo.mp4").exists()


def test_a_file_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert main(["demo", "--out", str(blocked)]) == 2
    assert "cannot be made a folder" in capsys.readouterr().err


def test_the_demo_uses_the_published_defence() -> None:
    defense = Guard(guard_path("views"), "cpu").defense
    blog = Defense()
    same = ("kernel_size", "sigma", "passes", "blur_at", "antialias", "decision")
    assert all(getattr(defense, name) == getattr(blog, name) for name in same)
