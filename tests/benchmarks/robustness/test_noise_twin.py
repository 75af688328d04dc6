"""The noise estimate in torch, against the view kernel's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from blurvote.benchmarks.robustness.noise_twin import NoiseTwin
from blurvote.runtime import Defense, ViewBuilder
from tests.benchmarks.robustness.conftest import ADAPTIVE

SIZES = ((60, 80), (81, 50), (36, 36), (170, 230), (36, 60))
DEFENSES = (
    ADAPTIVE,
    replace(ADAPTIVE, resize=50, crop=(40, 48)),
    replace(ADAPTIVE, fit="stretch", antialias=False),
    replace(ADAPTIVE, interpolation="bicubic"),
)


def picture(height: int, width: int, sigma: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    waves = 128 + 90 * np.sin(x / 7 + y / 9)[..., None] + random.uniform(-60, 60, 3)
    noisy = waves + random.normal(0, 255 * sigma, (height, width, 3))
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


@pytest.mark.parametrize("defense", DEFENSES)
@pytest.mark.parametrize("size", SIZES)
def test_levels_are_the_kernels(defense: Defense, size: tuple[int, int]) -> None:
    """Several frames at once, of which some are so saturated that segments are left out."""
    twin, builder = NoiseTwin(defense), ViewBuilder(defense)
    frames = [picture(*size, sigma, seed) for seed, sigma in enumerate((0, 0.02, 0.1, 0.3, 0.6))]
    if size[1] > 60:
        frames[2][:, : size[1] // 2] = 255
    views = np.empty((3, 3, *defense.crop), np.float32)
    found = twin.levels(tensor(*frames)).numpy()
    for frame, level in zip(frames, found, strict=True):
        expected = builder.build_noise(frame, views)
        if expected is None:
            assert np.isnan(level)
        else:
            assert level == pytest.approx(expected * builder.noise_gain(*size), rel=1e-5)


def test_between_levels_it_reads_the_rounded_frame() -> None:
    twin = NoiseTwin(ADAPTIVE)
    frame = tensor(picture(60, 80, 0.1))
    shifted = (frame + 0.4 / 255 * torch.sign(torch.randn(frame.shape))).clamp(0, 1)
    assert torch.equal(twin.levels(frame), twin.levels(shifted))
    assert torch.equal(twin.distance(frame, True), twin.distance(shifted, True))


@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.1, 0.12, 0.13, 0.15, 0.2, 0.4])
def test_the_distance_is_nothing_just_where_the_switch_is_as_wanted(sigma: float) -> None:
    twin = NoiseTwin(ADAPTIVE)
    for seed in range(4):
        frame = tensor(picture(60, 80, sigma, seed))
        noisy = bool(twin.noisy(frame))
        assert (float(twin.distance(frame, True)) == 0) == noisy
        if not noisy:
            assert float(twin.distance(frame, False)) == 0
        elif float(twin.levels(frame)) > 1.01 * ADAPTIVE.noise_switch[1]:
            assert float(twin.distance(frame, False)) > 0


@pytest.mark.parametrize(("sigma", "wanted"), [(0.03, True), (0.18, False)])
def test_signs_of_the_gradient_lead_past_the_switch(sigma: float, wanted: bool) -> None:
    """And random signs of the same size do not."""
    twin = NoiseTwin(ADAPTIVE)
    start = tensor(picture(60, 80, sigma))
    assert bool(twin.noisy(start)) != wanted
    frame = start
    for _ in range(40):
        frame = frame.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(twin.distance(frame, wanted).sum(), frame)
        moved = frame.detach() - 2 / 255 * gradient.sign()
        frame = (start + (moved - start).clamp(-24 / 255, 24 / 255)).clamp(0, 1)
    assert bool(twin.noisy(frame)) == wanted
    signs = torch.sign(torch.randn(start.shape, generator=torch.Generator().manual_seed(0)))
    if not wanted:  # random signs are noise, so they force
        assert bool(twin.noisy((start + 24 / 255 * signs).clamp(0, 1)))


def test_a_frame_without_an_estimate() -> None:
    twin = NoiseTwin(replace(ADAPTIVE, resize=20, crop=(16, 16)))
    frame = tensor(picture(40, 33, 0.3))
    assert bool(twin.levels(frame).isnan().all())
    assert not bool(twin.noisy(frame).any())
    assert float(twin.distance(frame, True)) == 1
    assert float(twin.distance(frame, False)) == 0


def test_the_loudest_pattern_is_heard_where_as_much_random_noise_is_not() -> None:
    """Of amplitude a it reads as 16 a in every response: what 6 sqrt(2 / pi) of a level gives."""
    twin = NoiseTwin(ADAPTIVE)
    frame = tensor(picture(60, 80, 0.0)) * 0.5 + 0.2  # away from saturation
    pattern = twin.loudest(frame)
    assert set(pattern.unique().tolist()) == {-1.0, 0.0, 1.0}
    assert not bool(twin.noisy(frame))
    # The switch is at 0.123 at the frame; a chessboard of 12 / 255 reads 0.157, its noise 0.047.
    assert bool(twin.noisy(frame + 12 / 255 * pattern))
    signs = torch.sign(torch.randn(frame.shape, generator=torch.Generator().manual_seed(0)))
    assert not bool(twin.noisy(frame + 12 / 255 * signs))
    # Nothing else is touched: with the frame's other pixels changed, the reading is the same.
    elsewhere = torch.where(pattern == 0, 1 - frame, frame)
    assert torch.equal(twin.levels(elsewhere), twin.levels(frame))
