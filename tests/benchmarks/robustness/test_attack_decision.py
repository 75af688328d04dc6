"""The decision in torch against the runtime's, and the adaptive objective against that decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.acceptance import (
    ENOUGH,
    acceptance_margin,
    targeted_acceptance_margin,
)
from blurvote.benchmarks.robustness.attacks.decision import accepted_as, accepted_wrong, decide
from blurvote.runtime import Defense
from blurvote.runtime.decision import Ballot, decide_majority, decide_mean
from blurvote.runtime.errors import GuardError
from blurvote.runtime.vote import majority_vote

DEFENSES = [
    Defense(passes=(0,)),
    Defense(passes=(0, 1)),
    Defense(),
    Defense(passes=(0, 1, 2, 3, 4)),
    Defense(decision="single"),
    Defense(decision="mean", threshold=0.45),
    Defense(passes=(0, 1), decision="mean", threshold=0.0),
]
IDS = [f"{defense.decision}-{len(defense.passes)}" for defense in DEFENSES]


@dataclass
class Plain:
    """A twin whose frames are its logits."""

    defense: Defense

    def logits(self, frames: Tensor) -> Tensor:
        return frames

    def clean_logits(self, frames: Tensor) -> Tensor:
        return frames[:, 0]


def runtime_label(logits: np.ndarray, defense: Defense) -> int:
    """What the deployed guard decides on the logits `(V, C)` of one frame."""
    used = np.ascontiguousarray(logits[list(defense.views)])
    votes = majority_vote(used[None])
    given = tuple(int(label) for label in votes.view_labels[0])
    ballot = Ballot(used, given, int(votes.labels[0]), int(votes.counts[0]), len(given))
    if defense.threshold is not None:
        return decide_mean(ballot, defense.threshold).label
    return decide_majority(ballot).label


@pytest.mark.parametrize("defense", DEFENSES, ids=IDS)
def test_decides_as_the_runtime(defense: Defense) -> None:
    """Whole logits make many ties; NaN and infinities are strewn in.

    Not for `mean`: there, a tie is broken by the last bit of a sum.
    """
    random = np.random.default_rng(3)
    shape = (3000, len(defense.passes), 4)
    logits = random.normal(0, 2, shape).astype(np.float32)
    if defense.decision != "mean":
        logits = logits.round()
    for value in (np.nan, np.inf, -np.inf):
        logits[random.random(logits.shape) < 0.03] = value
    logits[:40, -1] = -np.inf
    expected = [runtime_label(frame, defense) for frame in logits]
    found = decide(torch.from_numpy(logits), defense)
    assert found.tolist() == expected
    assert set(expected) == {-1, 0, 1, 2, 3}
    labels = torch.from_numpy(random.integers(0, 4, len(logits)))
    wrong = [e not in (-1, t) for e, t in zip(expected, labels.tolist(), strict=True)]
    assert accepted_wrong(torch.from_numpy(logits), labels, defense).tolist() == wrong
    right = [e == t for e, t in zip(expected, labels.tolist(), strict=True)]
    assert accepted_as(torch.from_numpy(logits), labels, defense).tolist() == right


@pytest.mark.parametrize("defense", DEFENSES, ids=IDS)
@pytest.mark.parametrize("scale", [1.0, 3.0, 30.0])
def test_the_sign_of_the_margin_is_the_decision(defense: Defense, scale: float) -> None:
    draw = torch.Generator().manual_seed(5)
    logits = scale * torch.randn(2000, len(defense.passes), 5, generator=draw)
    if defense.decision == "mean":  # two sure views that differ tie in float32
        best = logits.double().softmax(dim=2).mean(dim=1).topk(2, dim=1).values
        logits = logits[best[:, 0] - best[:, 1] > 1e-5]
    labels = torch.randint(0, 5, (len(logits),), generator=draw)
    twin = Plain(defense)
    wrong = accepted_wrong(logits, labels, defense)
    assert ((acceptance_margin(twin, labels)(logits) > 0) == wrong).all()
    hit = accepted_as(logits, labels, defense)
    assert ((targeted_acceptance_margin(twin, labels)(logits) > 0) == hit).all()
    accepted = decide(logits, defense) >= 0
    assert 0 < wrong.sum() < len(wrong)
    assert hit.sum() > 0
    assert accepted.all() or hit.sum() < accepted.sum()


def test_the_margin_by_its_definition() -> None:
    """Brute force over classes and views, for three views."""
    draw = torch.Generator().manual_seed(6)
    logits = 2 * torch.randn(50, 3, 4, generator=draw, dtype=torch.float64)
    labels = torch.randint(0, 4, (50,), generator=draw)
    found = acceptance_margin(Plain(Defense()), labels)(logits)
    for frame, label, value in zip(logits.tolist(), labels.tolist(), found.tolist(), strict=True):
        best = -float("inf")
        for wrong in set(range(4)) - {label}:
            margins = sorted(
                view[wrong] - max(z for j, z in enumerate(view) if j != wrong) for view in frame
            )[::-1][:2]
            f = sum(min(m, ENOUGH) for m in margins) - (0 if margins[1] > 0 else 2 * ENOUGH)
            best = max(best, f + 0.01 * max(margins[1] - ENOUGH, 0))
        assert value == pytest.approx(best)


def test_a_narrow_acceptance_beats_one_view_won_by_far() -> None:
    """The label is 0; a plain sum of margins would prefer the second frame."""
    narrow = [[0.0, 0.01, -9], [0.0, 0.01, -9], [9.0, 0, 0]]
    lopsided = [[0.0, 50.0, -9], [0.5, 0.0, -9], [9.0, 0, 0]]
    values = acceptance_margin(Plain(Defense()), torch.tensor([0, 0]))(
        torch.tensor([narrow, lopsided])
    )
    assert values[0] > 0 > values[1]


def test_gradients_reach_the_views_that_are_needed_and_no_other() -> None:
    """Two of three views must turn to class 1; the third, hopeless one is left alone."""
    logits = torch.tensor([[[3.0, 2.0, 0.0], [2.0, 1.0, 0.0], [90.0, 0.0, 1.0]]])
    logits.requires_grad_(True)
    (gradient,) = torch.autograd.grad(
        acceptance_margin(Plain(Defense()), torch.tensor([0]))(logits).sum(), logits
    )
    assert gradient.tolist() == [[[-1, 1, 0], [-1, 1, 0], [0, 0, 0]]]


def test_the_single_view_alone_counts() -> None:
    logits = torch.zeros(1, 3, 2)
    logits[0, 1] = torch.tensor([0.0, 4.0])  # the single-blur view
    logits[0, ::2] = torch.tensor([9.0, 0.0])
    twin = Plain(Defense(decision="single"))
    value = acceptance_margin(twin, torch.tensor([0]))(logits)
    assert value.item() == pytest.approx(ENOUGH + 0.01 * (4 - ENOUGH))


def test_mean_needs_a_threshold() -> None:
    defense = Defense(decision="mean")
    with pytest.raises(GuardError, match=r"no threshold.*blurvote calibrate"):
        acceptance_margin(Plain(defense), torch.tensor([0]))
    with pytest.raises(GuardError, match="no threshold"):
        decide(torch.zeros(1, 3, 2), defense)
