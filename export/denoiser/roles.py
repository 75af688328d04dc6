"""What the inputs of an image denoiser mean, worked out from their shapes. Imports no onnx.

One input of 3 channels, NCHW float32 RGB in [0, 1], is the image; a second one, if there is one, is
the noise's standard deviation on the same scale, as a scalar, one number per image, or a map of 1
or 3 channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["EXPECTED", "NoiseLevel", "Roles", "find_roles"]

EXPECTED = (
    "expected an ONNX denoiser with an image input (N, 3, H, W) float32, at most one more float32 "
    "input for the noise level, and one output of the image's shape"
)


@dataclass(frozen=True)
class NoiseLevel:
    """How a denoiser is told the noise level.

    Attributes:
        name: of the ONNX input.
        shape: `"scalar"` is one number for the batch, `"image"` one number per image, `"map"` one
            number per pixel.
        rank: dimensions of the input.
        channels: of a map; 1 otherwise.
    """

    name: str
    shape: Literal["scalar", "image", "map"]
    rank: int
    channels: int = 1

    def fill(self, sigma: float, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The input for images `(B, 3, h, w)`."""
        if self.shape == "map":
            size = (len(images), self.channels, *images.shape[2:])
        elif self.shape == "image":
            size = (len(images), *(1,) * (self.rank - 1))
        else:
            size = (1,) * self.rank
        return np.full(size, sigma, np.float32)


@dataclass(frozen=True)
class Roles:
    """The inputs of a denoiser.

    Attributes:
        image: name of the image's input.
        batch, height, width: what that input fixes; None where it does not.
        level: how the noise level is told; None where the denoiser has no such input and removes
            the noise that it was trained on.
    """

    image: str
    batch: int | None
    height: int | None
    width: int | None
    level: NoiseLevel | None


def find_roles(inputs: Sequence[Any]) -> Roles | None:
    """Which input is the image and what the other one is; None where they are no denoiser's.

    Args:
        inputs: what ONNX Runtime's `get_inputs` returns: each has a `name`, a `type` such as
            `tensor(float)`, and a `shape` with an int for each dimension that is fixed.
    """
    if len(inputs) not in (1, 2) or any(one.type != "tensor(float)" for one in inputs):
        return None
    images = [one for one in inputs if len(one.shape) == 4 and _length(one.shape[1]) in (3, 0)]
    # Of two such inputs the one that fixes 3 channels is the image, then the first.
    images.sort(key=lambda one: _length(one.shape[1]) != 3)
    if not images:
        return None
    batch, _, height, width = (_length(size) or None for size in images[0].shape)
    others = [one for one in inputs if one is not images[0]]
    level = _noise_level(others[0]) if others else None
    if others and level is None:
        return None
    return Roles(images[0].name, batch, height, width, level)


def _noise_level(value: Any) -> NoiseLevel | None:
    """The meaning of an input by its shape; None where it has none that is known."""
    shape = [_length(size) for size in value.shape]
    if len(shape) == 4 and shape[2:] != [1, 1]:
        channels = shape[1] or 1
        return NoiseLevel(value.name, "map", 4, channels) if channels in (1, 3) else None
    if any(size not in (0, 1) for size in shape[1:]) or len(shape) > 4:
        return None
    if not shape or shape[0] == 1:
        return NoiseLevel(value.name, "scalar", len(shape))
    return NoiseLevel(value.name, "image", len(shape)) if shape[0] == 0 else None


def _length(size: Any) -> int:
    """A dimension that the model fixes, or 0 for a free one."""
    return size if isinstance(size, int) else 0
