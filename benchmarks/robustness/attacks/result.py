"""What an attack gives back: the adversarial at every checkpoint, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Attacked", "Best", "Checkpoints", "Trace"]

Checkpoints = Mapping[int, Tensor]
"""Number of steps to adversarials `(N, 3, H, W)` in [0, 1]."""


@dataclass(frozen=True)
class Trace:
    """What an attack did, one entry per frame.

    Attributes:
        gradient_calls: forward and backward passes.
        forward_calls: forward passes alone.
        zero_gradients: how many of the gradients were zero in every entry (or not finite).
        values: per checkpoint, the objective at the adversarial.
    """

    gradient_calls: tuple[int, ...]
    forward_calls: tuple[int, ...]
    zero_gradients: tuple[int, ...]
    values: Mapping[int, tuple[float, ...]]


@dataclass(frozen=True, eq=False)
class Attacked:
    """Adversarials of N frames.

    Attributes:
        checkpoints: number of steps to adversarials `(N, 3, H, W)` in [0, 1], detached.
        trace: what it cost.
    """

    checkpoints: Checkpoints
    trace: Trace

    @property
    def final(self) -> Tensor:
        """The adversarials of the last checkpoint."""
        return self.checkpoints[max(self.checkpoints)]


class Best:
    """The best point so far of each frame at each checkpoint, over all runs.

    Args:
        frames: `(N, 3, H, W)`; what is kept where no point has a value that compares.
        checkpoints: numbers of steps.
    """

    def __init__(self, frames: Tensor, checkpoints: Sequence[int]) -> None:
        nothing = torch.full((len(frames),), -math.inf, dtype=frames.dtype, device=frames.device)
        self.points = {steps: frames.detach().clone() for steps in checkpoints}
        self.values = {steps: nothing.clone() for steps in checkpoints}

    def offer(self, steps: int, points: Tensor, values: Tensor) -> None:
        """Takes the points that are better than those kept for `steps`."""
        better = values > self.values[steps]
        self.points[steps][better] = points[better]
        self.values[steps][better] = values[better].to(self.values[steps].dtype)

    def attacked(
        self, gradient_calls: Sequence[int], forward_calls: Sequence[int], zero: Tensor
    ) -> Attacked:
        """The result, with the counters that the attack kept."""
        values = {steps: tuple(kept.tolist()) for steps, kept in self.values.items()}
        trace = Trace(tuple(gradient_calls), tuple(forward_calls), tuple(zero.tolist()), values)
        return Attacked(dict(self.points), trace)
