"""The noise estimate: its definition, the kernel's, and both on pictures of known noise."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.benchmarks.robustness import noise_table as simulated
from blurvote.benchmarks.robustness.noise_accuracy import estimate
from blurvote.export import reference
from blurvote.runtime import Defense, DefenseError, Frame, ViewBuilder, _kernels
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.noise import estimate_noise, luma_share, noise_level, noise_table

ISAS = _kernels.available_isas()
COLOURS = ("rgb", "bgr", "gray", "nv12", "yuyv")
MASK = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], float)
LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}
INJECTED = (0.03, 0.06, 0.125, 0.25, 0.375)


def random_frame(colour: Any, height: int, width: int, seed: int, **fields: Any) -> Frame:
    """Noise around a slope, in part black and white, with rows that lie further apart."""
    shapes: dict[str, tuple[int, ...]] = {
        "rgb": (height, width, 3),
        "bgr": (height, width, 3),
        "gray": (height, width),
        "nv12": (height // 2 * 3, width // 2 * 2),
        "yuyv": (height, width // 2 * 2, 2),
    }
    shape = shapes[colour]
    wide = (shape[0], shape[1] + 5, *shape[2:])
    rng = np.random.default_rng(seed)
    slope = np.linspace(-60, 320, wide[1]).reshape(1, -1, *[1] * (len(wide) - 2))
    noise = rng.normal(0, rng.uniform(2, 60), wide)
    pixels = (slope + noise).round().clip(0, 255).astype(np.uint8)
    return Frame(pixels[:, : shape[1]], colour, **fields)


def cut(frame: Frame, rng: np.random.Generator) -> Frame:
    """A part that begins and ends at odd places."""
    x0, y0 = int(rng.integers(0, 6)), int(rng.integers(0, 6))
    x1, y1 = frame.width - int(rng.integers(0, 6)), frame.height - int(rng.integers(0, 6))
    return Frame(
        frame.pixels,
        frame.colour,
        window=(x0, y0, x1, y1),
        matrix=frame.matrix,
        range=frame.range,
    )


def planes_of(frame: Frame) -> list[np.ndarray]:
    """Of each channel (H, W) float64."""
    x0, y0, x1, y1 = frame.window or (0, 0, frame.width, frame.height)
    pixels = frame.pixels.astype(float)
    if frame.colour == "yuyv":
        pixels = pixels[..., 0]
    part = pixels[y0:y1, x0:x1]
    return [part] if part.ndim == 2 else list(np.moveaxis(part, -1, 0))


def definition(defense: Defense, frame: Frame) -> float | None:
    """The level of an antialiased bilinear defence's frame, step by step as DESIGN says it."""
    height, width = frame.height, frame.width
    resized_h, resized_w, top, left = ViewBuilder(defense).plan(height, width)
    scale = width / resized_w
    support = max(1.0, scale)  # of the triangle
    begin = max(0, math.floor(scale * (left + 0.5) - support + 0.5))
    end = min(width, math.floor(scale * (left + defense.crop[1] - 0.5) + support + 0.5))
    planes = planes_of(frame)
    luma = frame.colour in ("nv12", "yuyv")
    limited = luma and frame.range == "limited"
    dark, bright = (16, 235) if limited else (0, 255)
    found = []
    if height < 3:
        return None
    responses = [np.abs(cv2.filter2D(plane, cv2.CV_64F, MASK)) for plane in planes]
    for view_row in range(4, defense.crop[0], 8):
        row = (2 * (top + view_row) + 1) * height // (2 * resized_h)
        row = min(max(row, 1), height - 2)
        for first in range(begin + 1, end - 32, 32):
            segment = slice(first, first + 32)
            saturated = sum(
                int(sample <= dark or sample >= bright)
                for plane in planes
                for sample in plane[row, segment]
            )
            found.append((sum(r[row, segment].sum() for r in responses), saturated))
    if not found:
        return None
    samples = 32 * len(planes)
    kept = sorted(total for total, saturated in found if saturated / samples <= 0.3)
    if len(kept) < len(found) / 10:
        kept = sorted(total for total, _ in found)
    reading = math.sqrt(math.pi / 2) / 6 * kept[len(kept) // 4] / samples / 255
    levels, readings = _kernels.noise_table()
    kind = frame.matrix if luma else "gray" if frame.colour == "gray" else "packed"
    if luma:
        reading /= math.sqrt(sum(share**2 for share in LUMA[frame.matrix]))
        reading *= 255 / 219 if limited else 1
    return float(np.interp(reading, readings[kind], levels))


def built(frame: Frame, defense: Defense, views: range = range(1), **fields: Any) -> float | None:
    builder = ViewBuilder(defense, **fields)
    out = np.full((len(views), 3, *defense.crop), np.nan, np.float32)
    level = builder.build_noise(frame, out, views)
    np.testing.assert_array_equal(out, builder.build(frame, views=views))
    return level


def assert_same(level: float | None, expected: float | None) -> None:
    if expected is None:
        assert level is None
    else:
        assert level == pytest.approx(expected, rel=1e-12, abs=1e-15)


@settings(max_examples=60, deadline=None)
@given(
    colour=st.sampled_from(COLOURS),
    height=st.integers(8, 150),
    width=st.integers(8, 420),
    crop=st.tuples(st.integers(5, 70), st.integers(5, 70)),
    fit=st.sampled_from(["crop", "stretch"]),
    matrix=st.sampled_from(["bt601", "bt709"]),
    full=st.booleans(),
    windowed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_kernel_gives_the_definition_exactly(
    colour: Any,
    height: int,
    width: int,
    crop: tuple[int, int],
    fit: Any,
    matrix: Any,
    full: bool,
    windowed: bool,
    seed: int,
) -> None:
    defense = Defense(resize=max(crop), crop=crop, fit=fit, kernel_size=3)
    frame = random_frame(
        colour, height, width, seed, matrix=matrix, range="full" if full else "limited"
    )
    if windowed and height > 20 and width > 20:
        frame = cut(frame, np.random.default_rng(seed))
    try:
        expected = definition(defense, frame)
    except DefenseError:
        return
    for isa in ISAS:
        assert_same(built(frame, defense, isa=isa), expected)
    rows, begin, segments = ViewBuilder(defense).noise_grid(frame.height, frame.width)
    columns = (begin, begin + 32 * segments + 2)
    assert_same(estimate_noise(frame, rows=rows.tolist(), columns=columns), expected)


@pytest.mark.parametrize("colour", COLOURS)
def test_nothing_but_the_frame_matters(colour: Any) -> None:
    """Neither instruction sets nor threads nor views; nor padding, or whose copy it is."""
    frame = random_frame(colour, 270, 480, 3)
    expected = built(frame, Defense())
    assert expected is not None
    assert 0.01 < expected < 0.49
    assert_same(definition(Defense(), frame), expected)
    for isa in ISAS:
        for threads in (1, 3):
            for views in (range(3), range(1), range(1, 2), range(2, 3)):
                assert built(frame, Defense(), views, isa=isa, threads=threads) == expected
    copied = Frame(np.ascontiguousarray(frame.pixels), colour)
    assert built(copied, Defense()) == expected
    if colour in ("rgb", "bgr", "gray", "yuyv"):
        flipped = Frame(np.ascontiguousarray(frame.pixels[::-1])[::-1], colour)
        assert built(flipped, Defense()) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"interpolation": "bicubic"},
        {"antialias": False},
        {"blur_at": "model"},
        {"fit": "stretch", "crop": (96, 160)},
    ],
    ids=str,
)
def test_other_geometries_sample_what_their_clean_view_sees(fields: dict[str, Any]) -> None:
    defense = Defense(**fields)
    for height, width in ((375, 500), (481, 333), (1080, 1920)):
        matrices = reference.view_matrices(defense, height, width)
        seen = np.flatnonzero(np.abs(matrices.cols[0]).max(0))
        rows, begin, segments = ViewBuilder(defense).noise_grid(height, width)
        # Weights at a band's very ends may be zero.
        assert 0 <= seen[0] - begin <= 1
        assert segments in ((np.ptp(seen) - 1) // 32, (np.ptp(seen) + 1) // 32)
        weights = matrices.rows[0][4::8]
        assert len(rows) == len(weights)
        centres = (weights @ np.arange(height)) / weights.sum(1)
        assert np.abs(rows - centres).max() <= 1


@pytest.mark.parametrize("size", [(2, 300), (200, 33), (60, 41), (2, 2)])
def test_frames_too_small_have_no_estimate(size: tuple[int, int]) -> None:
    defense = Defense(kernel_size=3, resize=32, crop=32, fit="stretch")
    frame = Frame(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8))
    if size == (60, 41):  # wide enough, just
        assert built(frame, defense) is not None
        return
    assert built(frame, defense) is None
    assert estimate_noise(frame) is None


def test_black_and_white_frames_are_quiet_and_saturated_parts_do_not_count() -> None:
    half = np.random.default_rng(0).normal(128, 25, (300, 400, 3)).clip(1, 254).astype(np.uint8)
    for shade in (0, 255):
        assert built(Frame(np.full((300, 400, 3), shade, np.uint8)), Defense()) == 0
        frame = half.copy()
        frame[:, 200:] = shade
        level = built(Frame(frame), Defense())
        assert level == pytest.approx(25 / 255, rel=0.15)  # the quieter half is left out
        frame[:, 20:] = shade
        assert built(Frame(frame), Defense()) == 0  # less than a tenth remains: all count


def test_a_defence_without_a_clean_view_has_no_noise() -> None:
    builder = ViewBuilder(Defense(passes=(1, 2)))
    frame = np.zeros((300, 300, 3), np.uint8)
    for call in (
        lambda: builder.build_noise(frame, np.empty((2, 3, 224, 224), np.float32)),
        lambda: builder.noise_gain(300, 300),
        lambda: builder.noise_grid(300, 300),
    ):
        with pytest.raises(DefenseError, match=r"clean view.*passes are \(1, 2\).*expected 0"):
            call()


@pytest.mark.parametrize("size", [(375, 500), (1080, 1920), (97, 130)])
@pytest.mark.parametrize("fields", [{}, {"interpolation": "bicubic"}, {"antialias": False}])
def test_gain_is_what_the_resize_leaves_of_white_noise(
    size: tuple[int, int], fields: dict[str, Any]
) -> None:
    defense = Defense(**fields)
    gain = ViewBuilder(defense).noise_gain(*size)
    matrices = reference.view_matrices(defense, *size)
    rows, cols = (np.square(m[0]).sum(1).mean() for m in (matrices.rows, matrices.cols))
    assert gain == pytest.approx(math.sqrt(rows * cols), rel=1e-6)
    # And so it is of a real frame, whose level is small enough not to clip.
    noise = np.random.default_rng(0).normal(128, 20, (*size, 3)).round().astype(np.uint8)
    clean = ViewBuilder(defense).build(noise, views=range(1))[0]
    deviation = clean.std(axis=(1, 2)) * np.array(defense.std)
    assert deviation.mean() == pytest.approx(gain * 20 / 255, rel=0.03)


def test_the_table_is_what_the_simulation_gives() -> None:
    """A twentieth of its segments, from other seeds."""
    for kind in simulated.KINDS:
        readings, levels = noise_table(kind)
        assert levels == simulated.LEVELS
        assert (np.diff(readings) > 0).all()
        assert (np.diff(levels) > 0).all()
        for k in (0, 3, 6, 10, 13):
            again = simulated.simulate(levels[k], kind, 10_000, seed=k + 1)
            assert again == pytest.approx(readings[k], rel=0.02)


def test_levels_between_and_beyond_the_knots() -> None:
    readings, levels = noise_table("packed")
    assert noise_level(0) == noise_level(readings[0]) == 0
    assert noise_level(1) == levels[-1]
    assert noise_level((readings[3] + readings[4]) / 2) == pytest.approx(0.035)
    # Limited-range luma is 219 steps of 255, and the noise of three channels is averaged in it.
    assert luma_share("nv12", "bt601", "limited") == pytest.approx(219 / 255 * 0.66860, rel=1e-4)
    assert luma_share("yuyv", "bt709", "full") == pytest.approx(0.74961, rel=1e-4)
    readings, _ = noise_table("bt709")
    reading = readings[5] * luma_share("nv12", "bt709", "limited")
    assert noise_level(reading, "nv12", "bt709", "limited") == pytest.approx(levels[5])


def drawn(seed: int) -> np.ndarray:
    """A (375, 500, 3) uint8 picture: blurred patches, and texture as strong as photographs have."""
    rng = np.random.default_rng(seed)
    patches = rng.random((12, 16, 1)) + rng.normal(0, 0.1, (12, 16, 3))
    picture = cv2.resize(patches, (500, 375), interpolation=cv2.INTER_CUBIC)
    strength = np.exp(rng.normal(np.log(0.0136), 0.84, (24, 16, 1)))
    texture = cv2.resize(strength, (500, 375))[..., None] * rng.normal(0, 1, (375, 500, 1))
    return ((picture + texture).clip(0, 1) * 255).round().astype(np.uint8)


@pytest.mark.parametrize("level", INJECTED)
def test_drawn_pictures_read_as_noisy_as_they_are(level: float) -> None:
    frames = [drawn(seed) for seed in range(12)]
    found = estimate(frames, level)
    assert np.median(found.sampled) == pytest.approx(level, rel=0.05)
    assert np.abs(found.sampled / level - 1).max() < 0.2
    # One row in twelve suffices.
    assert np.abs(found.sampled / found.whole - 1).max() < 0.05


@pytest.mark.parametrize("level", INJECTED)
def test_a_cameras_own_formats_read_alike(level: float) -> None:
    """Converted from noisy R, G, B, as a noisy sensor's pixels are."""
    rng = np.random.default_rng(0)
    for seed in range(4):
        rgb = add_noise(drawn(seed)[:374], level, rng)
        expected = estimate_noise(rgb)
        assert expected is not None
        planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
        chroma = planar[374:].reshape(2, -1).T.reshape(187, 500)
        yuyv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_YUY2)
        for frame in (Frame(np.concatenate([planar[:374], chroma]), "nv12"), Frame(yuyv, "yuyv")):
            assert built(frame, Defense()) == pytest.approx(expected, rel=0.15)
        gray = add_noise(drawn(seed)[..., 1], level, rng)
        assert built(Frame(gray, "gray"), Defense()) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize("level", [0.0, *INJECTED])
def test_photographs_read_as_noisy_as_they_are(level: float, assets: Path) -> None:
    """Those with odd numbers: the table's texture is from the others."""
    files = sorted((assets / "images" / "imagenet-half").glob("*.JPEG"))[1::4]
    frames = [np.ascontiguousarray(cv2.imread(str(file))[..., ::-1]) for file in files]
    found = estimate(frames, level).sampled
    if level == 0:  # texture, and what noise the cameras left, are taken for little
        assert np.median(found) < 0.01
        assert np.quantile(found, 0.95) < 0.05
        return
    assert np.median(found) == pytest.approx(level, rel=0.05)
    low, high = np.quantile(found / level, (0.1, 0.9))
    assert low > 0.88
    assert high < (1.7 if level == 0.03 else 1.25)
