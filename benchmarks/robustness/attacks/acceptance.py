"""Adaptive objectives that are above 0 exactly where the defence accepts the wrong label.

A guard is fooled by a frame that is classified wrongly **and accepted**. For the decision
`majority` let `m_v(t) = z_v[t] - max_{j != t} z_v[j]`, the margin by which view `v` votes for class
`t`. The frame is accepted as `t` if and only if more than half of these margins are above 0, that
is, if the k-th largest over the views is, with `k = V // 2 + 1` (exact ties aside). `single` is the
same with one view. For `mean` there are two conditions: the mean softmax of `t` is the largest, and
it reaches the threshold; both are taken as differences of logarithms.

For a class `t` with conditions `m_1 >= ... >= m_k` the objective is

    f(t) = sum_i min(m_i, a)  -  k a [not accepted]  +  0.01 max(m_k - a, 0)

with a small `a > 0`, and the objective of the frame is the largest `f(t)` of a wrong class `t`.

- The sum sends gradients to every view that is needed and not yet won by `a`, and none to views
  that are won or not needed. The k-th margin alone would move one view at a time.
- The bracket has no gradient. It makes the sign exact: accepted frames lie in (0, k a] and above,
  all others at or below -a. Without it a frame with one view won by far and another one lost would
  pass for better than one that is narrowly accepted, and "best so far" would keep the wrong one.
- The last term goes on widening the weakest view after success. It spares a margin for the
  rounding to 8 bits and for what the deployed guard computes differently from its twin.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.decision import threshold_of
from blurvote.benchmarks.robustness.attacks.objectives import (
    Differentiable,
    Objective,
    mean_logits,
)

__all__ = ["ENOUGH", "acceptance_margin", "targeted_acceptance_margin"]

ENOUGH = 1.0
"""Margin in logits (or in logarithms of the mean softmax) at which a condition counts as won."""

_WIDEN = 0.01


def acceptance_margin(twin: Differentiable, labels: Tensor, enough: float = ENOUGH) -> Objective:
    """Untargeted: above 0 exactly where the defence accepts some wrong class.

    Args:
        twin: the guard's twin.
        labels: `(N,)` int64, the true classes.
        enough: `a` of the module's formula, above 0.

    Raises:
        GuardError: the decision is `mean`, and no threshold was calibrated.
    """
    per_class = _per_class(twin, enough)

    def objective(frames: Tensor) -> Tensor:
        return per_class(frames).scatter(1, labels[:, None], -math.inf).max(dim=1).values

    return objective


def targeted_acceptance_margin(
    twin: Differentiable, targets: Tensor, enough: float = ENOUGH
) -> Objective:
    """Targeted: above 0 exactly where the defence accepts the target.

    Args:
        twin: the guard's twin.
        targets: `(N,)` int64, the classes that the frames shall be accepted as.
        enough: `a` of the module's formula, above 0.

    Raises:
        GuardError: the decision is `mean`, and no threshold was calibrated.
    """
    per_class = _per_class(twin, enough)

    def objective(frames: Tensor) -> Tensor:
        return per_class(frames).gather(1, targets[:, None])[:, 0]

    return objective


def _per_class(twin: Differentiable, enough: float) -> Objective:
    """Frames to `(N, C)`: f(t) of every class."""
    views = twin.defense.views
    needed = len(views) // 2 + 1
    averaged = mean_logits(twin)

    def of_votes(frames: Tensor) -> Tensor:
        margins = _margins(twin.logits(frames)[:, views.start : views.stop])
        return _ordered(margins.topk(needed, dim=1).values, enough)

    if twin.defense.decision != "mean":
        return of_votes
    # A threshold of 0 accepts everything; its logarithm would make infinite, useless margins.
    least = math.log(max(threshold_of(twin.defense), 1e-30))

    def of_mean(frames: Tensor) -> Tensor:
        shares = averaged(frames)
        return _ordered(torch.stack([_margins(shares), shares - least], dim=1), enough)

    return of_mean


def _margins(logits: Tensor) -> Tensor:
    """Each class's logit minus the largest of the others: `(..., C)` to `(..., C)`."""
    best, where = logits.topk(2, dim=-1)
    classes = torch.arange(logits.shape[-1], device=logits.device)
    return logits - torch.where(classes == where[..., :1], best[..., 1:], best[..., :1])


def _ordered(conditions: Tensor, enough: float) -> Tensor:
    """f(t) from the conditions `(N, k, C)` that a class has to meet."""
    weakest = conditions.amin(dim=1)
    won = conditions.clamp(max=enough).sum(dim=1)
    short = conditions.shape[1] * enough * (weakest <= 0)
    return won - short + _WIDEN * (weakest - enough).clamp(min=0)
