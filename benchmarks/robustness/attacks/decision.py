"""The guard's decision on the twin's logits, in torch: what an attack has to turn.

Written to answer exactly as `blurvote.runtime.vote` and `blurvote.runtime.decision` do, ties and
non-finite logits included; the tests compare them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import GuardError
from blurvote.runtime.vote import REJECTED

__all__ = ["accepted_as", "accepted_wrong", "decide", "threshold_of"]


def decide(logits: Tensor, defense: Defense) -> Tensor:
    """The label that the defence gives each frame, or -1 where it rejects.

    Args:
        logits: `(N, V, C)`, of all views of `defense.passes`.
        defense: names the decision and the views that take part in it.

    Returns:
        `(N,)` int64.

    Raises:
        GuardError: the decision is `mean`, and no threshold was calibrated.
    """
    chosen = logits.detach()[:, defense.views.start : defense.views.stop]
    # A view with NaN, or with nothing but -inf, casts no vote but still counts as a view.
    valid = ~chosen.isnan().any(dim=-1) & (chosen.amax(dim=-1) > -torch.inf)
    if defense.decision == "mean":
        return _mean(chosen, valid, threshold_of(defense))
    votes = functional.one_hot(chosen.argmax(dim=-1), chosen.shape[-1]) * valid[..., None]
    count, label = votes.sum(dim=1).max(dim=1)
    return torch.where(2 * count > chosen.shape[1], label, REJECTED)


def accepted_wrong(logits: Tensor, labels: Tensor, defense: Defense) -> Tensor:
    """Whether the defence would accept each frame under a wrong label: `(N,)` bool.

    Args:
        logits: `(N, V, C)`, of all views of `defense.passes`.
        labels: `(N,)` int64, the true classes.
        defense: names the decision.

    Raises:
        GuardError: as `decide`.
    """
    decided = decide(logits, defense)
    return (decided != REJECTED) & (decided != labels)


def accepted_as(logits: Tensor, targets: Tensor, defense: Defense) -> Tensor:
    """Whether the defence would accept each frame as its target: `(N,)` bool.

    Args:
        logits: `(N, V, C)`, of all views of `defense.passes`.
        targets: `(N,)` int64.
        defense: names the decision.

    Raises:
        GuardError: as `decide`.
    """
    return decide(logits, defense) == targets


def threshold_of(defense: Defense) -> float:
    """The smallest mean softmax that the decision `mean` accepts.

    Raises:
        GuardError: none was calibrated.
    """
    if defense.threshold is None:
        raise GuardError(
            "the defence decides by 'mean' but has no threshold, so nothing says when an attack "
            "succeeds; fit one with blurvote calibrate GUARD IMAGES --coverage 0.9"
        )
    return defense.threshold


def _mean(logits: Tensor, valid: Tensor, threshold: float) -> Tensor:
    largest = logits.amax(dim=-1, keepdim=True)
    # Logits of +inf share the whole mass, which is the limit of the formula.
    weights = torch.where(logits == largest, 0, logits - largest).exp()
    shares = weights / weights.sum(dim=-1, keepdim=True)
    shares = torch.where(valid[..., None], shares, 0)
    voters = valid.sum(dim=1)
    mean = shares.sum(dim=1) / voters.clamp(min=1)[:, None]
    confidence, label = mean.max(dim=1)
    return torch.where((voters > 0) & (confidence >= threshold), label, REJECTED)
