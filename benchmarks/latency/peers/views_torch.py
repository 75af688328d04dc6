"""The views by kornia and torchvision, as the blog's code makes them."""

from __future__ import annotations

from functools import partial
from typing import Any

from blurvote.benchmarks.latency.peers.peer import Frame, Tolerance, Views
from blurvote.benchmarks.optional import require
from blurvote.runtime.defense import Defense

__all__ = ["PACKAGES", "from_frame", "kornia_views", "to_tensor", "ways"]

PACKAGES = "torch torchvision kornia"
_ROUNDING = Tolerance(largest=1e-4, mean=1e-5)  # float32 sums in another order


def from_frame(defense: Defense) -> Views:
    """From the frame on, `ToTensor` included.

    Raises:
        ProviderError: a package is missing.
    """
    ready = _ready(defense)
    return Views(
        "kornia + torchvision with ToTensor",
        "ToTensor to contiguous NCHW float32, then as kornia + torchvision",
        ready.threads,
        lambda frame: ready.make(to_tensor(frame)),
        ready.tolerance,
    )


def ways(defense: Defense) -> list[Views]:
    """From a ready tensor, which leaves the conversion out, and from the frame.

    Raises:
        ProviderError: a package is missing.
    """
    return [_ready(defense), from_frame(defense)]


def _ready(defense: Defense) -> Views:
    torch, *_ = require(
        "kornia + torchvision", ("torch", "torchvision.transforms.functional", "kornia"), PACKAGES
    )
    return Views(
        "kornia + torchvision",
        "a ready contiguous NCHW float32 tensor, gaussian_blur2d, resize, center_crop, normalize",
        f"torch {torch.get_num_threads()}",
        partial(kornia_views, defense),
        _ROUNDING,
        prepare=to_tensor,
    )


def to_tensor(frame: Frame) -> Any:
    """torchvision's `ToTensor`: contiguous (1, 3, H, W) float32 in [0, 1]."""
    import torchvision.transforms.functional as transforms

    return transforms.to_tensor(frame)[None]


def kornia_views(defense: Defense, image: Any) -> Any:
    """The views of a (1, 3, H, W) tensor in [0, 1]: a (V, 3, h, w) tensor of its dtype."""
    import kornia
    import torch
    import torchvision.transforms.functional as transforms

    kernel, sigma = (defense.kernel_size,) * 2, (defense.sigma,) * 2
    views, done = [], 0
    with torch.inference_mode():
        for passes in defense.passes:
            for _ in range(passes - done):
                image = kornia.filters.gaussian_blur2d(image, kernel, sigma)
            done = passes
            view = transforms.resize(image, [defense.resize], antialias=defense.antialias)
            view = transforms.center_crop(view, list(defense.crop))
            views.append(transforms.normalize(view, list(defense.mean), list(defense.std)))
        return torch.cat(views)
