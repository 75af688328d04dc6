"""What an attacker maximises: one number per frame, the larger the closer to success.

Every factory returns an `Objective`: frames `(N, 3, H, W)` in [0, 1] to values `(N,)`, with
gradients. Grey-box attacks use the undefended model's `clean_logits`; transfer attacks use those of
another model's twin; adaptive attacks use all views at once (`mean_logits` here, and the exact
criterion of the decision in `acceptance`).

Cross-entropy has a known weakness: where a network is sure, the softmax rounds to exactly 0 and 1
in float32 and the gradient vanishes, which looks like robustness and is not (Carlini and Wagner,
*Towards Evaluating the Robustness of Neural Networks*, 2017). `margin` has no such region.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from blurvote.runtime.defense import Defense

__all__ = [
    "Differentiable",
    "LogitsOf",
    "Objective",
    "cross_entropy",
    "margin",
    "mean_cross_entropy",
    "mean_logits",
    "targeted",
    "targeted_away",
    "targeted_mean_cross_entropy",
]

Objective = Callable[[Tensor], Tensor]
"""Frames `(N, 3, H, W)` in [0, 1] to values `(N,)`; frame i decides value i alone."""

LogitsOf = Callable[[Tensor], Tensor]
"""Frames `(N, 3, H, W)` in [0, 1] to logits `(N, C)`."""


class Differentiable(Protocol):
    """What an attack needs of a guard: its defence, and logits with gradients."""

    @property
    def defense(self) -> Defense:
        """The defence under attack."""

    def logits(self, frames: Tensor) -> Tensor:
        """Logits `(N, V, C)` of all views of frames `(N, 3, H, W)` in [0, 1]."""

    def clean_logits(self, frames: Tensor) -> Tensor:
        """Logits `(N, C)` of the undefended model on the clean view."""


def cross_entropy(logits_of: LogitsOf, labels: Tensor) -> Objective:
    """Untargeted: the cross-entropy `logsumexp(z) - z[label]`.

    Args:
        logits_of: the model under attack.
        labels: `(N,)` int64, the true classes.
    """

    def objective(frames: Tensor) -> Tensor:
        return functional.cross_entropy(logits_of(frames), labels, reduction="none")

    return objective


def targeted(logits_of: LogitsOf, targets: Tensor) -> Objective:
    """Minus the cross-entropy to the target: largest where the model is sure of it.

    Args:
        logits_of: the model under attack.
        targets: `(N,)` int64, the classes that the frames shall be taken for.
    """

    def objective(frames: Tensor) -> Tensor:
        return -functional.cross_entropy(logits_of(frames), targets, reduction="none")

    return objective


def targeted_away(logits_of: LogitsOf, labels: Tensor, targets: Tensor) -> Objective:
    """Toward the target and away from the truth: cross-entropy to the truth minus to the target.

    The normalising terms cancel, which leaves `z[target] - z[label]` (Kolter and Madry,
    *Adversarial Robustness - Theory and Practice*, 2018, chapter 1). Its gradient never vanishes
    with confidence, but the largest value does not mean that the target is the largest logit.

    Args:
        logits_of: the model under attack.
        labels, targets: `(N,)` int64.
    """

    def objective(frames: Tensor) -> Tensor:
        logits = logits_of(frames)
        return _at(logits, targets) - _at(logits, labels)

    return objective


def margin(logits_of: LogitsOf, labels: Tensor) -> Objective:
    """Untargeted: the largest wrong logit minus the true one; above 0 where the model is wrong.

    Carlini and Wagner (2017), loss f6 without its clip.

    Args:
        logits_of: the model under attack.
        labels: `(N,)` int64, the true classes.
    """

    def objective(frames: Tensor) -> Tensor:
        logits = logits_of(frames)
        wrong = logits.scatter(1, labels[:, None], -math.inf)
        return wrong.max(dim=1).values - _at(logits, labels)

    return objective


def mean_logits(twin: Differentiable) -> LogitsOf:
    """Through all views that decide: the logarithm of their mean softmax, `(N, C)`.

    Its softmax is the mean softmax itself, so it serves wherever logits do. Computed as
    `logsumexp_v(log_softmax(z_v)) - log V`, which does not underflow as the mean itself would.
    """

    def logits_of(frames: Tensor) -> Tensor:
        views = twin.defense.views
        chosen = twin.logits(frames)[:, views.start : views.stop]
        return chosen.log_softmax(dim=-1).logsumexp(dim=1) - math.log(len(views))

    return logits_of


def mean_cross_entropy(twin: Differentiable, labels: Tensor) -> Objective:
    """Adaptive, untargeted: cross-entropy of the views' mean softmax.

    Expectation over transformation (Athalye et al., *Synthesizing Robust Adversarial Examples*,
    2018) with the defence's own views as the transformations. It drives every view from the truth,
    but not the views to one and the same wrong class: see `acceptance.acceptance_margin` for that.

    Args:
        twin: the guard's twin.
        labels: `(N,)` int64, the true classes.
    """
    return cross_entropy(mean_logits(twin), labels)


def targeted_mean_cross_entropy(twin: Differentiable, targets: Tensor) -> Objective:
    """Adaptive, targeted: the logarithm of the target's mean softmax over the views.

    Args:
        twin: the guard's twin.
        targets: `(N,)` int64, the classes that the frames shall be taken for.
    """
    return targeted(mean_logits(twin), targets)


def _at(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, torch.as_tensor(classes)[:, None])[:, 0]
