"""Projected gradient ascent in an L-inf or L2 ball."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import Budget
from blurvote.benchmarks.robustness.attacks.gradients import (
    check_frames,
    direction,
    evaluate,
    generators,
    project,
    random_point,
)
from blurvote.benchmarks.robustness.attacks.objectives import Objective
from blurvote.benchmarks.robustness.attacks.result import Attacked, Best
from blurvote.runtime.errors import FrameError

__all__ = ["pgd"]


def pgd(
    objective: Objective,
    frames: Tensor,
    budget: Budget,
    seeds: Sequence[int],
    initial: Tensor | None = None,
) -> Attacked:
    """PGD (Madry et al., *Towards Deep Learning Models Resistant to Adversarial Attacks*, 2018).

    At each checkpoint `c` the adversarial is the point of largest objective among all that any run
    had come to by step `c`, the start included. Where the schedule of `Budget.step_sizes` shortens
    the steps, a run goes on from its own best point.

    Args:
        objective: what is maximised.
        frames: `(N, 3, H, W)` in [0, 1].
        budget: radius, norm, steps and restarts.
        seeds: one per frame; all of a frame's random draws come from its own seed.
        initial: `(N, 3, H, W)`, where the first run starts in place of `budget.start`, projected
            into the ball. Started from another attack's adversarials, the result is never worse
            than theirs by this objective. What they cost is not counted here.

    Raises:
        FrameError: frames, seeds or initial of the wrong shape.
    """
    check_frames(frames)
    streams = generators(seeds, frames)
    if initial is not None and initial.shape != frames.shape:
        raise FrameError(
            f"initial is {tuple(initial.shape)}; expected the frames' {tuple(frames.shape)}"
        )
    frames = frames.detach()
    best = Best(frames, budget.checkpoints)
    zero = torch.zeros(len(frames), dtype=torch.int64, device=frames.device)
    gradients = 0
    for restart in range(budget.restarts):
        if restart == 0 and initial is not None:
            start = project(initial.detach(), frames, budget.epsilon, budget.norm)
        elif budget.start == "clean":
            start = frames
        else:
            start = random_point(streams, frames, budget.epsilon, budget.norm)
        found, taken = _run(objective, frames, start, budget, best)
        zero += found
        gradients += taken
        if _all_won(best.values[budget.steps], budget):
            break
    return best.attacked((gradients,) * len(frames), (restart + 1,) * len(frames), zero)


def _all_won(values: Tensor, budget: Budget) -> bool:
    return budget.enough is not None and bool((values >= budget.enough).all())


def _run(
    objective: Objective, frames: Tensor, start: Tensor, budget: Budget, best: Best
) -> tuple[Tensor, int]:
    """One run; returns how many of each frame's gradients were zero, `(N,)`, and the steps."""
    sizes = budget.step_sizes
    point = start
    kept, kept_gradient = start.clone(), torch.zeros_like(start)
    kept_values = torch.full((len(frames),), -math.inf, dtype=frames.dtype, device=frames.device)
    zero = torch.zeros(len(frames), dtype=torch.int64, device=frames.device)
    for step, size in enumerate(sizes):
        found = evaluate(objective, point)
        zero += found.zero
        better = (found.values > kept_values) | (step == 0)
        kept[better] = point[better]
        kept_gradient[better] = found.gradient[better]
        kept_values[better] = found.values[better].to(kept_values.dtype)
        if step in best.points:
            best.offer(step, kept, kept_values)
        if _all_won(kept_values, budget):
            for later in (checkpoint for checkpoint in best.points if checkpoint >= step):
                best.offer(later, kept, kept_values)
            return zero, step + 1
        shortened = step > 0 and size != sizes[step - 1]
        origin, gradient = (kept, kept_gradient) if shortened else (point, found.gradient)
        moved = origin + size * direction(gradient, budget.norm)
        point = project(moved, frames, budget.epsilon, budget.norm)
    with torch.no_grad():
        values = objective(point)
    better = values > kept_values
    kept[better] = point[better]
    kept_values[better] = values[better].to(kept_values.dtype)
    best.offer(budget.steps, kept, kept_values)
    return zero, budget.steps
