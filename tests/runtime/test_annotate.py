"""The picture of a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import Defense, Frame, StageTimes, Verdict
from blurvote.runtime.annotate import GREEN, GREY, RED, annotate, label_name

LABELS = ("stop", "yield", "Vorfahrt gewähren ⛔")


def verdict(label: int, votes: tuple[int | None, ...], reason: Any = None) -> Verdict:
    name = LABELS[label] if 0 <= label < len(LABELS) else None
    confidence = None if reason else 0.9
    times = StageTimes(1, 2, 3)
    return Verdict(label, name, reason, confidence, 2, votes, "batched", times, "a.jpg", 0, 1.0)


VERDICTS = {
    "accepted": verdict(0, (0, 0, 1)),
    "cascade": verdict(1, (1, 1, None)),
    "number only": verdict(7, (7, 7, 7)),
    "odd letters": verdict(2, (2, 2, 2)),
    "no majority": verdict(-1, (0, 1, 2), "no_majority"),
    "no votes": verdict(-1, (-1, -1, -1), "invalid_views"),
}


def texture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 700),
    kind=st.sampled_from(list(VERDICTS)),
    colour=st.sampled_from(["rgb", "bgr"]),
)
def test_the_frame_is_kept_and_a_bar_added(height: int, width: int, kind: str, colour: Any) -> None:
    pixels = texture(height, width)
    before = pixels.copy()
    picture = annotate(Frame(pixels, colour), VERDICTS[kind], Defense(), LABELS)
    assert picture.dtype == np.uint8
    assert picture.flags.c_contiguous
    assert picture.shape[1:] == (width, 3)
    assert picture.shape[0] >= height + 14 * 5
    shown = before[..., ::-1] if colour == "rgb" else before
    np.testing.assert_array_equal(picture[:height], shown)
    np.testing.assert_array_equal(pixels, before)


def bar(kind: str) -> np.ndarray:
    return annotate(Frame(texture(90, 640), "bgr"), VERDICTS[kind], Defense(), LABELS)[90:]


def rows_with(colour: tuple[int, int, int], bar: np.ndarray) -> int:
    """How many of the three view rows have a vote in exactly that colour."""
    line = 640 // 26
    votes = bar[:, 640 * 2 // 5 :]
    rows = [votes[int((k + 1.65) * line) : int((k + 2.6) * line)] for k in range(3)]
    return sum(bool((row == colour).all(axis=-1).any()) for row in rows)


@pytest.mark.parametrize(
    ("kind", "title", "agreeing"),
    [
        ("accepted", GREEN, 2),
        ("cascade", GREEN, 2),
        ("number only", GREEN, 3),
        ("no majority", RED, 0),
        ("no votes", RED, 0),
    ],
)
def test_colours_tell_the_verdict_and_who_agreed(kind: str, title: Any, agreeing: int) -> None:
    drawn = bar(kind)
    assert tuple(drawn[2, -2]) == title
    assert rows_with(GREEN, drawn) == agreeing
    assert rows_with(GREY, drawn) == 3 - agreeing


def test_different_verdicts_look_different() -> None:
    drawn = [bar(kind).tobytes() for kind in VERDICTS]
    assert len(set(drawn)) == len(drawn)


def test_a_single_view_gets_one_row() -> None:
    defense = Defense(decision="single")
    picture = annotate(Frame(texture(90, 640)), verdict(0, (0,)), defense, LABELS)
    assert picture.shape[0] == 90 + 3 * (640 // 26)


def test_the_views_of_a_noisy_frame_have_their_own_names() -> None:
    names = ("denoised", "70%-denoised-double-blur", "single-blur")
    adaptive, plain = Defense(noisy_views=names), Defense()
    frame = Frame(texture(90, 640))
    quiet = verdict(0, (0, 0, 1))
    noisy = replace(quiet, denoised=True)
    as_before = annotate(frame, quiet, plain, LABELS)
    np.testing.assert_array_equal(annotate(frame, quiet, adaptive, LABELS), as_before)
    drawn = annotate(frame, noisy, adaptive, LABELS)
    assert drawn.shape == as_before.shape
    votes = 640 * 2 // 5
    np.testing.assert_array_equal(drawn[:, votes:], as_before[:, votes:])
    assert (drawn[:, :votes] != as_before[:, :votes]).any()
    assert not drawn[90 + 2 * (640 // 26) :, votes - 3 : votes].any(), "a name runs into its vote"


def test_label_names() -> None:
    assert label_name(1, LABELS) == "yield"
    assert label_name(3, LABELS) == "class 3"
    assert label_name(-1, LABELS) == "class -1"
    assert label_name(0, ()) == "class 0"
