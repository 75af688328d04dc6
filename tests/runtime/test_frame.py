"""The check that every frame passes once."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import Frame, FrameError
from blurvote.runtime.frame import MAX_SIDE, check_colour, check_pixels

SIDES = st.integers(1, 40)
PACKED = np.zeros((6, 8, 3), np.uint8)

# What is given, and what the message says of it: given, expected, fix.
REFUSED: dict[str, tuple[Any, list[str]]] = {
    "list": ([[0]], ["a frame is a numpy array", "builtins.list", "numpy.asarray(frame)"]),
    "none": (None, ["got builtins.NoneType"]),
    "grey": (
        PACKED[..., 0],
        ["shape (6, 8)", "expected (H, W, 3) uint8", "cv2.COLOR_GRAY2RGB"],
    ),
    "grey with an axis": (PACKED[..., :1], ["shape (6, 8, 1)", "cv2.COLOR_GRAY2RGB"]),
    "rgba": (np.zeros((6, 8, 4), np.uint8), ["shape (6, 8, 4)", "cv2.COLOR_RGBA2RGB"]),
    "channels first": (
        np.zeros((3, 6, 8), np.uint8),
        ["shape (3, 6, 8)", "channels-first", "transpose(1, 2, 0)"],
    ),
    "batch": (PACKED[None], ["shape (1, 6, 8, 3)", "looks like a batch", "classify_batch"]),
    "floats": (PACKED.astype(np.float32), ["dtype float32", ".astype('uint8')"]),
    "int8": (PACKED.astype(np.int8), ["dtype int8", "expected (H, W, 3) uint8"]),
    "two channels": (np.zeros((6, 8, 2), np.uint8), ["shape (6, 8, 2)", "cv2.imread"]),
    "vector": (np.zeros(3, np.uint8), ["shape (3,)", "cv2.imread"]),
    "no rows": (PACKED[:0], ["8x0 px", f"sides of 1 to {MAX_SIDE} px"]),
    "no columns": (PACKED[:, :0], ["0x6 px", f"sides of 1 to {MAX_SIDE} px"]),
    "too wide": (
        np.broadcast_to(np.zeros(3, np.uint8), (1, MAX_SIDE + 1, 3)),
        [f"{MAX_SIDE + 1}x1 px", f"sides of 1 to {MAX_SIDE} px"],
    ),
    "mirrored": (PACKED[:, ::-1], ["not packed (strides (24, -3, 1))", "numpy.ascontiguousarray"]),
    "subsampled": (PACKED[:, ::2], ["not packed (strides (24, 6, 1))", "numpy.ascontiguousarray"]),
    "channels reversed": (PACKED[..., ::-1], ["strides (24, 3, -1)", "pass colour='bgr'"]),
}


@pytest.mark.parametrize(("pixels", "parts"), REFUSED.values(), ids=REFUSED.keys())
def test_the_message_says_what_is_wrong_and_how_to_fix_it(pixels: Any, parts: list[str]) -> None:
    with pytest.raises(FrameError) as caught:
        check_pixels(pixels)
    for part in parts:
        assert part in str(caught.value)


def test_the_fixes_work() -> None:
    check_pixels(np.ascontiguousarray(PACKED[:, ::-1]))
    check_pixels(np.ascontiguousarray(np.zeros((3, 6, 8), np.uint8).transpose(1, 2, 0)))
    ramp = np.linspace(-0.1, 1.1, 6 * 8 * 3).reshape(6, 8, 3)
    check_pixels((ramp * 255).round().clip(0, 255).astype("uint8"))


@settings(deadline=None)
@given(height=SIDES, width=SIDES, top=SIDES, left=SIDES)
def test_rows_may_lie_any_distance_apart(height: int, width: int, top: int, left: int) -> None:
    parent = np.zeros((height + top, width + left, 3), np.uint8)
    check_pixels(parent)
    check_pixels(parent[top:, left:])
    check_pixels(parent[::-1])
    check_pixels(parent[::2])


@settings(deadline=None)
@given(text=st.text(max_size=5).filter(lambda text: text not in ("rgb", "bgr")))
def test_other_colour_orders_are_refused(text: str) -> None:
    expected = f"colour is {text!r}; expected 'rgb' or 'bgr'"
    with pytest.raises(FrameError, match=f"^{re.escape(expected)}$"):
        check_colour(text)


def test_both_colour_orders_pass() -> None:
    check_colour("rgb")
    check_colour("bgr")


def test_frames_are_stamped_in_the_order_they_are_made() -> None:
    first, second = Frame(PACKED), Frame(PACKED)
    assert (first.colour, first.source, first.sequence) == ("rgb", "", 0)
    assert first.captured_at <= second.captured_at
    assert first != second  # compared by identity: pixels are not
