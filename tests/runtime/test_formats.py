"""Frames as cameras give them: the kernel, the conversion for people, and the guard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.export import reference
from blurvote.runtime import Defense, DefenseError, Frame, Guard, ViewBuilder, _kernels
from blurvote.runtime.annotate import annotate
from blurvote.runtime.conversion import some_pixels, to_rgb
from blurvote.runtime.demo import guard_path
from blurvote.runtime.frame import check_frame
from blurvote.runtime.pipeline.health import HealthWatch
from tests.conftest import SMALL

MakeGuard = Callable[..., Path]

OPENCV = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "gray": cv2.COLOR_GRAY2RGB,
}
LEVEL = 255 * np.array(Defense().std)[:, None, None]  # 1 / 255 in the units of views
SIDES = st.integers(3, 60)


def random_frame(colour: Any, height: int, width: int, seed: int = 0, pad: int = 0) -> Frame:
    """Noise with `pad` bytes of other noise behind every row."""
    shapes: dict[str, tuple[int, ...]] = {
        "rgb": (height, width, 3),
        "bgr": (height, width, 3),
        "gray": (height, width),
        "nv12": (height * 3 // 2, width),
        "yuyv": (height, width, 2),
    }
    shape = shapes[colour]
    wide = (shape[0], shape[1] + pad, *shape[2:])
    noise = np.random.default_rng(seed).integers(0, 256, wide, np.uint8)
    return Frame(noise[:, : shape[1]], colour)


def encoded(bgr: np.ndarray) -> dict[Any, np.ndarray]:
    """The pixels of an (H, W, 3) picture in each format, by OpenCV."""
    height, width = bgr.shape[:2]
    planar = cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_I420)
    chroma = planar[height:].reshape(2, -1).T.reshape(height // 2, width)
    return {
        "nv12": np.concatenate([planar[:height], chroma]),
        "yuyv": cv2.cvtColor(bgr, cv2.COLOR_BGR2YUV_YUY2),
        "gray": cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY),
    }


def samples(frame: Frame) -> np.ndarray:
    """(height, width, 3) float64: Y, U, V of every pixel, picked one by one."""
    pixels, x0, y0 = frame.pixels, *(frame.window or (0, 0))[:2]
    y, x = np.mgrid[y0 : y0 + frame.height, x0 : x0 + frame.width]
    if frame.colour == "gray":
        luma = pixels.reshape(pixels.shape[:2])[y, x]
        return np.stack([luma, np.full_like(luma, 128), np.full_like(luma, 128)], -1).astype(float)
    if frame.colour == "yuyv":
        pairs = x // 2 * 2
        picked = pixels[y, x, 0], pixels[y, pairs, 1], pixels[y, pairs + 1, 1]
    else:
        rows = len(pixels) * 2 // 3
        picked = (
            pixels[y, x], pixels[rows + y // 2, x // 2 * 2], pixels[rows + y // 2, x // 2 * 2 + 1]
        )  # fmt: skip
    return np.stack(picked, -1).astype(float)


def exact_rgb(frame: Frame) -> np.ndarray:
    """(height, width, 3) float64 RGB in 0..255 by ITU-R's formulas, not rounded or clipped."""
    luma, blue, red = np.moveaxis(samples(frame) - (0, 128, 128), -1, 0)
    if frame.colour == "gray":
        return np.stack([luma] * 3, -1)
    if (frame.matrix, frame.range) == ("bt601", "limited"):  # OpenCV's constants
        luma = 1.164 * (luma - 16)
        green = luma - 0.391 * blue - 0.813 * red
        return np.stack([luma + 1.596 * red, green, luma + 2.018 * blue], -1)
    kr, kb = (0.2126, 0.0722) if frame.matrix == "bt709" else (0.299, 0.114)
    if frame.range == "limited":
        luma, blue, red = (luma - 16) * 255 / 219, blue * 255 / 224, red * 255 / 224
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    return np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], -1)


def opencv_rgb(frame: Frame) -> np.ndarray:
    """The same as OpenCV clips it: luma at black, and R, G, B at 0 and 255."""
    if (frame.colour, frame.matrix, frame.range) == ("gray", "bt601", "limited"):
        return exact_rgb(frame)
    if (frame.matrix, frame.range) == ("bt601", "limited"):
        pixels = frame.pixels.copy()
        luma = pixels[..., 0] if frame.colour == "yuyv" else pixels[: len(pixels) * 2 // 3]
        np.maximum(luma, 16, out=luma)
        frame = replace(frame, pixels=pixels)
    return exact_rgb(frame).clip(0, 255)


def exact_views(defense: Defense, frame: Frame, rgb: np.ndarray | None = None) -> np.ndarray:
    """(V, 3, h, w) float64 by the full-size conversion and the dense matrices."""
    matrices = reference.view_matrices(defense, frame.height, frame.width)
    planes = (exact_rgb(frame) if rgb is None else rgb).transpose(2, 0, 1)
    views = matrices.rows[:, None] @ planes @ matrices.cols[:, None].transpose(0, 1, 3, 2)
    mean, std = (np.array(v)[:, None, None] for v in (defense.mean, defense.std))
    return np.asarray((views / 255 - mean) / std)


def test_the_reference_knows_pure_colours() -> None:
    """75 % bars of BT.709 and BT.601 in 8 bits, as every video text prints them."""
    bars: dict[Any, tuple[list[int], list[int]]] = {
        "bt709": ([51, 109, 212], [191, 0, 0]),  # red
        "bt601": ([65, 100, 212], [191, 0, 0]),
    }
    for matrix, (yuv, rgb) in bars.items():
        pixels = np.array([[[yuv[0], yuv[1]], [yuv[0], yuv[2]]]], np.uint8)
        frame = Frame(pixels, "yuyv", matrix=matrix)
        assert np.abs(exact_rgb(frame) - rgb).max() < 1.5
        assert np.abs(frame.as_rgb().astype(int) - rgb).max() <= 2


@settings(max_examples=120, deadline=None)
@given(
    colour=st.sampled_from(["gray", "nv12", "yuyv"]),
    half=st.tuples(st.integers(3, 90), st.integers(3, 90)),
    origin=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    short=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    pad=st.sampled_from([0, 5]),
    matrix=st.sampled_from(["bt601", "bt709"]),
    range=st.sampled_from(["limited", "full"]),
    passes=st.sampled_from([(0, 1, 2), (1,), (0, 2), (0, 1, 2, 3)]),
    blur_at=st.sampled_from(["frame", "model"]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    isa=st.sampled_from(_kernels.available_isas()),
)
def test_equals_the_exact_conversion_of_any_window(
    colour: Any,
    half: tuple[int, int],
    origin: tuple[int, int],
    short: tuple[int, int],
    pad: int,
    matrix: Any,
    range: Any,
    isa: str,
    **fields: Any,
) -> None:
    frame = random_frame(colour, 2 * half[0], 2 * half[1], half[0], pad)
    corner = frame.width - short[0], frame.height - short[1]
    if corner[0] > origin[0] and corner[1] > origin[1]:
        frame = replace(frame, window=(*origin, *corner))
    frame = replace(frame, matrix=matrix, range=range)
    defense = Defense(resize=24, crop=(21, 19), **fields)
    try:
        views = ViewBuilder(defense, isa=isa).build(frame)
    except DefenseError:
        with pytest.raises(DefenseError):
            reference.view_matrices(defense, frame.height, frame.width)
        return
    np.testing.assert_allclose(views, exact_views(defense, frame), rtol=0, atol=1e-5)


@pytest.mark.parametrize("colour", OPENCV)
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (480, 640), (374, 498), (16, 18)])
def test_large_and_small_frames_on_any_threads(colour: Any, height: int, width: int) -> None:
    frame = random_frame(colour, height, width)
    expected = exact_views(Defense(), frame)
    for threads in (1, 3):
        views = ViewBuilder(Defense(), threads=threads).build(frame)
        np.testing.assert_allclose(views, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("colour", OPENCV)
def test_opencv_and_the_rgb_path_differ_by_rounding_where_no_colour_is_clipped(colour: Any) -> None:
    # Colours well inside R, G, B 0..255: full-size rounding is 1/2 level at most, and averages out.
    frame = random_frame(colour, 360, 480)
    muted = replace(frame, pixels=(frame.pixels // 8 + 112).astype(np.uint8))
    builder = ViewBuilder(Defense())
    theirs = builder.build(cv2.cvtColor(muted.pixels, OPENCV[colour]))
    apart = np.abs(builder.build(muted) - theirs) * LEVEL
    assert apart.max() <= 0.55
    assert apart.mean() < 0.15


def test_real_video_is_within_a_level_and_a_half_of_opencv(assets: Path) -> None:
    video = cv2.VideoCapture(str(assets / "video" / "car-detection.mp4"))
    builder = ViewBuilder(Defense())
    for _ in range(5):
        for _ in range(20):
            ok, bgr = video.read()
        assert ok
        for colour, given_pixels in encoded(bgr).items():
            frame = Frame(given_pixels, colour)
            theirs = builder.build(cv2.cvtColor(given_pixels, OPENCV[colour]))
            apart = np.abs(builder.build(frame) - theirs) * LEVEL
            assert apart.mean() < 1.5
            # What is more than rounding is OpenCV's clipping: with it the exact views are theirs.
            clipped = exact_views(Defense(), frame, opencv_rgb(frame))
            assert (np.abs(clipped - theirs) * LEVEL).max() <= 0.55
    video.release()


@pytest.mark.parametrize("colour", OPENCV)
@pytest.mark.parametrize("window", [None, (3, 5, 40, 44), (2, 4, 42, 38)])
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
@pytest.mark.parametrize("range_", ["limited", "full"])
def test_the_conversion_for_people(colour: Any, window: Any, matrix: Any, range_: Any) -> None:
    frame = replace(random_frame(colour, 48, 44, pad=4), window=window, matrix=matrix, range=range_)
    rgb = frame.as_rgb()
    assert rgb.shape == (frame.height, frame.width, 3)
    assert np.abs(rgb - opencv_rgb(frame)).max() < 1.01
    np.testing.assert_array_equal(frame.as_bgr(), rgb[..., ::-1])
    out = np.empty_like(rgb)
    assert to_rgb(frame, out) is out or np.shares_memory(to_rgb(frame, out), out)
    np.testing.assert_array_equal(out, rgb)
    if window is None and (matrix, range_) == ("bt601", "limited"):
        np.testing.assert_array_equal(rgb, cv2.cvtColor(frame.pixels, OPENCV[colour]))


@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_pictures_are_shared_where_nothing_is_converted(colour: Any) -> None:
    frame = replace(random_frame(colour, 20, 30), window=(2, 3, 12, 13))
    same, other = frame.as_rgb(), frame.as_bgr()
    if colour == "bgr":
        same, other = other, same
    assert np.shares_memory(same, frame.pixels)
    np.testing.assert_array_equal(same, frame.pixels[3:13, 2:12])
    np.testing.assert_array_equal(other, same[..., ::-1])


@pytest.mark.parametrize("colour", ["rgb", "bgr", *OPENCV])
def test_a_window_of_a_padded_buffer_is_that_image(colour: Any) -> None:
    """As of hardware decoders, whose rows and planes are longer than the image."""
    buffer = random_frame(colour, 64, 96)
    frame = replace(buffer, window=(0, 0, 90, 58))
    check_frame(frame)
    changed = buffer.pixels.copy()
    if colour == "nv12":
        changed[58:64], changed[64 + 29 :], changed[:, 90:] = 0, 0, 0
    else:
        changed[58:], changed[:, 90:] = 0, 0
    builder = ViewBuilder(SMALL)
    views = builder.build(frame)
    np.testing.assert_array_equal(views, builder.build(replace(frame, pixels=changed)))
    np.testing.assert_array_equal(frame.as_rgb(), replace(frame, pixels=changed).as_rgb())


@settings(max_examples=60, deadline=None)
@given(
    colour=st.sampled_from(["rgb", "gray", "nv12", "yuyv"]), height=SIDES, width=SIDES,
    side=st.integers(1, 70), seed=st.integers(0, 9),
)  # fmt: skip
def test_some_pixels_are_a_grid_of_the_samples(
    colour: Any, height: int, width: int, side: int, seed: int
) -> None:
    whole = random_frame(colour, 2 * height + 2, 2 * width + 2, seed)
    frame = replace(whole, window=(seed % 2, seed % 3, seed % 2 + width, seed % 3 + height))
    grid = some_pixels(frame, side)
    assert grid.ndim == 3
    for length, count in zip((height, width), grid.shape[:2], strict=True):
        assert min(length, side) // 2 <= count <= 2 * side + 1
    blank = replace(frame, pixels=np.full_like(whole.pixels, 7))
    assert set(some_pixels(blank, side).ravel().tolist()) == {7}


@pytest.mark.parametrize("colour", OPENCV)
def test_health_is_judged_in_any_format(colour: Any) -> None:
    watch = HealthWatch(10, check_blank=True)
    frame = replace(random_frame(colour, 480, 640), captured_at=0.0)
    assert watch.judge(frame) == "live"
    assert watch.judge(replace(frame, captured_at=11.0)) == "frozen"
    flat = frame.pixels.copy()
    flat[...] = 128
    assert watch.judge(replace(frame, pixels=flat, captured_at=12.0)) == "blank"


@pytest.mark.parametrize("colour", OPENCV)
def test_annotated_frames(colour: Any, make_guard: MakeGuard) -> None:
    guard = Guard(make_guard())
    frame = replace(random_frame(colour, 60, 80), window=(1, 1, 74, 52))
    picture = annotate(frame, guard.classify(frame), guard.defense, guard.labels)
    np.testing.assert_array_equal(picture[:51, :73], frame.as_bgr())


@pytest.mark.parametrize("colour", OPENCV)
@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_verdicts_and_boxes_at_odd_places(make_guard: MakeGuard, colour: Any, plan: Any) -> None:
    guard = Guard(make_guard(), plan=plan)
    scene = np.random.default_rng(3).integers(40, 90, (90, 120, 3), np.uint8)
    for n in range(3):
        scene[:, 40 * n : 40 * n + 40, n] += 90
    frame = Frame(encoded(scene)[colour], colour)
    rgb = frame.as_rgb()
    boxes = [[0, 0, 120, 90], [1, 0, 60, 50], [0, 1, 61, 50], [33, 41, 79, 90], [7, 7, 28, 29]]
    one, other = guard.classify(frame, boxes=boxes), guard.classify(rgb, boxes=boxes)
    for ours, theirs in zip(one, other, strict=True):
        assert ours.box == theirs.box
        assert ours.view_labels == theirs.view_labels
        assert ours.confidence == pytest.approx(theirs.confidence, abs=2e-3)
    assert guard.classify(frame.pixels, colour).label == guard.classify(frame).label
    inner = replace(frame, window=(5, 3, 100, 80))
    for ours, theirs in zip(
        guard.classify(inner, boxes=[[1, 2, 40, 50]]),
        guard.classify(frame, boxes=[[6, 5, 45, 53]]),
        strict=True,
    ):
        assert ours.confidence == theirs.confidence


@pytest.mark.parametrize("colour", ["bgr", *OPENCV])
def test_a_frames_guard_takes_them_converted(colour: Any) -> None:
    frame = random_frame(colour, 240, 320, 5)
    with Guard(guard_path("frames"), "cpu") as guard:
        assert guard.classify(frame).confidence == guard.classify(frame.as_rgb()).confidence
        both = guard.classify_batch([frame, frame.as_rgb()])
        assert both[0].confidence == both[1].confidence


def test_torch_agrees_on_repeated_chroma() -> None:
    """Chroma on its own plane through torch's nearest upsampling and matmul, in float64."""
    frame = random_frame("nv12", 120, 160, 8)
    luma = torch.from_numpy(frame.pixels[:120].copy()).double()
    chroma = torch.from_numpy(frame.pixels[120:].reshape(60, 80, 2).copy()).double()
    up = torch.nn.functional.interpolate(chroma.permute(2, 0, 1)[None], scale_factor=2)[0] - 128
    red = 1.164 * (luma - 16) + 1.596 * up[1]
    views = ViewBuilder(SMALL).build(frame)
    matrices = reference.view_matrices(SMALL, 120, 160)
    rows, cols = torch.from_numpy(matrices.rows), torch.from_numpy(matrices.cols)
    expected = (rows @ red @ cols.transpose(1, 2) / 255 - SMALL.mean[0]) / SMALL.std[0]
    np.testing.assert_allclose(views[:, 0], expected, rtol=0, atol=1e-5)
