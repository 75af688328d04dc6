"""One step along the gradient: its sign, or the gradient scaled by its largest absolute entry."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import check_epsilon
from blurvote.benchmarks.robustness.attacks.gradients import check_frames, direction, evaluate
from blurvote.benchmarks.robustness.attacks.objectives import Objective
from blurvote.benchmarks.robustness.attacks.result import Attacked, Trace
from blurvote.runtime.errors import BlurvoteError

__all__ = ["Step", "fgsm"]

Step = Literal["sign", "scaled"]


def fgsm(objective: Objective, frames: Tensor, epsilon: float, step: Step = "sign") -> Attacked:
    """`clamp(x + epsilon d)`, the adversarial of its one checkpoint, 1.

    With `"sign"`, `d` is the sign of the gradient: the fast gradient sign method (Goodfellow et
    al., *Explaining and Harnessing Adversarial Examples*, 2015). With `"scaled"`, `d` is the
    gradient divided by its largest absolute entry: only that entry moves by epsilon, most others by
    less than a grey level, so that little of it may outlive the rounding to 8 bits.

    Args:
        objective: what is maximised.
        frames: `(N, 3, H, W)` in [0, 1].
        epsilon: L-inf radius, pixels in [0, 1].
        step: `"sign"` or `"scaled"`.

    Raises:
        FrameError: frames of the wrong shape.
        BlurvoteError: epsilon or step out of range.
    """
    check_frames(frames)
    check_epsilon(epsilon, "linf")
    if step not in get_args(Step):
        raise BlurvoteError(f"step is {step!r}; expected 'sign' or 'scaled'")
    found = evaluate(objective, frames)
    if step == "sign":
        way = direction(found.gradient, "linf")
    else:
        largest = found.gradient.flatten(1).abs().amax(dim=1)[:, None, None, None]
        way = found.gradient / largest.clamp(min=torch.finfo(frames.dtype).tiny)
    adversarial = (frames + epsilon * way).clamp(0, 1).detach()
    with torch.no_grad():
        values = objective(adversarial)
    once = (1,) * len(frames)
    zero = tuple(int(flag) for flag in found.zero.tolist())
    return Attacked({1: adversarial}, Trace(once, once, zero, {1: tuple(values.tolist())}))
