"""The view kernel against kornia + torchvision in float64, on every kind of geometry."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import kornia
import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as transforms
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.export import reference
from blurvote.runtime import Defense, DefenseError, FrameError, ViewBuilder, _kernels

# float32 sums of a few hundred products of 8-bit pixels, in units of one standard deviation.
TOLERANCE = 1e-5


def oracle(defense: Defense, frame: np.ndarray) -> np.ndarray:
    """(V, 3, h, w) float64 by kornia's blur and torchvision's resize, crop and normalise."""
    image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].double() / 255
    size = (defense.kernel_size,) * 2
    sigma = (float(defense.sigma),) * 2

    def blur(x: torch.Tensor, passes: int) -> torch.Tensor:
        for _ in range(passes):
            x = kornia.filters.gaussian_blur2d(x, size, sigma, border_type="reflect")
        return x

    mode = transforms.InterpolationMode(defense.interpolation)
    target = [defense.resize] if defense.fit == "crop" else list(defense.crop)
    views = []
    for passes in defense.passes:
        x = blur(image, passes) if defense.blur_at == "frame" else image
        x = transforms.resize(x, target, mode, antialias=defense.antialias)
        if defense.fit == "crop":
            x = transforms.center_crop(x, list(defense.crop))
        if defense.blur_at == "model":
            x = blur(x, passes)
        views.append(transforms.normalize(x, list(defense.mean), list(defense.std))[0].numpy())
    return np.stack(views)


def random_frame(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


CASES = {
    "blog": (Defense(), 375, 500),
    "portrait": (Defense(), 500, 375),
    "half-pixel crop offset": (Defense(), 333, 500),
    "odd": (Defense(), 481, 641),
    "1080p": (Defense(), 1080, 1920),
    "2160p": (Defense(), 2160, 3840),
    "five wide views of 1080p": (
        Defense(kernel_size=9, sigma=2, passes=(0, 1, 2, 3, 4)),
        1080,
        1920,
    ),
    "no clean view, 1080p": (Defense(passes=(1, 2)), 1080, 1920),
    "large, up to the border": (Defense(resize=224), 900, 900),
    "square": (Defense(), 301, 301),
    "extreme panorama": (Defense(), 60, 1500),
    "upsampling": (Defense(), 97, 130),
    "as small as the kernel allows": (Defense(), 3, 4),
    "resized side equals the crop": (Defense(resize=224), 375, 500),
    "exactly the grid": (Defense(resize=224), 224, 224),
    "no antialias": (Defense(antialias=False), 375, 500),
    "no antialias, upsampling": (Defense(antialias=False), 97, 130),
    "kernel 3": (Defense(kernel_size=3, sigma=0.6), 375, 500),
    "kernel 7": (Defense(kernel_size=7, sigma=1.5), 375, 500),
    "kernel 9": (Defense(kernel_size=9, sigma=2.0), 375, 500),
    "passes up to 4": (Defense(passes=(0, 1, 2, 3, 4)), 375, 500),
    "three and a half": (Defense(passes=(1, 4)), 375, 500),
    "eight views": (Defense(passes=tuple(range(8))), 150, 170),
    "blur at the model": (Defense(blur_at="model"), 375, 500),
    "blur at the model, 1080p": (Defense(blur_at="model", kernel_size=9, sigma=2), 1080, 1920),
    "bicubic": (Defense(interpolation="bicubic"), 375, 500),
    "bicubic, upsampling": (Defense(interpolation="bicubic"), 97, 130),
    "bicubic, no antialias": (Defense(interpolation="bicubic", antialias=False), 375, 500),
    "bicubic, no antialias, upsampling": (
        Defense(interpolation="bicubic", antialias=False),
        97,
        130,
    ),
    "stretch": (Defense(fit="stretch", crop=(192, 256)), 375, 500),
    "stretch, odd grid": (Defense(fit="stretch", crop=(37, 41)), 480, 640),
    "tall crop": (Defense(resize=64, crop=(63, 17)), 200, 300),
    "tiny grid": (Defense(resize=8, crop=(7, 5)), 33, 47),
    "other normalisation": (Defense(mean=(0, 0.5, 1), std=(1 / 255, 0.5, 2)), 120, 160),
}


@functools.cache
def expected_views(case: str) -> np.ndarray:
    defense, height, width = CASES[case]
    return oracle(defense, random_frame(height, width))


def scaled_tolerance(defense: Defense) -> float:
    """The tolerance is for ImageNet's std; a smaller one magnifies the same rounding."""
    return TOLERANCE * max(1.0, 0.22 / min(defense.std))


@pytest.mark.parametrize("isa", _kernels.available_isas())
@pytest.mark.parametrize("case", CASES)
def test_equals_kornia_and_torchvision(case: str, isa: str) -> None:
    defense, height, width = CASES[case]
    frame = random_frame(height, width)
    views = ViewBuilder(defense, isa=isa).build(frame)
    assert views.dtype == np.float32
    np.testing.assert_allclose(views, expected_views(case), rtol=0, atol=scaled_tolerance(defense))


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(5, 300),
    width=st.integers(5, 300),
    resize=st.integers(5, 70),
    crop=st.tuples(st.integers(5, 70), st.integers(5, 70)),
    kernel_size=st.sampled_from([3, 5, 7, 9]),
    passes=st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True).map(sorted),
    blur_at=st.sampled_from(["frame", "model"]),
    antialias=st.booleans(),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
    fit=st.sampled_from(["crop", "stretch"]),
    isa=st.sampled_from(_kernels.available_isas()),
    threads=st.integers(1, 3),
)
def test_equals_the_numpy_reference_or_refuses(
    height: int, width: int, isa: str, threads: int, **fields: object
) -> None:
    fields["resize"] = max(int(str(fields["resize"])), min(fields["crop"]))  # type: ignore[call-overload]
    defense = Defense(**fields)  # type: ignore[arg-type]
    frame = random_frame(height, width)
    try:
        views = ViewBuilder(defense, threads=threads, isa=isa).build(frame)
    except DefenseError:
        with pytest.raises(DefenseError):
            reference.build_views(defense, frame)
        return
    np.testing.assert_allclose(views, reference.build_views(defense, frame), rtol=0, atol=TOLERANCE)


def test_real_images_of_every_size(assets: Path) -> None:
    builder = ViewBuilder(Defense())
    files = sorted((assets / "images" / "imagenet-half").glob("*.JPEG"))[::25]
    assert len(files) == 20
    for file in files:
        frame = cv2.imread(str(file))
        expected = oracle(Defense(), frame[..., ::-1])
        np.testing.assert_allclose(builder.build(frame, colour="bgr"), expected, rtol=0, atol=1e-5)


def test_layouts_that_need_no_copy() -> None:
    frame = random_frame(200, 300)
    builder = ViewBuilder(Defense(resize=64, crop=56))
    crop = frame[20:180, 31:263]
    padded = np.zeros((160, 256, 3), np.uint8)
    padded[:, :232] = crop
    read_only = crop.copy()
    read_only.flags.writeable = False
    expected = builder.build(crop.copy())
    for name, same in {
        "cropped slice": crop,
        "padded rows": padded[:, :232],
        "upside down": np.ascontiguousarray(crop[::-1])[::-1],
        "read only": read_only,
        "every second row of a taller frame": np.repeat(crop, 2, axis=0)[::2],
    }.items():
        np.testing.assert_array_equal(builder.build(same), expected, err_msg=name)
    swapped = np.ascontiguousarray(crop[..., ::-1])
    np.testing.assert_array_equal(builder.build(swapped, colour="bgr"), expected)


def test_writes_to_the_callers_buffer_and_nowhere_else() -> None:
    defense = Defense(resize=40, crop=(33, 37))
    frame = random_frame(90, 70)
    builder = ViewBuilder(defense, 90, 70)
    guarded = np.full((5, 3, 33, 37), 7.0, np.float32)
    out = builder.build(frame, guarded[1:4])
    assert np.shares_memory(out, guarded)
    np.testing.assert_array_equal(out, builder.build(frame))
    assert (guarded[[0, 4]] == 7).all()


@pytest.mark.parametrize("views", [range(1), range(1, 3), range(2, 3), range(3)])
def test_a_part_of_the_views(views: range) -> None:
    builder = ViewBuilder(Defense())
    frame = random_frame(300, 400)
    whole = builder.build(frame)
    part = builder.build(frame, views=views)
    np.testing.assert_allclose(part, whole[views.start : views.stop], rtol=0, atol=2e-6)


def test_forgets_no_size() -> None:
    """More frame sizes than plans are kept give the same views the second time round."""
    builder = ViewBuilder(Defense(resize=16, crop=12))
    frames = [random_frame(20 + n, 30, n) for n in range(100)]
    first = [builder.build(frame) for frame in frames]
    for frame, expected in zip(frames, first, strict=True):
        np.testing.assert_array_equal(builder.build(frame), expected)


def test_plan_and_effective_sigma() -> None:
    builder = ViewBuilder(Defense())
    assert builder.plan(375, 500) == (256, 341, 16, 58)  # 58.5 rounds to the even 58
    # DESIGN: truncated to 5 taps, sigma 1 is really 0.961, twice 1.360.
    clean, single, double = builder.effective_sigma(256, 256)
    assert clean == (0, 0)
    assert single == pytest.approx((0.961, 0.961), abs=5e-4)
    assert double == pytest.approx((1.360, 1.360), abs=1e-3)
    assert builder.effective_sigma(1080, 1920)[1][0] == pytest.approx(0.961 * 256 / 1080, abs=1e-3)
    fixed = ViewBuilder(Defense(blur_at="model")).effective_sigma(1080, 1920)
    assert fixed[1] == pytest.approx((0.961, 0.961), abs=5e-4)


BAD_CALLS = {
    "size": (
        lambda b: b.build(random_frame(2, 400)),
        DefenseError,
        r"400x2 px.*5 taps.*more than 2 px",
    ),
    "too small for the crop": (
        lambda b: ViewBuilder(Defense(resize=100, crop=(100, 200))).build(random_frame(50, 60)),
        DefenseError,
        "resized to 120 px, shorter than the crop of 200 px",
    ),
    "out shape": (
        lambda b: b.build(random_frame(9, 9), np.empty((2, 3, 224, 224), np.float32)),
        FrameError,
        r"out has shape \(2, 3, 224, 224\).*expected.*\(3, 3, 224, 224\)",
    ),
    "out dtype": (
        lambda b: b.build(random_frame(9, 9), np.empty((3, 3, 224, 224), np.float64)),
        FrameError,
        "float64; expected .* float32",
    ),
    "out type": (lambda b: b.build(random_frame(9, 9), [1]), FrameError, "out has type list"),
    "out layout": (
        lambda b: b.build(
            random_frame(9, 9), np.empty((224, 224, 3, 3), np.float32).transpose(3, 2, 0, 1)
        ),
        FrameError,
        "C-contiguous and writeable",
    ),
    "colour": (
        lambda b: b.build(random_frame(9, 9), colour="rgba"),
        FrameError,
        "colour is 'rgba'; expected 'rgb', 'bgr'",
    ),
    "views": (
        lambda b: b.build(random_frame(9, 9), views=range(1, 5)),
        DefenseError,
        r"range\(1, 5\); expected a part of range\(3\)",
    ),
    "fixed size": (
        lambda b: ViewBuilder(Defense(), 100, 200).build(random_frame(200, 100)),
        FrameError,
        "100x200 px; this builder was made for 200x100 px",
    ),
    "half a size": (
        lambda b: ViewBuilder(Defense(), height=100),
        DefenseError,
        "both height and width",
    ),
    "planned size": (
        lambda b: ViewBuilder(Defense(), 2, 2),
        DefenseError,
        "frames of 2x2 px",
    ),
    "no size": (lambda b: b.plan(0, 5), DefenseError, "5x0 px: expected sides of 1 to 32768"),
    "threads": (
        lambda b: ViewBuilder(Defense(), threads=0),
        DefenseError,
        "threads is 0; expected an integer from 1 to 256",
    ),
    "isa": (
        lambda b: ViewBuilder(Defense(), isa="mmx"),
        DefenseError,
        "'mmx' cannot run here; this machine has:.* scalar",
    ),
}


@pytest.mark.parametrize("case", BAD_CALLS)
def test_mistakes_are_explained(case: str) -> None:
    call, error, message = BAD_CALLS[case]
    with pytest.raises(error, match=message):
        call(ViewBuilder(Defense()))
