"""Sensor faults against closed formulas, other libraries and the papers' constants."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, poisson

from blurvote.benchmarks.robustness.degradations import (
    BLOG_SIGMAS,
    NAMES,
    SEVERITIES,
    Degradation,
    blur,
    noise,
    parse_degradations,
)
from blurvote.runtime import FrameError
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import PlanError

ALL = [Degradation(name, 1) for name in NAMES]


def flat(value: int, side: int = 200) -> NDArray[np.uint8]:
    return np.full((side, side, 3), value, np.uint8)


def scene(height: int = 96, width: int = 131) -> NDArray[np.uint8]:
    """Smooth colours with texture and edges, as a photograph has."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    waves = [np.sin(9 * x + 5 * y), np.cos(13 * y), np.sin(30 * x * y)]
    picture = 128 + 60 * np.stack(waves, axis=2)
    picture[height // 3 : height // 2, width // 4 : width // 2] = (230, 40, 20)
    picture += np.random.default_rng(0).normal(0, 4, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8)


def degraded(
    name: str, severity: float, pixels: NDArray[np.uint8], seed: int = 0, **options: Any
) -> NDArray[np.float64]:
    """The float delivery, in [0, 1]."""
    degradation = Degradation(name, severity, "float", **options)
    return np.asarray(degradation.apply(pixels, np.random.default_rng(seed)), np.float64)


@pytest.mark.parametrize("sigma", [0.05, 0.125])
def test_gaussian_noise_has_its_sigma(sigma: float) -> None:
    noisy = degraded("gaussian", sigma, flat(128))
    # 120,000 draws: the sample's deviation is within 1 % of sigma with all but certainty.
    assert noisy.std() == pytest.approx(sigma, rel=0.01)
    assert noisy.mean() == pytest.approx(128 / 255, abs=0.002)


def test_gaussian_noise_is_clamped_as_a_censored_normal() -> None:
    """On black at sigma 0.375: half is 0, and the mean is sigma / sqrt(2 pi)."""
    noisy = degraded("gaussian", 0.375, flat(0))
    assert noisy.min() == 0
    assert (noisy == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert noisy.mean() == pytest.approx(0.375 / math.sqrt(2 * math.pi), rel=0.02)


@pytest.mark.parametrize("sigma", BLOG_SIGMAS)
def test_camera_and_float_noise_are_the_same_noise(sigma: float) -> None:
    """8 bits is what `add_noise` gives, and the float frame rounded, but for ties of rounding."""
    camera = Degradation("gaussian", sigma).apply(scene(), np.random.default_rng(3))
    assert np.array_equal(camera, add_noise(scene(), sigma, np.random.default_rng(3)))
    floats = degraded("gaussian", sigma, scene(), seed=3)
    assert np.abs(floats * 255 - camera).max() <= 0.5 + 1e-4
    if sigma == 0:
        assert np.array_equal(camera, scene())


@pytest.mark.parametrize("severity", SEVERITIES)
def test_shot_noise_is_poisson(severity: int) -> None:
    photons = noise.SHOT_PHOTONS[severity - 1]
    value = 64 / 255  # dark enough that next to nothing is clamped at white
    noisy = degraded("shot", severity, flat(64))
    counts = noisy * photons
    whole = np.abs(counts - np.rint(counts)) < 1e-4
    assert whole[noisy < 1].all()
    if severity <= 3:
        assert noisy.var() == pytest.approx(value / photons, rel=0.03)
        assert noisy.mean() == pytest.approx(value, rel=0.02)
    assert (noisy == 0).mean() == pytest.approx(math.exp(-value * photons), abs=0.01)


@pytest.mark.parametrize("severity", SEVERITIES)
def test_impulse_noise_has_its_share(severity: int) -> None:
    share = noise.IMPULSE_SHARES[severity - 1]
    noisy = degraded("impulse", severity, flat(100))
    assert (noisy == 0).mean() == pytest.approx(share / 2, abs=0.004)
    assert (noisy == 1).mean() == pytest.approx(share / 2, abs=0.004)
    assert set(np.unique(noisy)) == {0.0, float(np.float32(100) / np.float32(255)), 1.0}


@pytest.mark.parametrize("severity", [1, 2])
def test_speckle_grows_with_the_value(severity: int) -> None:
    sigma = noise.SPECKLE_SIGMAS[severity - 1]
    for value in (40, 120):
        noisy = degraded("speckle", severity, flat(value))
        assert noisy.std() == pytest.approx(sigma * value / 255, rel=0.02)
    assert degraded("speckle", 5, flat(0)).max() == 0


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_what_pillow_makes(severity: int) -> None:
    image = pytest.importorskip("PIL.Image")
    file = io.BytesIO()
    quality = (25, 18, 15, 10, 7)[severity - 1]
    image.fromarray(scene()).save(file, "JPEG", quality=quality)
    theirs = np.asarray(image.open(file), np.float64) / 255
    ours = degraded("jpeg", severity, scene())
    # Two builds of libjpeg may upsample chroma differently, a level or two on average; the next
    # quality is several times as far away.
    assert np.abs(ours - theirs).mean() < 0.004
    assert np.allclose(np.rint(ours * 255), ours * 255, atol=1e-4)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("value", [128, 200])
def test_low_light_follows_the_sensor_model(severity: int, value: int) -> None:
    """Back in linear light, mean and variance are those of Poisson plus normal."""
    electrons = ((value / 255 + 0.055) / 1.055) ** 2.4 * 2000 / 2**severity
    dark = degraded("low-light", severity, flat(value))
    light = np.where(dark <= 0.04045, dark / 12.92, ((dark + 0.055) / 1.055) ** 2.4) * 2000
    deviation = math.sqrt(electrons + 5**2)
    counts = np.arange(int(electrons + 12 * math.sqrt(electrons)) + 10)
    black = float(poisson.pmf(counts, electrons) @ norm.cdf(-counts / 5))
    assert (dark == 0).mean() == pytest.approx(black, abs=0.003)
    if black < 1e-3:  # else clamping at black moves both
        assert light.mean() == pytest.approx(electrons, rel=0.01)
        assert light.std() == pytest.approx(deviation, rel=0.02)


def test_srgb_curve() -> None:
    values = np.linspace(0, 1, 257)
    assert np.allclose(noise.to_srgb(noise.to_linear(values)), values, atol=1e-6)
    assert noise.to_linear(np.array([0.5]))[0] == pytest.approx(0.21404, abs=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_more_severe_is_farther_away(name: str) -> None:
    levels = (0.05, 0.125, 0.25, 0.375) if name == "gaussian" else SEVERITIES
    clean = scene() / 255
    far = [np.sqrt(((degraded(name, level, scene()) - clean) ** 2).mean()) for level in levels]
    assert (np.diff(far) > 0).all(), far


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (33, 64), (71, 29)])
def test_dtype_range_and_odd_sizes(name: str, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    before = pixels.copy()
    for severity in (1,) if name == "gaussian" else (1, 5):
        camera = Degradation(name, severity).apply(pixels, np.random.default_rng(5))
        floats = Degradation(name, severity, "float").apply(pixels, np.random.default_rng(5))
        assert (camera.dtype, camera.shape) == (np.uint8, pixels.shape)
        assert (floats.dtype, floats.shape) == (np.float32, pixels.shape)
        assert floats.min() >= 0
        assert floats.max() <= 1
        assert np.abs(floats * 255 - camera.astype(np.float64)).max() <= 0.5 + 1e-3
    assert np.array_equal(pixels, before)


@pytest.mark.parametrize("degradation", ALL, ids=str)
def test_a_seed_gives_the_same_frame(degradation: Degradation) -> None:
    first, again = (degradation.apply(scene(), degradation.generator(1, 2)) for _ in range(2))
    assert np.array_equal(first, again)
    if degradation.name not in ("jpeg", "defocus"):
        for other in (degradation.generator(1, 3), degradation.generator(2, 2)):
            assert not np.array_equal(degradation.apply(scene(), other), first)


def test_every_image_name_and_severity_has_a_stream_of_its_own() -> None:
    draws = {
        float(degradation.generator(seed, index).random())
        for degradation in parse_degradations(" ".join(NAMES))
        for seed in range(3)
        for index in range(3)
    }
    assert len(draws) == (4 + 7 * 5) * 9


def test_severities_are_those_of_imagenet_c() -> None:
    assert noise.SHOT_PHOTONS == (60, 25, 12, 5, 3)
    assert noise.IMPULSE_SHARES == (0.03, 0.06, 0.09, 0.17, 0.27)
    assert noise.SPECKLE_SIGMAS == (0.15, 0.2, 0.35, 0.45, 0.6)
    assert noise.JPEG_QUALITIES == (25, 18, 15, 10, 7)
    assert blur.DEFOCUS_RADII == (3, 4, 6, 8, 10)
    assert blur.MOTION_STREAKS == ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("gaussian:0.25", ["gaussian:0.25"]),
        ("shot:3", ["shot:3"]),
        ("jpeg:1-3", ["jpeg:1", "jpeg:2", "jpeg:3"]),
        ("gaussian", ["gaussian:0", "gaussian:0.125", "gaussian:0.25", "gaussian:0.375"]),
        (" defocus:1,5;low-light:2\nshot:2-2", ["defocus:1", "defocus:5", "low-light:2", "shot:2"]),
        ("motion:1,1-2", ["motion:1", "motion:2"]),
    ],
)
def test_parse(text: str, names: list[str]) -> None:
    found = parse_degradations(text)
    assert [str(degradation) for degradation in found] == names
    assert parse_degradations(";".join(map(str, found))) == found
    assert all(d.delivery == "float" for d in parse_degradations(text, "float"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fog:1", "degradation 'fog' is unknown; expected one of gaussian, shot"),
        ("", "degradation '' cannot be read; expected one of gaussian"),
        ("shot:6", "severity of shot is 6.0; expected 1, 2, 3, 4 or 5"),
        ("shot:1.5", "severity of shot is 1.5; expected 1, 2, 3, 4 or 5"),
        ("shot:a", "degradation 'shot:a' cannot be read; expected one of"),
        ("shot:", "degradation 'shot:' cannot be read"),
        ("shot:3-1", "degradation 'shot:3-1' is an empty range"),
        ("gaussian:2", "sigma of gaussian is 2.0; expected a number from 0 to 1"),
        ("gaussian:nan", "sigma of gaussian is nan; expected a number from 0 to 1"),
    ],
)
def test_text_that_names_no_degradation(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse_degradations(text)
    assert message in str(caught.value)


def test_jpeg_by_quality_is_jpeg_by_severity_at_the_same_quality() -> None:
    first, *_ = parse_degradations("jpeg-quality:25,90")
    random = np.random.default_rng(0)
    expected = Degradation("jpeg", 1).apply(scene(), random)
    assert np.array_equal(first.apply(scene(), random), expected)
    assert str(parse_degradations("jpeg-quality")[0]) == "jpeg-quality:90"
    with pytest.raises(PlanError, match="expected a whole number from 1 to 100"):
        parse_degradations("jpeg-quality:101")


def test_what_draws_no_random_numbers_says_so() -> None:
    """By their frames of two seeds."""
    for one in (*ALL, Degradation("gaussian", 0), Degradation("jpeg-quality", 30)):
        first, second = (one.apply(scene(), one.generator(seed, 0)) for seed in (0, 1))
        assert one.random == (not np.array_equal(first, second)), one


def test_impossible_options() -> None:
    raw: Any = "raw"
    with pytest.raises(PlanError, match="delivery is 'raw'; expected '8-bit' or 'float'"):
        Degradation("shot", 1, raw)
    with pytest.raises(PlanError, match="reference_side is 0; expected pixels, at least 1"):
        Degradation("motion", 1, reference_side=0)


@pytest.mark.parametrize(
    "pixels",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_pixels_of_another_kind(pixels: NDArray[Any]) -> None:
    with pytest.raises(FrameError, match=r"expected uint8 RGB of shape \(H, W, 3\)"):
        Degradation("shot", 1).apply(pixels, np.random.default_rng(0))
