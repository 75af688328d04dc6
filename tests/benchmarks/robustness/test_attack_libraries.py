"""FGSM and PGD against foolbox, captum and ART on the same small network."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from blurvote.benchmarks.robustness.attacks.budget import Budget, Norm
from blurvote.benchmarks.robustness.attacks.fgsm import fgsm
from blurvote.benchmarks.robustness.attacks.objectives import cross_entropy
from blurvote.benchmarks.robustness.attacks.pgd import pgd

with warnings.catch_warnings():  # the libraries' own deprecations are not ours to fix
    warnings.simplefilter("ignore")
    foolbox = pytest.importorskip("foolbox")
    captum = pytest.importorskip("captum.robust")
    evasion = pytest.importorskip("art.attacks.evasion")
    classification = pytest.importorskip("art.estimators.classification")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

CLASSES = 4
SHAPE = (3, 11, 14)
EPSILON = 8 / 255


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Softplus(), nn.Conv2d(8, 8, 3, stride=2), nn.Softplus(),
        nn.Flatten(), nn.Linear(8 * 4 * 5, CLASSES),
    )  # fmt: skip
    return model.eval()


@pytest.fixture(scope="module")
def frames() -> Tensor:
    return torch.rand(6, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small nets, many steps: threads that wait for each other cost more than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
SEEDS = list(range(6))


def art_classifier(net: nn.Module) -> Any:
    return classification.PyTorchClassifier(
        net, nn.CrossEntropyLoss(), SHAPE, CLASSES, clip_values=(0.0, 1.0), device_type="cpu"
    )


class Last:
    """An objective that remembers where it was asked last: the end of a run, best or not."""

    def __init__(self, net: nn.Module) -> None:
        self._objective = cross_entropy(net, LABELS)
        self.frames = torch.empty(0)

    def __call__(self, frames: Tensor) -> Tensor:
        self.frames = frames.detach()
        return self._objective(frames)


def test_fgsm_is_theirs(net: nn.Module, frames: Tensor) -> None:
    ours = fgsm(cross_entropy(net, LABELS), frames, EPSILON).final
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.FGSM(random_start=False)
    theirs = attack.run(model, frames, foolbox.criteria.Misclassification(LABELS), epsilon=EPSILON)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)

    other = captum.FGSM(net, nn.CrossEntropyLoss(reduction="none"), 0, 1)
    other.zero_thresh = 0  # captum leaves out gradients below 1e-6
    found = other.perturb(frames.clone(), EPSILON, LABELS)
    torch.testing.assert_close(ours, found.detach(), rtol=0, atol=1e-6)

    method = evasion.FastGradientMethod(art_classifier(net), eps=EPSILON)
    found = method.generate(frames.numpy(), LABELS.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(found), rtol=0, atol=1e-6)


def test_fgsm_scaled_is_foolbox_in_the_other_norm(net: nn.Module, frames: Tensor) -> None:
    """By definition: along the gradient, and the longest entry, unclamped, moves by epsilon."""
    middle = 0.3 + 0.4 * frames
    moved = fgsm(cross_entropy(net, LABELS), middle, EPSILON, "scaled").final - middle
    largest = moved.abs().amax(dim=(1, 2, 3))
    torch.testing.assert_close(largest, torch.full((6,), EPSILON))
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.FGM(random_start=False)
    theirs = attack.run(model, middle, foolbox.criteria.Misclassification(LABELS), epsilon=0.1)
    along = functional.cosine_similarity(moved.flatten(1), (theirs - middle).flatten(1))
    torch.testing.assert_close(along, torch.ones(6))


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", EPSILON), ("l2", 0.7)])
def test_pgd_is_foolbox(net: nn.Module, frames: Tensor, norm: Norm, epsilon: float) -> None:
    end = Last(net)
    budget = Budget(epsilon, norm, checkpoints=(15,), start="clean", step_size=epsilon / 5)
    pgd(end, frames, budget, SEEDS)
    kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[norm]
    attack = kind(abs_stepsize=epsilon / 5, steps=15, random_start=False)
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    theirs = attack.run(model, frames, foolbox.criteria.Misclassification(LABELS), epsilon=epsilon)
    torch.testing.assert_close(end.frames, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("norm", "epsilon"), [("linf", EPSILON), ("l2", 0.7)])
def test_pgd_is_art(net: nn.Module, frames: Tensor, norm: Norm, epsilon: float) -> None:
    """ART clamps to [0, 1] before it projects; these frames stay clear of both ends."""
    frames = 0.3 + 0.4 * frames
    end = Last(net)
    budget = Budget(epsilon, norm, checkpoints=(15,), start="clean", step_size=epsilon / 5)
    pgd(end, frames, budget, SEEDS)
    attack = evasion.ProjectedGradientDescent(
        art_classifier(net), norm=np.inf if norm == "linf" else 2, eps=epsilon,
        eps_step=epsilon / 5, max_iter=15, num_random_init=0, verbose=False,
    )  # fmt: skip
    theirs = torch.from_numpy(attack.generate(frames.numpy(), LABELS.numpy()))
    torch.testing.assert_close(end.frames, theirs, rtol=0, atol=1e-5)


def test_pgd_is_captum(net: nn.Module, frames: Tensor) -> None:
    end = Last(net)
    budget = Budget(EPSILON, checkpoints=(15,), start="clean", step_size=EPSILON / 5)
    pgd(end, frames, budget, SEEDS)
    attack = captum.PGD(net, nn.CrossEntropyLoss(reduction="none"), 0, 1)
    attack.fgsm.zero_thresh = 0
    theirs = attack.perturb(frames.clone(), EPSILON, EPSILON / 5, 15, LABELS)
    torch.testing.assert_close(end.frames, theirs, rtol=0, atol=1e-5)


def test_with_a_random_start_no_weaker_than_foolbox(net: nn.Module, frames: Tensor) -> None:
    """Same budget, own draws: the mean objective is within 1 % of theirs, or above it."""
    objective = cross_entropy(net, LABELS)
    ours = pgd(objective, frames, Budget(EPSILON, checkpoints=(40,)), SEEDS).final
    model = foolbox.PyTorchModel(net, bounds=(0, 1), device="cpu")
    torch.manual_seed(0)
    theirs = foolbox.attacks.LinfPGD(rel_stepsize=2.5 / 40, steps=40).run(
        model, frames, foolbox.criteria.Misclassification(LABELS), epsilon=EPSILON
    )
    clean = objective(frames).mean()
    gained, found = objective(ours).mean() - clean, objective(theirs).mean() - clean
    assert found > 0
    assert gained > 0.99 * found
