"""What is explained: one number per view, and one for the vote.

**A view** is explained by the log-odds of a class, `log p / (1 - p)` of its softmax, which is
`z_t - logsumexp(z_j, j != t)` in logits `z`. One logit says nothing without the others: softmax
does not change when a constant is added to all, so a logit's map also shows what moves all classes
alike. The log-probability has no such flaw, but flattens where a view is sure, and its gradient
drowns in rounding; the log-odds keep growing. The plain logit can be chosen, as other tools
explain it.

**The vote** is a count, and the gradient of a count is zero. What is explained in its place is the
mean, over the views that voted for the class, of their log-odds of it: the evidence that the votes
which made the verdict were cast on. Which views those are is fixed at the frame itself. Where none
voted for the class (one that was chosen by hand), all views that decide count. The decision `mean`
averages over all views, and so does its explanation. A mean is linear, and the methods are linear
in what they explain: the vote's signed map is exactly the mean of its views' signed maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from blurvote.benchmarks.robustness.twin import Twin
from blurvote.runtime.defense import Defense

if TYPE_CHECKING:
    import torch

__all__ = ["Quantity", "ViewScore", "counted_views", "score", "split"]

Quantity = Literal["log-odds", "logit"]


def score(logits: torch.Tensor, target: int, quantity: Quantity) -> torch.Tensor:
    """The explained number `(B,)` of logits `(B, C)`, C at least 2, for class `target`."""
    import torch

    if quantity == "logit":
        return logits[:, target]
    others = torch.cat((logits[:, :target], logits[:, target + 1 :]), dim=1)
    return logits[:, target] - others.logsumexp(dim=1)


@dataclass(frozen=True, eq=False)
class ViewScore:
    """The explained number of one view, as a function of frames.

    Attributes:
        twin: a twin of one view, see `split`.
        target: the explained class.
        quantity: see the module's docstring.
        done: told how many frames were just evaluated; for progress.
    """

    twin: Twin
    target: int
    quantity: Quantity = "log-odds"
    done: Callable[[int], None] = lambda frames: None

    def __call__(self, frames: torch.Tensor) -> torch.Tensor:
        """`(B,)` scores of frames `(B, 3, H, W)` float32 RGB in [0, 1]."""
        scores = score(self.twin.logits(frames)[:, 0], self.target, self.quantity)
        self.done(len(frames))
        return scores


def split(twin: Twin) -> tuple[Twin, ...]:
    """A twin of each view alone, so that the others need not be computed for its gradient."""
    return tuple(
        Twin(
            twin.path,
            replace(twin.defense, passes=(passes,), decision="majority", threshold=None),
            twin.backbone,
            twin.labels,
            twin.device,
        )
        for passes in twin.defense.passes
    )


def counted_views(defense: Defense, view_labels: Sequence[int], target: int) -> tuple[int, ...]:
    """The views whose mean stands for the vote.

    Args:
        defense: says which views decide.
        view_labels: the label of each of all V views.
        target: the explained class.

    Returns:
        Indices into `defense.passes`, at least one.
    """
    deciding = tuple(defense.views)
    if defense.decision == "mean":
        return deciding
    return tuple(view for view in deciding if view_labels[view] == target) or deciding
