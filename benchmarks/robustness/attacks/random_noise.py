"""The control: noise of the same norm that knows nothing of the model.

An attack that does no better than this has found nothing but noise (Carlini et al., *On Evaluating
Adversarial Robustness*, 2019).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import Norm, check_epsilon
from blurvote.benchmarks.robustness.attacks.gradients import (
    check_frames,
    direction,
    generators,
    random_signs,
)
from blurvote.benchmarks.robustness.attacks.result import Attacked, Trace

__all__ = ["random_noise"]


def random_noise(
    frames: Tensor, epsilon: float, seeds: Sequence[int], norm: Norm = "linf"
) -> Attacked:
    """One draw per frame: signs times epsilon, or Gaussian noise scaled to an L2 norm of epsilon.

    Clamped to [0, 1] afterwards, which shortens it where pixels are near black or white, as it
    does an attack's. The one checkpoint is 0: no step was taken, and the model was never asked.

    Args:
        frames: `(N, 3, H, W)` in [0, 1].
        epsilon: the norm, pixels in [0, 1].
        seeds: one per frame.
        norm: `"linf"` or `"l2"`.

    Raises:
        FrameError: frames or seeds of the wrong shape.
        BlurvoteError: epsilon out of range.
    """
    check_frames(frames)
    check_epsilon(epsilon, norm)
    streams = generators(seeds, frames)
    if norm == "linf":
        way = random_signs(streams, frames)
    else:
        shape = frames.shape[1:]
        drawn = torch.stack([torch.randn(shape, generator=stream) for stream in streams])
        way = direction(drawn.to(frames), "l2")
    none = (0,) * len(frames)
    noisy = (frames.detach() + epsilon * way).clamp(0, 1)
    return Attacked({0: noisy}, Trace(none, none, none, {}))
