"""The check that every frame passes once."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import Frame, FrameError
from blurvote.runtime.frame import MAX_SIDE, Colour, check_colour, check_frame, check_pixels

SIDES = st.integers(1, 40)
PACKED = np.zeros((6, 8, 3), np.uint8)

# What is given, and what the message says of it: given, expected, fix.
REFUSED: dict[str, tuple[Any, list[str]]] = {
    "list": ([[0]], ["a frame is a numpy array", "builtins.list", "numpy.asarray(frame)"]),
    "none": (None, ["got builtins.NoneType"]),
    "grey": (
        PACKED[..., 0],
        ["shape (6, 8)", "expected (H, W, 3) uint8 for colour='rgb'", "pass colour='gray'"],
    ),
    "grey with an axis": (PACKED[..., :1], ["shape (6, 8, 1)", "pass colour='gray'"]),
    "rgba": (np.zeros((6, 8, 4), np.uint8), ["shape (6, 8, 4)", "cv2.COLOR_RGBA2RGB"]),
    "channels first": (
        np.zeros((3, 6, 8), np.uint8),
        ["shape (3, 6, 8)", "channels-first", "transpose(1, 2, 0)"],
    ),
    "batch": (PACKED[None], ["shape (1, 6, 8, 3)", "looks like a batch", "classify_batch"]),
    "floats": (PACKED.astype(np.float32), ["dtype float32", ".astype('uint8')"]),
    "int8": (PACKED.astype(np.int8), ["dtype int8", "expected (H, W, 3) uint8"]),
    "yuyv": (np.zeros((6, 8, 2), np.uint8), ["shape (6, 8, 2)", "pass colour='yuyv'"]),
    "five channels": (np.zeros((6, 8, 5), np.uint8), ["shape (6, 8, 5)", "cv2.imread"]),
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
@given(text=st.text(max_size=5).filter(lambda text: text not in get_args(Colour)))
def test_other_colours_are_refused(text: str) -> None:
    expected = f"colour is {text!r}; expected 'rgb', 'bgr', 'gray', 'nv12' or 'yuyv'"
    with pytest.raises(FrameError, match=f"^{re.escape(expected)}$"):
        check_colour(text)


@pytest.mark.parametrize("colour", get_args(Colour))
def test_the_colours_pass(colour: Colour) -> None:
    check_colour(colour)


# What is given as which colour, and what the message says of it.
MISFITS: dict[str, tuple[Frame, list[str]]] = {
    "rgb as gray": (Frame(PACKED, "gray"), ["expected (H, W) or (H, W, 1) uint8", "colour='rgb'"]),
    "rgb as nv12": (Frame(PACKED, "nv12"), ["expected (3 H / 2, W) uint8", "colour='rgb'"]),
    "gray as yuyv": (Frame(PACKED[..., 0], "yuyv"), ["expected (H, W, 2) uint8", "colour='gray'"]),
    "nv12 of odd height": (Frame(np.zeros((8, 8), np.uint8), "nv12"), ["even H and W", "window"]),
    "nv12 of odd width": (Frame(np.zeros((6, 7), np.uint8), "nv12"), ["even H and W", "window"]),
    "yuyv of odd width": (Frame(np.zeros((6, 7, 2), np.uint8), "yuyv"), ["even W", "window"]),
    "nv12 of floats": (Frame(np.zeros((6, 8)), "nv12"), ["dtype float64", ".astype('uint8')"]),  # type: ignore[arg-type]
    "nv12 upside down": (Frame(np.zeros((6, 8), np.uint8)[::-1], "nv12"), ["run backwards"]),
    "gray mirrored": (Frame(np.zeros((6, 8), np.uint8)[:, ::-1], "gray"), ["not packed"]),
    "yuyv reversed": (Frame(np.zeros((6, 8, 2), np.uint8)[..., ::-1], "yuyv"), ["not packed"]),
    "nothing of nv12": (Frame(np.zeros((0, 8), np.uint8), "nv12"), ["8x0 px"]),
    "matrix": (Frame(PACKED, matrix="bt2020"), ["matrix is 'bt2020'; expected 'bt601' or"]),  # type: ignore[arg-type]
    "range": (Frame(PACKED, range="16"), ["range is '16'; expected 'limited' or 'full'"]),  # type: ignore[arg-type]
    "window": (
        Frame(PACKED, window=(0, 0, 9, 6)),
        ["is (0, 0, 9, 6)", "x1 <= 8", "y1 <= 6"],
    ),
    "window of floats": (Frame(PACKED, window=(0.0, 0, 4, 4)), ["(0.0, 0, 4, 4)", "four integers"]),  # type: ignore[arg-type]
    "window of three": (Frame(PACKED, window=(0, 0, 4)), ["is (0, 0, 4)", "x0, y0, x1, y1"]),  # type: ignore[arg-type]
    "window of an array": (
        Frame(PACKED, window=np.array([0, 0, 4, 4])),  # type: ignore[arg-type]
        ["array([0, 0, 4, 4])", "tuple(map(int, window))"],
    ),
    "window of bytes": (
        Frame(PACKED, window=tuple(np.array([0, 0, 4, 4], np.uint8))),
        ["four integers"],
    ),
    "empty window": (Frame(PACKED, window=(2, 2, 2, 4)), ["0 <= x0 < x1"]),
    "nv12 beyond": (Frame(np.zeros((6, 8), np.uint8), "nv12", window=(0, 0, 8, 6)), ["y1 <= 4"]),
}


@pytest.mark.parametrize(("frame", "parts"), MISFITS.values(), ids=MISFITS.keys())
def test_what_does_not_fit_its_colour_is_explained(frame: Frame, parts: list[str]) -> None:
    with pytest.raises(FrameError) as caught:
        check_frame(frame)
    for part in parts:
        assert part in str(caught.value)


def test_a_frame_knows_its_size() -> None:
    sizes = {
        Frame(PACKED): (6, 8),
        Frame(PACKED[..., 0], "gray"): (6, 8),
        Frame(PACKED[..., 0], "nv12"): (4, 8),
        Frame(PACKED[..., :2], "yuyv"): (6, 8),
        Frame(PACKED[..., 0], "nv12", window=(1, 0, 4, 3)): (3, 3),
    }
    for frame, size in sizes.items():
        assert (frame.height, frame.width) == size


def test_frames_are_stamped_in_the_order_they_are_made() -> None:
    first, second = Frame(PACKED), Frame(PACKED)
    assert (first.colour, first.source, first.sequence) == ("rgb", "", 0)
    assert first.captured_at <= second.captured_at
    assert first != second  # compared by identity: pixels are not
