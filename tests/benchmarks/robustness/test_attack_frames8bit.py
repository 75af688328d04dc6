"""8-bit frames stay in the ball and keep the attack; the measures of change by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.benchmarks.robustness.attacks.change import measure_change
from blurvote.benchmarks.robustness.attacks.frames8bit import (
    quantise,
    show_perturbation,
    to_frames,
    to_pixels,
)
from blurvote.runtime.errors import BlurvoteError, FrameError

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed: int, height: int, width: int) -> np.ndarray:
    """Two frames with many black and white pixels."""
    random = np.random.default_rng(seed)
    return random.integers(-80, 336, (2, height, width, 3)).clip(0, 255).astype(np.uint8)


def test_every_grey_level_survives_both_ways() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    frames = to_frames(pixels)
    assert (frames.shape, frames.dtype) == ((1, 3, 16, 16), torch.float32)
    assert (float(frames.min()), float(frames.max())) == (0, 1)
    assert np.array_equal(to_pixels(frames), pixels)
    odd = drawn(0, 3, 5)
    assert np.array_equal(to_frames(odd)[1, 2].numpy() * 255, odd[1, :, :, 2])


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(1, 6), st.integers(1, 7), st.floats(1 / 255, 1))
def test_linf(seed: int, height: int, width: int, epsilon: float) -> None:
    """In the ball; and nearest of all 8-bit values that are."""
    pixels = drawn(seed, height, width)
    draw = torch.Generator().manual_seed(seed)
    frames = to_frames(pixels)
    change = epsilon * (2.4 * torch.rand(frames.shape, generator=draw) - 1.2)  # some leave the ball
    adversarial = (frames + change).clamp(0, 1)
    found = quantise(adversarial, pixels, epsilon)
    most = int(255 * epsilon + 1e-6)
    assert np.abs(found.astype(int) - pixels).max() <= most
    wanted = adversarial.double().permute(0, 2, 3, 1).numpy() * 255
    for index in np.ndindex(pixels.shape):
        middle = int(pixels[index])
        inside = range(max(0, middle - most), min(255, middle + most) + 1)
        nearest = min(abs(value - wanted[index]) for value in inside)
        assert abs(int(found[index]) - wanted[index]) == pytest.approx(nearest, abs=1e-4)


@settings(deadline=None, max_examples=200)
@given(SEEDS, st.integers(1, 9), st.integers(1, 9), st.floats(1 / 255, 4), st.floats(0.01, 1.5))
def test_l2(seed: int, height: int, width: int, epsilon: float, share: float) -> None:
    """Never longer than before nor than epsilon, less than a level off, never across the frame."""
    pixels = drawn(seed, height, width)
    frames = to_frames(pixels).double()
    draw = torch.Generator().manual_seed(seed)
    way = torch.randn(frames.shape, generator=draw, dtype=torch.float64)
    way /= way.flatten(1).norm(dim=1)[:, None, None, None]
    adversarial = (frames + share * epsilon * way).clamp(0, 1)
    found = quantise(adversarial, pixels, epsilon, "l2")
    change = found.astype(float) - pixels
    real = adversarial.permute(0, 2, 3, 1).numpy() * 255 - pixels
    for one, before in zip(change, real, strict=True):
        length = np.linalg.norm(before)
        assert np.linalg.norm(one) <= min(length, 255 * epsilon) * (1 + 1e-5) + 1e-3
        assert (one * before >= 0).all()
        if length <= 255 * epsilon:
            assert (np.abs(one - before) < 1.001).all()


def test_l2_uses_the_norm_it_may() -> None:
    """A third of a level everywhere: rounding to the nearest would leave nothing of it."""
    pixels = np.full((1, 40, 50, 3), 100, np.uint8)
    step = 1 / 3 / 255
    adversarial = to_frames(pixels) + step
    epsilon = step * np.sqrt(pixels.size)
    assert np.array_equal(to_pixels(adversarial), pixels)
    change = quantise(adversarial, pixels, epsilon, "l2").astype(int) - pixels
    assert set(np.unique(change)) == {0, 1}
    assert np.linalg.norm(change) == pytest.approx(255 * epsilon, rel=0.01)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.02), ("l2", 1.0)])
def test_whole_levels_are_kept_as_they_are(norm: str, epsilon: float) -> None:
    pixels = drawn(1, 5, 6)
    other = (pixels.astype(int) + np.random.default_rng(1).integers(-5, 6, pixels.shape)).clip(
        0, 255
    )
    found = quantise(to_frames(other.astype(np.uint8)), pixels, epsilon, norm)  # type: ignore[arg-type]
    assert np.array_equal(found, other)


def test_epsilon_between_levels_is_rounded_down() -> None:
    pixels = np.full((1, 2, 2, 3), 9, np.uint8)
    found = quantise(torch.ones(1, 3, 2, 2), pixels, 0.01)  # 2.55 levels
    assert (found == 11).all()
    assert (quantise(torch.ones(1, 3, 2, 2), pixels, 3 / 255) == 12).all()


def test_quantise_refuses() -> None:
    pixels = drawn(0, 4, 5)
    frames = to_frames(pixels)
    with pytest.raises(BlurvoteError, match=r"rounded to 8 bits, no change is left"):
        quantise(frames, pixels, 0.003)
    with pytest.raises(BlurvoteError, match="expected a finite number"):
        quantise(frames, pixels, float("nan"))
    with pytest.raises(FrameError, match=r"is \(1, 3, 4, 5\) and original \(2, 4, 5, 3\)"):
        quantise(frames[:1], pixels, 0.1)
    with pytest.raises(FrameError, match=r"pixels are .* float64; expected \(N, H, W, 3\) uint8"):
        quantise(frames, pixels / 255, 0.1)
    with pytest.raises(FrameError, match=r"frames are \(3, 4, 5\); expected \(N, 3, H, W\)"):
        to_pixels(frames[0])


def test_the_perturbation_as_an_image() -> None:
    delta = torch.zeros(3, 3, 1, 2)
    delta[0, :, 0] = torch.tensor([[0.02, -0.01], [0, 0], [0.01, 0]])
    delta[1] = -1e-9
    shown = show_perturbation(delta)
    assert shown[0].tolist() == [[[255, 128, 191], [64, 128, 128]]]
    assert (shown[1] == 0).all()
    assert (shown[2] == 128).all()  # no perturbation


def test_change_by_hand() -> None:
    original = np.full((2, 3, 3), 100, np.uint8)
    adversarial = original.copy()
    adversarial[0, 0] = (101, 99, 101)  # 3 levels in sum
    adversarial[0, 1] = (102, 100, 100)  # 2
    adversarial[1, 2] = (100, 100, 151)  # 51, a fifth of the range
    change = measure_change(original, adversarial)
    assert change.linf == pytest.approx(0.2)
    assert change.l2 == pytest.approx(np.sqrt(3 + 4 + 51**2) / 255)
    assert change.per_pixel == pytest.approx((3 + 2 + 51) / 6 / 255)
    assert (change.changed, change.changed_share) == (2, pytest.approx(2 / 6))
    assert measure_change(original, adversarial, 0).changed == 3
    # A pixel at exactly the threshold has not passed it.
    assert measure_change(original, adversarial, 0.2).changed == 0
    assert measure_change(original, adversarial, 0.199).changed == 1


def test_grey_frames_in_three_channels_are_not_counted_three_times() -> None:
    grey = np.random.default_rng(0).integers(0, 200, (5, 7), np.uint8)
    other = grey + np.random.default_rng(1).integers(0, 56, (5, 7), np.uint8)
    once = measure_change(grey, other, 0.1)
    assert once == measure_change(grey[..., None], other[..., None], 0.1)
    thrice = [np.repeat(frame[..., None], 3, axis=2) for frame in (grey, other)]
    mean = measure_change(*thrice, threshold=0.1, channels="mean")
    assert (mean.per_pixel, mean.changed) == (pytest.approx(once.per_pixel), once.changed)
    assert measure_change(*thrice).per_pixel == pytest.approx(3 * once.per_pixel)


def test_change_does_not_wrap_around() -> None:
    black, white = np.zeros((1, 1, 3), np.uint8), np.full((1, 1, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert (measure_change(*pair).linf, measure_change(*pair).per_pixel) == (1, 3)


def test_change_refuses() -> None:
    frame = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(FrameError, match=r"original is \(4, 5, 3\) and adversarial \(4, 4, 3\)"):
        measure_change(frame, frame[:, 1:])
    with pytest.raises(FrameError, match=r"adversarial is .* float64; expected"):
        measure_change(frame, frame / 255)
    with pytest.raises(BlurvoteError, match="threshold is 10; expected a share of the range"):
        measure_change(frame, frame, 10)
    with pytest.raises(BlurvoteError, match="channels is 'max'; expected 'sum' or 'mean'"):
        measure_change(frame, frame, channels="max")  # type: ignore[arg-type]
