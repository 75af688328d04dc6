"""Boxes of a frame: the same as the frame cut to them, wherever they lie and however many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Defense, DefenseError, Frame, FrameError, Guard, GuardError, Verdict
from blurvote.runtime import guard as guards
from tests.conftest import SMALL

MakeGuard = Callable[..., Path]
HEIGHT, WIDTH = 90, 120


@pytest.fixture
def scene() -> np.ndarray:
    """(90, 120, 3) uint8: red, green and blue thirds with texture; odd stripes beside each."""
    frame = np.random.default_rng(3).integers(0, 120, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    for n in range(3):
        frame[:, 40 * n : 40 * n + 40, n] += 100
    return frame


def drawn(count: int, least: int = 4) -> np.ndarray:
    """Boxes of all sizes and places, the frame's own corners among them."""
    random = np.random.default_rng(4)
    x = np.sort(random.integers(0, WIDTH + 1, (4 * count, 2)), axis=1)
    y = np.sort(random.integers(0, HEIGHT + 1, (4 * count, 2)), axis=1)
    boxes = np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
    big = (x[:, 1] - x[:, 0] >= least) & (y[:, 1] - y[:, 0] >= least)
    return np.concatenate([[[0, 0, WIDTH, HEIGHT], [0, 0, 5, 4]], boxes[big]])[:count]


def same(one: Verdict, other: Verdict) -> None:
    assert (one.label, one.name, one.reason) == (other.label, other.name, other.reason)
    assert (one.view_labels, one.count) == (other.view_labels, other.count)
    assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


@pytest.mark.parametrize("plan", ["batched", "cascade"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_a_box_equals_the_frame_cut_to_it(
    make_guard: MakeGuard, scene: np.ndarray, plan: Any, colour: Any
) -> None:
    """More boxes than go into one batch, and more sizes than plans are kept."""
    boxes = drawn(150)
    assert len({(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes.tolist()}) > 64
    guard = Guard(make_guard(), plan=plan)
    verdicts = guard.classify(scene, colour, boxes=boxes)
    assert len(verdicts) == 150
    assert len({verdict.name for verdict in verdicts}) > 1
    for verdict, (x0, y0, x1, y1) in zip(verdicts, boxes.tolist(), strict=True):
        assert verdict.box == (x0, y0, x1, y1)
        same(verdict, guard.classify(scene[y0:y1, x0:x1].copy(), colour))


def test_what_lies_outside_a_box_does_not_matter(make_guard: MakeGuard, scene: np.ndarray) -> None:
    guard = Guard(make_guard(), plan="batched")
    box = [30, 20, 61, 55]
    other = 255 - scene
    other[20:55, 30:61] = scene[20:55, 30:61]
    (one,), (two,) = guard.classify(scene, boxes=[box]), guard.classify(other, boxes=[box])
    assert (one.confidence, one.view_labels) == (two.confidence, two.view_labels)


@pytest.mark.parametrize(("own", "other"), [("crop", "stretch"), ("stretch", "crop")])
def test_boxes_may_be_fitted_otherwise_than_frames(
    make_guard: MakeGuard, own: Any, other: Any
) -> None:
    # A box that is red at the ends and blue in the middle: a centre crop never sees the red.
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[..., 0] = 250
    frame[:, 50:70] = 0, 0, 200
    boxes = [[0, 40, 120, 60]]
    guard = Guard(make_guard(defense=replace(SMALL, fit=own)))
    kept, changed = (guard.classify(frame, boxes=boxes, fit=fit)[0] for fit in (own, other))
    by_fit = {own: kept.name, other: changed.name}
    assert by_fit == {"crop": "blue", "stretch": "red"}
    reference = Guard(make_guard("other.onnx", replace(SMALL, fit=other)))
    same(changed, reference.classify(frame, boxes=boxes)[0])
    same(kept, guard.classify(frame, boxes=boxes)[0])


def test_boxes_at_the_border_are_clipped_on_request(
    make_guard: MakeGuard, scene: np.ndarray
) -> None:
    guard = Guard(make_guard())
    boxes = [[-9, -5, 30, 40], [100, 60, 500, 500], [-50, 0, -3, 9], [7, 7, 7, 20], [3, 3, 5, 80]]
    verdicts = guard.classify(scene, boxes=boxes, border="clip")
    assert [verdict.box for verdict in verdicts] == [
        (0, 0, 30, 40),
        (100, 60, 120, 90),
        (-50, 0, -3, 9),
        (7, 7, 7, 20),
        (3, 3, 5, 80),
    ]
    same(verdicts[0], guard.classify(scene[:40, :30]))
    same(verdicts[1], guard.classify(scene[60:, 100:]))
    for verdict in verdicts[2:]:
        assert (verdict.label, verdict.reason, verdict.accepted) == (-1, "bad_box", False)
        assert (verdict.confidence, verdict.view_labels) == (None, (None, None, None))
        assert verdict.disagreement is None
        assert verdict.to_dict()["box"] == verdict.box
    assert [v.reason for v in guard.classify(scene, boxes=boxes[2:], border="clip")] == [
        "bad_box"
    ] * 3


def test_a_box_knows_its_frame(make_guard: MakeGuard, scene: np.ndarray) -> None:
    guard = Guard(make_guard())
    frame = Frame(scene, "bgr", "cam", 7, 0.0)
    boxes = np.array([[0, 0, 20, 20], [0, 0, 1, 1]], np.int16)
    for verdict in guard.classify(frame, boxes=boxes, border="clip"):
        assert (verdict.source, verdict.sequence) == ("cam", 7)
        assert verdict.age_ms > 0
    assert guard.classify(frame).box is None


@pytest.mark.parametrize("boxes", [[], np.zeros((0, 4)), np.zeros((0, 4), np.int64)])
def test_no_boxes(make_guard: MakeGuard, scene: np.ndarray, boxes: Any) -> None:
    assert Guard(make_guard()).classify(scene, boxes=boxes) == []


def test_no_pixel_is_copied(
    make_guard: MakeGuard, scene: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = Guard(make_guard())
    seen: list[Any] = []
    real = guards.cut
    monkeypatch.setattr(guards, "cut", lambda *args: seen.extend(found := real(*args)) or found)
    guard.classify(scene, boxes=drawn(5))
    assert len(seen) == 5
    assert all(np.shares_memory(crop.frame.pixels, scene) for crop in seen)


BAD: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "floats": ({"boxes": [[0.0, 0, 9, 9]]}, FrameError, r"float64; expected .*round\(\)\.astype"),
    "NaN": ({"boxes": [[np.nan, 0, 9, 9]]}, FrameError, "float64"),
    "one box flat": ({"boxes": [0, 0, 9, 9]}, FrameError, r"shape \(4,\) and dtype int64"),
    "five columns": ({"boxes": [[0, 0, 9, 9, 1]]}, FrameError, r"shape \(1, 5\)"),
    "ragged": ({"boxes": [[0, 0, 9, 9], [1]]}, FrameError, "expected .K, 4. integers"),
    "outside": (
        {"boxes": [[0, 0, 9, 9], [-1, 0, 9, 9]]},
        FrameError,
        r"box 1 is \(-1, 0, 9, 9\); expected .* x1 <= 120 .*border='clip'",
    ),
    "turned round": ({"boxes": [[9, 9, 2, 20]]}, FrameError, r"box 0 is \(9, 9, 2, 20\)"),
    "too small": ({"boxes": [[5, 5, 6, 60]]}, DefenseError, r"box 0 is .*frames of 1x55 px"),
    "border": ({"boxes": [[0, 0, 9, 9]], "border": "pad"}, FrameError, "'refuse' or 'clip'"),
    "fit without boxes": ({"fit": "stretch"}, FrameError, "border and fit are of boxes"),
    "fit": ({"boxes": [[0, 0, 9, 9]], "fit": "letterbox"}, DefenseError, "fit is 'letterbox'"),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_explained(make_guard: MakeGuard, scene: np.ndarray, case: str) -> None:
    given, error, message = BAD[case]
    with pytest.raises(error, match=message):
        Guard(make_guard()).classify(scene, **given)


def test_a_closed_guard_takes_no_boxes(make_guard: MakeGuard, scene: np.ndarray) -> None:
    with Guard(make_guard(defense=Defense(resize=20, crop=(16, 16)))) as guard:
        guard.classify(scene, boxes=drawn(2), fit="stretch")
    with pytest.raises(GuardError, match="closed"):
        guard.classify(scene, boxes=drawn(2), fit="stretch")


def test_a_guard_of_whole_frames_takes_no_boxes() -> None:
    path = Path(str(files("blurvote.runtime.demo") / "signs_frames.onnx"))
    with pytest.raises(GuardError, match=r"takes whole frames; .* export .* --input views"):
        Guard(path, provider="cpu").classify(np.zeros((48, 64, 3), np.uint8), boxes=[[0, 0, 9, 9]])
