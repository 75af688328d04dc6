"""What all gradient attacks share: evaluation, steps, balls, and draws that depend on one seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import Norm
from blurvote.benchmarks.robustness.attacks.objectives import Objective
from blurvote.runtime.errors import FrameError

__all__ = [
    "Evaluated",
    "check_frames",
    "direction",
    "evaluate",
    "generators",
    "project",
    "random_point",
    "random_signs",
]


@dataclass(frozen=True, eq=False)
class Evaluated:
    """An objective and its gradient.

    Attributes:
        values: `(N,)`, detached.
        gradient: `(N, 3, H, W)`; entries that were not finite are 0.
        zero: `(N,)` bool, frames whose gradient is zero in every entry.
    """

    values: Tensor
    gradient: Tensor
    zero: Tensor


def evaluate(objective: Objective, frames: Tensor) -> Evaluated:
    """The objective at `frames` `(N, 3, H, W)`, with its gradient."""
    frames = frames.detach().requires_grad_(True)
    values = objective(frames)
    if values.requires_grad:
        # Frame i decides value i alone, so the gradient of the sum holds that of each.
        (found,) = torch.autograd.grad(values.sum(), frames, allow_unused=True)
    else:
        found = None  # rounding, or anything else that torch cannot look through
    gradient = torch.zeros_like(frames) if found is None else found
    gradient = gradient.detach().nan_to_num(0.0, 0.0, 0.0)
    return Evaluated(values.detach(), gradient, gradient.flatten(1).abs().amax(dim=1) == 0)


def direction(gradient: Tensor, norm: Norm) -> Tensor:
    """The unit step of steepest ascent `(N, 3, H, W)`: the sign, or the gradient of length 1."""
    if norm == "linf":
        return gradient.sign()
    # Scaled by the largest entry first: the squares of small gradients underflow in float32.
    scaled = gradient / _largest(gradient).clamp(min=torch.finfo(gradient.dtype).tiny)
    return scaled / _length(scaled).clamp(min=torch.finfo(gradient.dtype).tiny)


def project(points: Tensor, frames: Tensor, epsilon: float, norm: Norm) -> Tensor:
    """The points inside both the ball around `frames` and [0, 1].

    The frames are in [0, 1], so clamping moves no entry away from them: the ball is not left again.
    """
    change = points - frames
    if norm == "linf":
        change = change.clamp(-epsilon, epsilon)
    else:
        length = _length(change)
        change = change * (epsilon / length.clamp(min=epsilon))
    return (frames + change).clamp(0, 1)


def generators(seeds: Sequence[int], frames: Tensor) -> list[torch.Generator]:
    """One generator per frame, on the CPU: neither batching nor the device changes a draw.

    Raises:
        FrameError: there are not as many seeds as frames.
    """
    if len(seeds) != len(frames):
        raise FrameError(f"{len(seeds)} seeds for {len(frames)} frames; expected one for each")
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def random_signs(streams: Sequence[torch.Generator], frames: Tensor) -> Tensor:
    """-1 or 1 in every entry, `(N, 3, H, W)`; frame i draws from stream i."""
    drawn = [torch.randint(0, 2, frames.shape[1:], generator=stream) for stream in streams]
    return torch.stack(drawn).to(frames) * 2 - 1


def random_point(
    streams: Sequence[torch.Generator], frames: Tensor, epsilon: float, norm: Norm
) -> Tensor:
    """A point drawn uniformly from the ball around each frame, clamped to [0, 1]."""
    shape = frames.shape[1:]
    if norm == "linf":
        drawn = torch.stack([torch.rand(shape, generator=stream) for stream in streams])
        return (frames + epsilon * (2 * drawn - 1).to(frames)).clamp(0, 1)
    ways, radii = [], []
    for stream in streams:
        ways.append(torch.randn(shape, generator=stream))
        radii.append(torch.rand((), generator=stream) ** (1 / ways[-1].numel()))
    way = torch.stack(ways)
    change = epsilon * torch.stack(radii)[:, None, None, None] * way / _length(way)
    return (frames + change.to(frames)).clamp(0, 1)


def check_frames(frames: Tensor) -> None:
    """Refuses what is not a batch of frames.

    Raises:
        FrameError: not `(N, 3, H, W)` floating point with N, H, W of at least 1.
    """
    if (
        frames.ndim != 4
        or frames.shape[1] != 3
        or 0 in frames.shape
        or not frames.is_floating_point()
    ):
        raise FrameError(
            f"frames are {tuple(frames.shape)} {frames.dtype}; expected (N, 3, H, W) floating "
            f"point, RGB in [0, 1]"
        )


def _largest(values: Tensor) -> Tensor:
    return values.abs().amax(dim=(1, 2, 3), keepdim=True)


def _length(values: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(values, dim=(1, 2, 3), keepdim=True)
    return length
