"""Gradient ascent by SGD on a bounded perturbation.

The attack of Kolter and Madry, *Adversarial Robustness - Theory and Practice* (2018), chapter 1:
the perturbation starts at 0 and is moved by its plain gradient, in units of pixels in [0, 1], and
clamped after each step. Epsilon 2/255, 30 steps, learning rate 0.1. Its steps are as long as the
gradient is, so a sure network first moves hardly at all: a weak attack, kept for comparison.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import check_checkpoints, check_epsilon
from blurvote.benchmarks.robustness.attacks.gradients import check_frames, evaluate
from blurvote.benchmarks.robustness.attacks.objectives import Objective
from blurvote.benchmarks.robustness.attacks.result import Attacked, Best
from blurvote.runtime.errors import BlurvoteError

__all__ = ["EPSILON", "LEARNING_RATE", "STEPS", "ascent"]

EPSILON = 2 / 255
STEPS = 30
LEARNING_RATE = 0.1


def ascent(
    objective: Objective,
    frames: Tensor,
    epsilon: float = EPSILON,
    learning_rate: float = LEARNING_RATE,
    checkpoints: tuple[int, ...] = (STEPS,),
) -> Attacked:
    """Stochastic gradient ascent without momentum, from the frame itself; nothing is random.

    Untargeted with `objectives.cross_entropy`; targeted with `objectives.targeted_away`, as the
    tutorial does (it maximises the cross-entropy to the truth minus that to the target), or with
    `objectives.targeted` for the cross-entropy to the target alone.

    Two things differ from the tutorial's listing. The perturbed frame is kept in [0, 1] after each
    step too: what lies outside could not be an image. And the best point so far is kept, not the
    last. The step size does not depend on the number of steps, so a run seen at 10 steps is a run
    of 10 steps.

    Args:
        objective: what is maximised.
        frames: `(N, 3, H, W)` in [0, 1].
        epsilon: L-inf radius, pixels in [0, 1].
        learning_rate: pixels in [0, 1] per unit of the gradient.
        checkpoints: numbers of steps, increasing; the last ends the run.

    Raises:
        FrameError: frames of the wrong shape.
        BlurvoteError: epsilon, learning rate or checkpoints out of range.
    """
    check_frames(frames)
    check_epsilon(epsilon, "linf")
    check_checkpoints(checkpoints)
    if not 0 < learning_rate < math.inf:
        raise BlurvoteError(f"learning_rate is {learning_rate!r}; expected a number above 0")
    frames = frames.detach()
    change = torch.zeros_like(frames, requires_grad=True)
    optimizer = torch.optim.SGD([change], lr=learning_rate, maximize=True)
    kept, zero = Best(frames, checkpoints), torch.zeros(len(frames), dtype=torch.int64)
    run = Best(frames, (0,))
    steps = checkpoints[-1]
    for step in range(steps):
        points = (frames + change).detach().clamp(0, 1)
        found = evaluate(objective, points)
        run.offer(0, points, found.values)
        if step in kept.points:
            kept.offer(step, run.points[0], run.values[0])
        zero += found.zero.cpu()
        change.grad = found.gradient
        optimizer.step()
        with torch.no_grad():
            change.clamp_(-epsilon, epsilon)
            change.copy_((frames + change).clamp(0, 1) - frames)
    points = (frames + change).detach().clamp(0, 1)
    with torch.no_grad():
        run.offer(0, points, objective(points))
    kept.offer(steps, run.points[0], run.values[0])
    return kept.attacked((steps,) * len(frames), (1,) * len(frames), zero)
