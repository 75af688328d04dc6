"""Denoised views against NumPy in float64: levels, strengths, blurs, borders, order."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from blurvote.export.denoiser.loading import load_denoiser
from blurvote.export.denoiser.views_graph import denoised_views_model
from blurvote.export.ort_session import Session
from blurvote.runtime import Defense, DefenseError

SETS = [
    ("denoised", "single-blur", "double-blur"),
    ("denoised", "denoised-single-blur", "double-blur"),
    ("90%-denoised", "denoised", "50%-denoised"),
    ("denoised-double-blur", "70%-denoised-single-blur", "denoised"),
    ("clean", "denoised-single-blur", "35%-denoised-3-blur"),
]


def blurred(planes: np.ndarray, taps: tuple[float, ...], passes: int) -> np.ndarray:
    """By direct sums over a border that is reflected without repeating the edge."""
    radius = len(taps) // 2
    for _ in range(passes):
        for axis in (-1, -2):
            pads = [(0, 0)] * planes.ndim
            pads[axis] = (radius, radius)
            padded = np.pad(planes, pads, mode="reflect")
            size = planes.shape[axis]
            planes = sum(
                tap * np.take(padded, np.arange(size) + shift, axis=axis)
                for shift, tap in enumerate(taps)
            )
    return planes


@pytest.mark.parametrize("names", SETS, ids=str)
@pytest.mark.parametrize(
    "fields", [{}, {"kernel_size": 9, "sigma": 2.0, "blur_at": "model"}], ids=str
)
def test_equals_the_definition(
    save_denoiser: Callable[..., Path],
    smoothed: Callable[..., np.ndarray],
    names: tuple[str, ...],
    fields: dict[str, object],
) -> None:
    defense = Defense(resize=32, crop=(24, 32), noisy_views=names, **fields)  # type: ignore[arg-type]
    model = denoised_views_model(load_denoiser(save_denoiser(), defense.crop), defense)
    rng = np.random.default_rng(0)
    clean = rng.normal(0, 1.5, (2, 3, 24, 32))  # some of it beyond black and white
    levels = np.array([0.05, 0.3])
    noisy = np.concatenate([clean, np.broadcast_to(levels[:, None, None, None], (2, 1, 24, 32))], 1)
    session = Session(model, "it")
    (found,) = session.run(noisy.astype(np.float32), "views")

    mean, std = (np.array(value)[:, None, None] for value in (defense.mean, defense.std))
    pixels = np.clip(clean.astype(np.float32).astype(np.float64) * std + mean, 0, 1)
    denoised = np.clip(smoothed(pixels, levels), 0, 1)
    kinds = [kind for kind in defense.kinds(noisy=True) if kind.denoised]
    assert found.shape == (2, len(kinds), 3, 24, 32)
    for number, kind in enumerate(kinds):
        part = kind.strength / 100
        mixed = part * denoised + (1 - part) * pixels
        expected = (blurred(mixed, defense.gaussian_taps(), kind.passes) - mean) / std
        np.testing.assert_allclose(found[:, number], expected, rtol=0, atol=1e-5)


def test_its_interface_and_its_names(save_denoiser: Callable[..., Path]) -> None:
    defense = Defense(resize=32, crop=(24, 32), noisy_views=SETS[1])
    model = denoised_views_model(load_denoiser(save_denoiser(), defense.crop), defense)
    onnx.checker.check_model(model, full_check=True)
    (value,), (result,) = model.graph.input, model.graph.output
    sizes = [
        [dim.dim_value or dim.dim_param for dim in one.type.tensor_type.shape.dim]
        for one in (value, result)
    ]
    assert (value.name, result.name) == ("noisy", "views")
    assert sizes == [["B", 4, 24, 32], ["B", 2, 3, 24, 32]]
    assert all(node.name.startswith("denoise/") for node in model.graph.node)


def test_a_crop_too_small_for_the_kernel_is_told(save_denoiser: Callable[..., Path]) -> None:
    defense = Defense(resize=32, crop=(8, 28), kernel_size=17, noisy_views=SETS[1])
    denoiser = load_denoiser(save_denoiser(), defense.crop)
    with pytest.raises(DefenseError) as caught:
        denoised_views_model(denoiser, defense)
    assert str(caught.value) == (
        "views of 28x8 px cannot be blurred by 17 taps after denoising: reflection at the border "
        "needs more than 8 px"
    )
