"""The adaptive attack is at least as strong as the grey-box one, and broken ones are found out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from blurvote.benchmarks.robustness.attacks.acceptance import acceptance_margin
from blurvote.benchmarks.robustness.attacks.budget import Budget
from blurvote.benchmarks.robustness.attacks.decision import accepted_wrong, decide
from blurvote.benchmarks.robustness.attacks.objectives import (
    Objective,
    cross_entropy,
    mean_cross_entropy,
)
from blurvote.benchmarks.robustness.attacks.pgd import pgd
from blurvote.runtime import Defense

CLASSES, SIDE, COUNT = 4, 12, 60
EPSILON = 6 / 255
BUDGET = Budget(EPSILON, checkpoints=(20,))
SEEDS = list(range(COUNT))


class SmallTwin:
    """Views blurred 0, 1 and 2 times by a 3x3 binomial, and a small network."""

    def __init__(self, net: nn.Module, defense: Defense) -> None:
        self.net, self.defense = net, defense
        taps = torch.tensor([0.25, 0.5, 0.25])
        self.kernel = torch.outer(taps, taps).expand(3, 1, 3, 3)

    def logits(self, frames: Tensor) -> Tensor:
        views = [frames]
        for _ in range(2):
            padded = functional.pad(views[-1], (1, 1, 1, 1), mode="reflect")
            views.append(functional.conv2d(padded, self.kernel, groups=3))
        return self.net(torch.stack(views, dim=1).flatten(0, 1)).unflatten(0, (-1, 3))

    def clean_logits(self, frames: Tensor) -> Tensor:
        return self.net(frames)


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Each class has a coarse and a fine pattern, under noise."""
    patterns = torch.Generator().manual_seed(0)
    coarse = torch.randn(CLASSES, 3, 4, 4, generator=patterns)
    fine = torch.randn(CLASSES, 3, SIDE, SIDE, generator=patterns)
    shapes = functional.interpolate(coarse, SIDE, mode="bilinear") + 0.7 * fine
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=draw)
    noise = torch.randn(count, 3, SIDE, SIDE, generator=draw)
    return (0.5 + 0.04 * shapes[labels] + 0.08 * noise).clamp(0, 1), labels


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def net(one_thread: None) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(12 * 36, CLASSES),
    )  # fmt: skip
    frames, labels = pictures(600, 1)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(80):
        optimizer.zero_grad()
        functional.cross_entropy(model(frames - 0.5), labels).backward()
        optimizer.step()
    return nn.Sequential(_Centre(), model).eval().requires_grad_(False)


class _Centre(nn.Module):
    def forward(self, frames: Tensor) -> Tensor:
        return frames - 0.5


def successes(twin: SmallTwin, objective: Objective, frames: Tensor, labels: Tensor) -> int:
    adversarial = pgd(objective, frames, BUDGET, SEEDS).final
    return int(accepted_wrong(twin.logits(adversarial), labels, twin.defense).sum())


DEFENSES = [
    Defense(),
    Defense(decision="single"),
    Defense(decision="mean", threshold=0.6),
]


@pytest.mark.parametrize("defense", DEFENSES, ids=lambda defense: defense.decision)
def test_adaptive_is_at_least_as_strong_as_grey_box(net: nn.Module, defense: Defense) -> None:
    twin = SmallTwin(net, defense)
    frames, labels = pictures(COUNT, 2)
    decided = decide(twin.logits(frames), defense)
    assert (decided == labels).float().mean() > 0.6  # the guard is worth attacking
    grey = successes(twin, cross_entropy(twin.clean_logits, labels), frames, labels)
    margin = successes(twin, acceptance_margin(twin, labels), frames, labels)
    mean = successes(twin, mean_cross_entropy(twin, labels), frames, labels)
    assert 0 < grey < COUNT
    assert margin >= grey
    assert margin >= mean
    assert margin > grey  # here, knowing the defence pays

    # The inequality can fail: with its sign turned round, the same attack falls behind.
    def broken(values: Tensor) -> Tensor:
        return -acceptance_margin(twin, labels)(values)

    assert successes(twin, broken, frames, labels) < grey


def test_started_from_the_grey_box_attack_it_keeps_every_success(net: nn.Module) -> None:
    """Not on the whole only: frame by frame, whatever the budget."""
    twin = SmallTwin(net, Defense())
    frames, labels = pictures(COUNT, 2)
    grey = pgd(cross_entropy(twin.clean_logits, labels), frames, BUDGET, SEEDS).final
    fooled = accepted_wrong(twin.logits(grey), labels, twin.defense)
    brief = Budget(EPSILON, checkpoints=(2,))
    adaptive = pgd(acceptance_margin(twin, labels), frames, brief, SEEDS, initial=grey).final
    also = accepted_wrong(twin.logits(adaptive), labels, twin.defense)
    assert also[fooled].all()
    assert fooled.any()
