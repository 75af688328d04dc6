"""How training pictures are changed; the test pictures never are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.training.catalogue import DatasetKind

__all__ = ["DEGREES", "SHEAR", "ZOOM", "Augment", "Geometry", "augmentation", "draw_geometry"]

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""`(N, C, H, W)` float32 pictures in [0, 1] and a generator to changed ones, of the same form."""

DEGREES = 15.0
SHEAR = 10.0  # degrees, along each axis
ZOOM = (0.85, 1.15)


@dataclass(frozen=True)
class Geometry:
    """How one picture is moved: degrees of turn, factor of zoom, degrees of shear, mirrored or not.

    Attributes:
        angle, zoom, shear: as torchvision's `affine` takes them.
        flip: whether left and right are exchanged afterwards.
    """

    angle: float
    zoom: float
    shear: tuple[float, float]
    flip: bool


def augmentation(name: str, dataset: DatasetKind, sigma: float, flips: bool | None) -> Augment:
    """The change that `name` means: `"none"`, `"noise"` or `"geometric"`.

    Args:
        name: one of `catalogue.AUGMENTATIONS`.
        dataset: says whether mirrored pictures keep their class.
        sigma: standard deviation of the noise, of pixels in [0, 1].
        flips: mirror half the pictures; None does so where `dataset` allows it.
    """
    mirrored = dataset.mirrored if flips is None else flips
    changes: dict[str, Augment] = {
        "none": lambda pictures, generator: pictures,
        "noise": lambda pictures, generator: _add_noise(pictures, sigma, generator),
        "geometric": lambda pictures, generator: _move(pictures, mirrored, generator),
    }
    return changes[name]


def _add_noise(pictures: torch.Tensor, sigma: float, generator: torch.Generator) -> torch.Tensor:
    """Gaussian noise, clamped to [0, 1]; drawn afresh whenever a picture comes by."""
    noise = torch.randn(pictures.shape, generator=generator)
    return (pictures + sigma * noise).clamp_(0, 1)


def draw_geometry(count: int, flips: bool, generator: torch.Generator) -> list[Geometry]:
    """One movement per picture, each part uniform within its range.

    torchvision's random transforms would draw one for a whole batch, and from torch's global
    generator.
    """
    low, high = ZOOM
    uniform = torch.rand((count, 5), generator=generator, dtype=torch.float64).tolist()
    return [
        Geometry(
            angle=(2 * a - 1) * DEGREES,
            zoom=low + (high - low) * b,
            shear=((2 * c - 1) * SHEAR, (2 * d - 1) * SHEAR),
            flip=flips and e < 0.5,
        )
        for a, b, c, d, e in uniform
    ]


def _move(pictures: torch.Tensor, flips: bool, generator: torch.Generator) -> torch.Tensor:
    modules = require(
        "geometric augmentation",
        ["torchvision.transforms.v2.functional", "torchvision.transforms"],
        "torchvision",
    )
    functional, bilinear = modules[0], modules[1].InterpolationMode.BILINEAR
    moved = []
    geometries = draw_geometry(len(pictures), flips, generator)
    for picture, geometry in zip(pictures, geometries, strict=True):
        changed = functional.affine(
            picture,
            angle=geometry.angle,
            translate=[0, 0],
            scale=geometry.zoom,
            shear=list(geometry.shear),
            interpolation=bilinear,
        )
        moved.append(changed.flip(-1) if geometry.flip else changed)
    return torch.stack(moved)
