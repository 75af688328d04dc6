"""The Square attack against a guard that can be reasoned about."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks.robustness.attacks.blackbox import Answers, square
from blurvote.runtime.errors import BlurvoteError, FrameError

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("art.attacks.evasion")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")


class BrightGuard:
    """Class 1 above a mean brightness of 128, class 0 below; rejects within `unsure` of it."""

    def __init__(self, unsure: float = 0.0, classes: int = 3) -> None:
        self.unsure, self.classes = unsure, classes
        self.seen: list[np.ndarray] = []

    def __call__(self, frames: np.ndarray) -> Answers:
        self.seen += list(frames)
        assert frames.dtype == np.uint8
        above = frames.mean(axis=(1, 2, 3)) - 128
        scores = np.full((len(frames), self.classes), 1e-3)
        scores[:, 1] = 1 / (1 + np.exp(-above / 4))
        scores[:, 0] = 1 - scores[:, 1]
        labels = np.where(np.abs(above) < self.unsure, -1, (above > 0).astype(int))
        return Answers(scores, labels.astype(np.int64))


def dark(height: int = 16, width: int = 16, mean: int = 124) -> np.ndarray:
    random = np.random.default_rng(0)
    return random.integers(mean - 20, mean + 21, (1, height, width, 3)).astype(np.uint8)


def test_finds_a_frame_that_is_wrong_and_accepted() -> None:
    guard, frame = BrightGuard(), dark()
    found = square(guard, frame, [0], 16 / 255, 300, [4])
    assert found.succeeded == (True,)
    assert np.abs(found.frames[0].astype(int) - frame[0]).max() <= 16
    assert BrightGuard()(found.frames).labels[0] == 1
    assert found.queries == (len(guard.seen),)
    assert np.array_equal(guard.seen[-1], found.frames[0])
    assert len({seen.tobytes() for seen in guard.seen}) == len(guard.seen)  # none asked twice
    assert np.array_equal(guard.seen[0], frame[0])


def test_a_rejected_frame_is_no_success() -> None:
    """The scores turn at a mean of 128, but up to 134 the guard rejects: the search goes on."""
    plain, wary = BrightGuard(), BrightGuard(unsure=6)
    early = square(plain, dark(), [0], 20 / 255, 400, [4])
    late = square(wary, dark(), [0], 20 / 255, 400, [4])
    assert early.succeeded == late.succeeded == (True,)
    assert early.frames.mean() < 134 < late.frames.mean()
    assert late.queries[0] > early.queries[0]
    never = square(BrightGuard(unsure=50), dark(), [0], 20 / 255, 60, [4])
    assert never.succeeded == (False,)
    assert never.frames.mean() > 128  # its best frame


def test_stops_at_the_limit() -> None:
    guard = BrightGuard()
    found = square(guard, dark(mean=60), [0], 4 / 255, 25, [1])
    # The search draws some frames twice, so it may end a little below the limit.
    assert (found.succeeded, found.queries) == ((False,), (len(guard.seen),))
    assert 18 <= len(guard.seen) <= 25
    assert np.abs(found.frames[0].astype(int) - dark(mean=60)[0]).max() <= 4
    assert found.frames.mean() > dark(mean=60).mean()
    once = square(BrightGuard(), dark(), [0], 4 / 255, 1, [1])
    assert (once.queries, once.succeeded) == ((1,), (False,))
    assert np.array_equal(once.frames, dark())


def test_a_frame_that_is_already_wrong_costs_one_query() -> None:
    found = square(BrightGuard(), dark(), [1], 8 / 255, 100, [1])
    assert (found.succeeded, found.queries) == ((True,), (1,))
    assert np.array_equal(found.frames, dark())


@pytest.mark.parametrize(("height", "width"), [(9, 41), (40, 8), (4, 4)])
def test_frames_that_are_not_square(height: int, width: int) -> None:
    """ART's first square would be longer than the short side."""
    frames = dark(height, width, mean=90)
    found = square(BrightGuard(), frames, [0], 8 / 255, 30, [2])
    assert found.frames.shape == frames.shape
    assert found.queries[0] > 10


def test_each_frame_has_its_own_seed_and_numpy_is_left_as_it_was() -> None:
    frames = np.concatenate([dark(), dark(mean=120), dark(mean=122)])
    np.random.seed(7)  # noqa: NPY002 - the state that must survive
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(7)  # noqa: NPY002
    together = square(BrightGuard(), frames, [0, 0, 0], 12 / 255, 80, [1, 2, 3])
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002
    alone = square(BrightGuard(), frames[1:2], [0], 12 / 255, 80, [2])
    assert np.array_equal(alone.frames[0], together.frames[1])
    assert alone.queries[0] == together.queries[1]
    other = square(BrightGuard(), frames[1:2], [0], 12 / 255, 80, [9])
    assert not np.array_equal(other.frames, alone.frames)


REFUSED: list[tuple[dict[str, Any], type[BlurvoteError], str]] = [
    ({"frames": dark()[0]}, FrameError, r"expected \(N, H, W, 3\) uint8"),
    ({"frames": dark(3, 9)}, FrameError, "of 4x4 px or more"),
    ({"labels": [0, 1]}, FrameError, "2 labels and 1 seeds for 1 frames"),
    ({"labels": [3]}, BlurvoteError, "label 3 with scores of 3 classes; expected 0 to 2"),
    ({"queries": 0}, BlurvoteError, "queries is 0; expected at least 1"),
    ({"epsilon": 0.001}, BlurvoteError, "less than one grey level"),
    ({"first_share": 1.0}, BlurvoteError, "first_share is 1.0"),
]


@pytest.mark.parametrize(("values", "error", "message"), REFUSED)
def test_refuses(values: dict[str, Any], error: type[BlurvoteError], message: str) -> None:
    given = {"frames": dark(), "labels": [0], "epsilon": 0.1, "queries": 5, "seeds": [1]} | values
    with pytest.raises(error, match=message):
        square(BrightGuard(), **given)
