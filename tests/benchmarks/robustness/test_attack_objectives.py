"""The objectives against closed formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks import objectives
from blurvote.runtime import Defense


class Plain:
    """A twin whose frames `(N, V, C)` are its logits."""

    def __init__(self, defense: Defense) -> None:
        self.defense = defense

    def logits(self, frames: Tensor) -> Tensor:
        return frames

    def clean_logits(self, frames: Tensor) -> Tensor:
        return frames[:, 0]


@pytest.fixture
def logits() -> Tensor:
    draw = torch.Generator().manual_seed(1)
    return 4 * torch.randn(7, 3, 5, generator=draw, dtype=torch.float64)


LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])
TARGETS = torch.tensor([1, 2, 3, 4, 0, 2, 3])
ROWS = torch.arange(7)


def test_of_the_clean_view(logits: Tensor) -> None:
    clean = Plain(Defense()).clean_logits
    z = logits[:, 0]
    shares = z.exp() / z.exp().sum(dim=1, keepdim=True)
    close = torch.testing.assert_close
    close(objectives.cross_entropy(clean, LABELS)(logits), -shares[ROWS, LABELS].log())
    close(objectives.targeted(clean, TARGETS)(logits), shares[ROWS, TARGETS].log())
    both = objectives.targeted_away(clean, LABELS, TARGETS)(logits)
    close(both, (shares[ROWS, TARGETS] / shares[ROWS, LABELS]).log())
    margin = objectives.margin(clean, LABELS)(logits)
    assert ((margin > 0) == (z.argmax(dim=1) != LABELS)).all()
    others = [
        max(row[:k] + row[k + 1 :]) - row[k] for row, k in zip(z.tolist(), LABELS, strict=True)
    ]
    close(margin, torch.tensor(others, dtype=torch.float64))


def test_of_the_mean_over_the_views(logits: Tensor) -> None:
    mean = logits.softmax(dim=2).mean(dim=1)
    twin = Plain(Defense())
    torch.testing.assert_close(objectives.mean_logits(twin)(logits).softmax(dim=1), mean)
    torch.testing.assert_close(
        objectives.mean_cross_entropy(twin, LABELS)(logits), -mean[ROWS, LABELS].log()
    )
    torch.testing.assert_close(
        objectives.targeted_mean_cross_entropy(twin, TARGETS)(logits), mean[ROWS, TARGETS].log()
    )


def test_the_decision_single_has_one_view(logits: Tensor) -> None:
    twin = Plain(Defense(decision="single"))
    expected = -logits[:, 1].log_softmax(dim=1)[ROWS, LABELS]
    torch.testing.assert_close(objectives.mean_cross_entropy(twin, LABELS)(logits), expected)


def test_sure_views_do_not_underflow() -> None:
    """In float32 the softmax of class 1 is 0 in every view; its logarithm is not -inf."""
    logits = torch.zeros(1, 3, 2)
    logits[..., 0] = 200
    logits.requires_grad_(True)
    value = objectives.mean_cross_entropy(Plain(Defense()), torch.tensor([1]))(logits)
    assert value.item() == pytest.approx(200)
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    assert gradient.sum(dim=1).tolist() == [
        [pytest.approx(1, rel=1e-4), pytest.approx(-1, rel=1e-4)]
    ]
