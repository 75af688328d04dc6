"""From an attack's real-valued frames to the 8-bit frames that a camera or a file can hold.

Rounding comes after the attack and may undo it, or step out of the ball: what counts is the 8-bit
frame, so it is made here with the bound kept, and all figures are taken from it.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import Norm, check_epsilon, whole_levels
from blurvote.runtime.errors import FrameError

__all__ = ["quantise", "show_perturbation", "to_frames", "to_pixels"]

Pixels = NDArray[np.uint8]
Float64 = NDArray[np.float64]

_SNAP = 1e-3  # grey levels; float32 frames miss whole levels by 2e-5


def to_frames(pixels: Pixels, device: str | torch.device = "cpu") -> Tensor:
    """Pixels `(N, H, W, 3)` uint8 to frames `(N, 3, H, W)` float32 in [0, 1].

    Raises:
        FrameError: pixels of another shape or dtype.
    """
    _check_pixels(pixels)
    planes = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
    return planes.to(device, torch.float32) / 255


def to_pixels(frames: Tensor) -> Pixels:
    """Frames `(N, 3, H, W)` in [0, 1] to pixels `(N, H, W, 3)` uint8, rounded to the nearest."""
    rounded: Float64 = np.rint(_levels(frames).clip(0, 255))
    return rounded.astype(np.uint8)


def quantise(adversarial: Tensor, original: Pixels, epsilon: float, norm: Norm = "linf") -> Pixels:
    """8-bit frames near the adversarials and inside the ball around the originals.

    L-inf: rounded to the nearest, and the change in grey levels clipped to `whole_levels`. Epsilon
    0.01, for instance, allows 2 levels.

    L2: the change is rounded toward the original, and then as many entries as the norm allows are
    rounded away from it, those with the largest fraction first. The norm of the change is at most
    that before rounding and at most epsilon. Rounding to the nearest would not do: on large frames
    an L2 ball allows most entries less than half a level, and the whole attack would be rounded
    away.

    Args:
        adversarial: `(N, 3, H, W)` in [0, 1].
        original: `(N, H, W, 3)` uint8, the frames that were attacked.
        epsilon: radius of the ball, pixels in [0, 1].
        norm: `"linf"` or `"l2"`.

    Returns:
        `(N, H, W, 3)` uint8.

    Raises:
        FrameError: the shapes do not belong together.
        BlurvoteError: epsilon out of range; see `check_epsilon`.
    """
    check_epsilon(epsilon, norm)
    _check_pixels(original)
    levels = _levels(adversarial)
    if levels.shape != original.shape:
        raise FrameError(
            f"adversarial is {tuple(adversarial.shape)} and original {original.shape}; expected "
            f"(N, 3, H, W) and (N, H, W, 3) of the same frames"
        )
    change = levels.clip(0, 255) - original
    if norm == "linf":
        most = whole_levels(epsilon)
        rounded: Float64 = np.rint(change).clip(-most, most)
    else:
        rounded = np.stack([_round_l2(one, 255 * epsilon) for one in change])
    # Both terms are whole numbers; the clip cannot lengthen a change, as originals are in range.
    levels = (original + rounded).clip(0, 255)
    return levels.astype(np.uint8)


def show_perturbation(delta: Tensor) -> Pixels:
    """The perturbation alone as an image, to see it and to classify it.

    Mid-grey, plus the perturbation scaled so that its largest absolute entry reaches black or
    white; each frame by its own.

    Args:
        delta: `(N, 3, H, W)`, adversarial minus original, any scale.

    Returns:
        `(N, H, W, 3)` uint8.
    """
    largest = delta.flatten(1).abs().amax(dim=1)[:, None, None, None]
    tiny = torch.finfo(delta.dtype).tiny
    return to_pixels(0.5 + 0.5 * delta / largest.clamp(min=tiny))


def _round_l2(change: Float64, radius: float) -> Float64:
    """Whole grey levels for one frame's change, of a norm no larger than before or `radius`."""
    nearest = np.rint(change)
    change = np.where(np.abs(change - nearest) < _SNAP, nearest, change)
    length = float(np.linalg.norm(change))
    if length > radius * (1 + 1e-6):
        change = change * (radius / length)
        length = radius
    magnitude = np.abs(change)
    inward = np.floor(magnitude)
    fraction = (magnitude - inward).ravel()
    order = np.argsort(-fraction, kind="stable")
    order = order[fraction[order] > 0]
    spent = (inward**2).sum() + np.cumsum(2 * inward.ravel()[order] + 1)
    outward = inward.ravel()
    outward[order[spent <= length**2 + 1e-9]] += 1
    result: Float64 = np.copysign(outward.reshape(change.shape), change)
    return result


def _levels(frames: Tensor) -> Float64:
    """Frames `(N, 3, H, W)` in [0, 1] to grey levels `(N, H, W, 3)` float64, unrounded."""
    if frames.ndim != 4 or frames.shape[1] != 3:
        raise FrameError(f"frames are {tuple(frames.shape)}; expected (N, 3, H, W)")
    planes = frames.detach().to("cpu", torch.float64).numpy() * 255
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1))


def _check_pixels(pixels: Pixels) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != 3:
        raise FrameError(f"pixels are {pixels.shape} {pixels.dtype}; expected (N, H, W, 3) uint8")
