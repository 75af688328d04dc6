"""The NumPy reference against kornia and torchvision in float64."""

from __future__ import annotations

from typing import Any

import kornia
import numpy as np
import pytest
import torch
import torchvision.transforms.functional as F
from numpy.typing import NDArray
from torchvision.transforms import InterpolationMode

from blurvote.export.reference import build_views, resize_matrix, view_axes, view_matrices
from blurvote.runtime import Defense, DefenseError

SMALL = {"resize": 64, "crop": (56, 56)}
SIZES = [(125, 167), (167, 125), (31, 43), (83, 65), (64, 64), (57, 58), (65, 230)]
DEFENSES: list[dict[str, Any]] = [
    {},
    {"antialias": False},
    {"interpolation": "bicubic"},
    {"interpolation": "bicubic", "antialias": False},
    {"blur_at": "model", "kernel_size": 9, "sigma": 2.5, "passes": (0, 1, 4)},
    {"kernel_size": 3, "sigma": 0.6, "passes": (1, 3)},
    {"kernel_size": 7, "passes": (0, 1, 2, 4)},
    {"fit": "stretch", "crop": (24, 40)},
    {"fit": "stretch", "crop": (24, 40), "interpolation": "bicubic", "antialias": False},
    {"resize": 56},
    {"resize": 58, "crop": (48, 57)},
    {"passes": (0,), "mean": (0, 0, 0), "std": (1, 1, 1)},
]


def blog_views(defense: Defense, frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The views as the blog's libraries compute them."""
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].double() / 255

    def resized(image: torch.Tensor) -> torch.Tensor:
        size = list(defense.crop) if defense.fit == "stretch" else defense.resize
        mode = InterpolationMode(defense.interpolation)
        image = F.resize(image, size, mode, antialias=defense.antialias)
        return F.center_crop(image, list(defense.crop))

    def blurred(image: torch.Tensor, passes: int) -> torch.Tensor:
        taps, sigma = (defense.kernel_size,) * 2, (defense.sigma,) * 2
        for _ in range(passes):
            image = kornia.filters.gaussian_blur2d(image, taps, sigma, border_type="reflect")
        return image

    views = [
        resized(blurred(image, passes))
        if defense.blur_at == "frame"
        else blurred(resized(image), passes)
        for passes in defense.passes
    ]
    normalised = F.normalize(torch.cat(views), list(defense.mean), list(defense.std))
    return np.asarray(normalised.numpy(), np.float64)


@pytest.mark.parametrize("fields", DEFENSES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_kornia_and_torchvision(fields: dict[str, Any], size: tuple[int, int]) -> None:
    assert_equal(Defense(**{**SMALL, **fields}), size)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (97, 131)], ids=str)
@pytest.mark.parametrize("antialias", [True, False])
def test_equals_kornia_and_torchvision_at_real_sizes(
    antialias: bool, size: tuple[int, int]
) -> None:
    assert_equal(Defense(antialias=antialias), size)


def assert_equal(defense: Defense, size: tuple[int, int]) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    # Both sides compute in float64; values reach 2.7, weights come from the same formulas.
    np.testing.assert_allclose(
        build_views(defense, frame), blog_views(defense, frame), rtol=0, atol=1e-11
    )


def test_a_crop_between_two_pixels_goes_to_the_even_one() -> None:
    # 500 x 375 is resized to 341 x 256: the crop of 224 would start at 58.5, Python rounds to 58.
    _, columns = view_axes(Defense(), 375, 500)
    assert (columns.resized, columns.offset) == (341, 58)


def test_rows_of_all_matrices_sum_to_one() -> None:
    for fields in DEFENSES:
        matrices = view_matrices(Defense(**{**SMALL, **fields}), 97, 131)
        for matrix in (matrices.rows, matrices.cols):
            np.testing.assert_allclose(matrix.sum(axis=2), 1, rtol=0, atol=1e-12)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("antialias", [True, False])
def test_resize_to_the_same_size_changes_nothing(interpolation: str, antialias: bool) -> None:
    np.testing.assert_allclose(resize_matrix(9, 9, interpolation, antialias), np.eye(9), atol=1e-15)


@pytest.mark.parametrize(
    ("fields", "size", "text"),
    [
        (
            {"resize": 224, "crop": (224, 448)},
            (300, 400),
            "frames of 400x300 px: the width of 400 px is resized to 298 px, shorter than the crop "
            "of 448 px",
        ),
        (
            {},
            (2, 400),
            "frames of 400x2 px: a height of 2 px cannot be blurred by 5 taps: reflection at the "
            "border needs more than 2 px",
        ),
        (
            {"blur_at": "model", "crop": (4, 224), "kernel_size": 9},
            (300, 400),
            "frames of 400x300 px: a height of 4 px cannot be blurred by 9 taps: reflection at the "
            "border needs more than 4 px",
        ),
    ],
)
def test_frames_that_cannot_be_served(
    fields: dict[str, Any], size: tuple[int, int], text: str
) -> None:
    with pytest.raises(DefenseError) as caught:
        view_matrices(Defense(**fields), *size)
    assert str(caught.value) == text
