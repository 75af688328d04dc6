"""What the denoiser is trained on, and that its training can be interrupted."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blurvote.export.denoiser import textures, train
from blurvote.export.denoiser.leaves import dead_leaves
from blurvote.export.denoiser.samples import PATCH, draw_batch
from blurvote.export.denoiser.train import rate
from blurvote.runtime.noise import estimate_noise


@cache
def leaves(count: int = 2, side: int = 320) -> np.ndarray:
    return np.stack([dead_leaves(0, number, side) for number in range(count)])


def test_images_are_the_same_for_the_same_seed() -> None:
    first = dead_leaves(3, 1, 128)
    assert first.shape == (3, 128, 128)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, dead_leaves(3, 1, 128))
    assert np.any(first != dead_leaves(3, 2, 128))
    assert np.any(first != dead_leaves(4, 1, 128))


def test_images_are_neither_flat_nor_noise() -> None:
    """Of a dozen images, the noise that is read is a photograph's, and the contrast, too."""
    images = [dead_leaves(1, number, 256).transpose(1, 2, 0) for number in range(12)]
    read = [estimate_noise(np.ascontiguousarray(image)) for image in images]
    assert np.median([level or 0.0 for level in read]) < 0.03
    assert 25 < np.mean([image.std() for image in images]) < 100


def test_textures_have_mean_0_and_variance_1_whatever_their_kind() -> None:
    seen = set()
    for kind in range(len(textures._KINDS)):
        rng = np.random.default_rng(kind)
        field = textures._KINDS[kind](rng, 96)
        assert field.shape == (96, 96)
        assert np.isfinite(field).all()
        assert field.std() > 0
        seen.add(field.tobytes())
        drawn = textures.texture(np.random.default_rng(kind), 96)
        assert drawn.dtype == np.float32
        assert abs(float(drawn.mean())) < 1e-3
        assert float(drawn.std()) == pytest.approx(1, abs=1e-3)
    assert len(seen) == len(textures._KINDS)


def test_the_level_told_is_that_of_the_noise_on_the_grid() -> None:
    """Within what clipping takes away from white noise of 0.06, for every resize that is drawn."""
    frames = 64 + leaves() // 2  # far from black and white
    for step in range(6):
        noisy, levels, clean = draw_batch(frames, 0, step, 4, fixed=0.06)
        assert noisy.shape == clean.shape == (4, 3, PATCH, PATCH)
        assert levels.shape == (4, 1)
        assert float((noisy - clean).std() / levels[0, 0]) == pytest.approx(1, abs=0.04)


def test_batches_are_the_same_for_the_same_step() -> None:
    frames = leaves()
    for one, other in zip(draw_batch(frames, 0, 5, 3), draw_batch(frames, 0, 5, 3), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(draw_batch(frames, 0, 5, 3)[0], draw_batch(frames, 0, 6, 3)[0])


def test_all_kinds_of_noise_come_up() -> None:
    """Gaussian, shot and impulse noise all leave frames in [0, 1] with a positive level."""
    frames = leaves()
    for step in range(40):
        noisy, levels, clean = draw_batch(frames, 0, step, 1)
        assert 0 <= float(noisy.min()) <= float(noisy.max()) <= 1 + 1e-6
        assert float(levels.min()) > 0
        assert float((noisy - clean).abs().max()) > 0


def test_the_rate_rises_stays_and_falls() -> None:
    assert rate(0, 8000, 1.0) == pytest.approx(1 / 500)
    assert rate(499, 8000, 1.0) == rate(6000, 8000, 1.0) == 1.0
    assert rate(7000, 8000, 1.0) == pytest.approx(0.5)
    # Longer or shorter, a run is the same up to where the shorter one begins to fall.
    assert [rate(step, 8000, 1.0) for step in range(6000)] == [
        rate(step, 16000, 1.0) for step in range(6000)
    ]


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Trains for a few steps on two images, in this process."""
    frames = leaves()
    monkeypatch.setattr(train, "draw_frames", lambda seed, first, count: frames)
    monkeypatch.setattr(train, "_CHECK_STEPS", 1)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)

    def run(out: Path, steps: int) -> None:
        options = f"--steps {steps} --check 1 --batch 1 --threads 1".split()
        monkeypatch.setattr(sys, "argv", ["train", "--out", str(out), *options])
        train.main()

    return run


def test_an_interrupted_run_goes_on(
    tmp_path: Path,
    training: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Stopped in its third step and started again, it leaves the weights of one go."""
    whole, parts = tmp_path / "whole.pt", tmp_path / "parts.pt"
    training(whole, 4)
    drawn = train.batches

    def stopped(frames: Any, seed: int, steps: range, *others: Any) -> Iterator[Any]:
        for step, batch in zip(steps, drawn(frames, seed, steps, *others), strict=True):
            if step == 2:
                raise KeyboardInterrupt
            yield batch

    monkeypatch.setattr(train, "batches", stopped)
    with pytest.raises(KeyboardInterrupt):
        training(parts, 4)
    assert parts.with_suffix(".partial").exists()
    assert not parts.exists()
    monkeypatch.setattr(train, "batches", drawn)
    capsys.readouterr()
    training(parts, 4)
    assert "going on after step 2" in capsys.readouterr().out
    expected, found = (torch.load(path, weights_only=True) for path in (whole, parts))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6)
    curve = [json.loads(line) for line in parts.with_suffix(".jsonl").read_text().splitlines()]
    assert [line["step"] for line in curve] == [1, 2, 3, 4]
