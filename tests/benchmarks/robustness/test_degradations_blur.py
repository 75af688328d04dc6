"""The kernels of defocus and motion blur against closed formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.degradations import SEVERITIES, Degradation, blur


def moments(kernel: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Mean and variance along x and y."""
    reach = kernel.shape[0] // 2
    axis = np.arange(-reach, reach + 1)
    x, y = (kernel.sum(axis=k) for k in (0, 1))
    mean_x, mean_y = float(x @ axis), float(y @ axis)
    return mean_x, mean_y, float(x @ axis**2) - mean_x**2, float(y @ axis**2) - mean_y**2


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0, 6.0, 10.0, 42.2])
def test_disc_kernel(radius: float) -> None:
    kernel = blur.disc_kernel(radius)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    assert kernel.min() >= 0
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    for turned in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        assert np.allclose(turned, kernel, atol=1e-12)
    mean_x, mean_y, var_x, var_y = moments(kernel)
    assert (mean_x, mean_y) == pytest.approx((0, 0), abs=1e-9)
    if radius >= 3:  # a disc's second moment is r^2 / 4; reading bilinearly adds 1/6
        assert var_x == pytest.approx(radius**2 / 4 + 1 / 6, rel=0.02)
        assert kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] == pytest.approx(
            1 / (math.pi * radius**2), rel=0.03
        )
    if radius == 0.3:  # below one pixel: E |x| over the disc goes to each side, 4 r / 3 pi
        assert kernel[1].sum() == pytest.approx(1 - 4 * 0.3 / (3 * math.pi), rel=0.02)
    assert var_y == pytest.approx(var_x, rel=1e-6)


@pytest.mark.parametrize("angle", [-45.0, 0.0, 17.0, 90.0])
def test_streak_kernel(angle: float) -> None:
    """Its centre of mass is that of a half Gaussian cut at its end, in the direction asked for."""
    length, sigma = 30.0, 8.0
    kernel = blur.streak_kernel(length, sigma, angle)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    mean_x, mean_y, *_ = moments(kernel)
    inside = math.sqrt(math.pi / 2) * sigma * math.erf(length / sigma / math.sqrt(2))
    expected = sigma**2 * (1 - math.exp(-(length**2) / (2 * sigma**2))) / inside
    assert math.hypot(mean_x, mean_y) == pytest.approx(expected, rel=0.01)
    assert math.degrees(math.atan2(mean_y, mean_x)) == pytest.approx(angle, abs=0.5)


def test_streak_along_a_row_is_a_line() -> None:
    kernel = blur.streak_kernel(10, 3, 0)
    middle = kernel.shape[0] // 2
    assert kernel[middle].sum() == pytest.approx(1, abs=1e-9)
    assert (np.diff(kernel[middle, middle + 1 :]) <= 0).all()


def test_blur_kernels_scale_with_the_short_side() -> None:
    """A point in a frame twice as large spreads twice as far, as a share of the frame."""

    def spread(side: int, reference_side: int | None = 256) -> float:
        pixels = np.zeros((side, side, 3), np.uint8)
        pixels[side // 2, side // 2] = 255
        degradation = Degradation("defocus", 5, "float", reference_side)
        blurred = degradation.apply(pixels, np.random.default_rng(0))[..., 0].astype(np.float64)
        y, x = np.mgrid[:side, :side] - side // 2
        return float(np.sqrt((blurred * (x**2 + y**2)).sum() / blurred.sum()))

    assert spread(256) == pytest.approx(math.sqrt(100 / 2 + 1 / 3), rel=0.01)
    assert spread(512) == pytest.approx(2 * spread(256), rel=0.01)
    assert spread(512, None) == pytest.approx(spread(256), rel=0.01)


@pytest.mark.parametrize("name", ["defocus", "motion"])
def test_blur_keeps_a_grey_frame_to_its_edges(name: str) -> None:
    for severity in SEVERITIES:
        pixels = np.full((37, 61, 3), 119, np.uint8)
        blurred = Degradation(name, severity, reference_side=None)
        assert np.array_equal(blurred.apply(pixels, np.random.default_rng(0)), pixels)
