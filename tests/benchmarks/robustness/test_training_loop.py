"""The training loop: resumed as if never stopped, gradients summed as defined, nonsense refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blurvote.benchmarks.robustness.training.catalogue import dataset_kind, net_kind  # noqa: E402
from blurvote.benchmarks.robustness.training.gradient_sum import GradientSum  # noqa: E402
from blurvote.benchmarks.robustness.training.loop import Recipe, Trainer  # noqa: E402
from blurvote.benchmarks.robustness.training.nets import build_net  # noqa: E402
from blurvote.benchmarks.robustness.training.pictures import Data, Pictures, split  # noqa: E402
from blurvote.runtime import ExportError  # noqa: E402

MNIST = dataset_kind("mnist")


def bars(count: int, seed: int = 0) -> Pictures:
    """Each class a bright bar at its own height, on noise; (count, 1, 28, 28)."""
    generator = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    pixels = generator.integers(0, 90, (count, 1, 28, 28), dtype=np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[0, 2 + 2 * label : 5 + 2 * label] += 160
    return Pictures(pixels, labels, np.arange(count))


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Small nets are no quicker on more, and sums come in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def trainer(net: Any, recipe: Recipe, **options: Any) -> Trainer:
    train, test = split(bars(120))
    return Trainer(net, Data(train, test, ""), recipe, lambda p: p, lambda p, g: p, **options)


@pytest.mark.parametrize("net", ["mlp", "resnet"])
@pytest.mark.parametrize("optimiser", ["adam", "sgd"])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(net: str, optimiser: str) -> None:
    recipe = Recipe(3, 50, optimiser, 0.01, seed=4)
    samples = bars(4, seed=9)

    def fresh() -> tuple[Any, GradientSum, Trainer]:
        module = build_net(net_kind(net), MNIST, 4)
        summed = GradientSum(samples, lambda p: p)
        return module, summed, trainer(module, recipe, after_step=[summed])

    whole, whole_sum, run = fresh()
    run.run(lambda epoch: None)

    class Stop(Exception):
        pass

    def stop(epoch: Any) -> None:
        if epoch.epoch == 2:
            raise Stop

    _, first_sum, first = fresh()
    with pytest.raises(Stop):
        first.run(stop)
    resumed, rest_sum, rest = fresh()
    rest.resume(first.state())
    rest_sum.resume(first_sum.state())
    rest.run(lambda epoch: None)
    assert [epoch.epoch for epoch in rest.epochs] == [1, 2, 3]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert torch.equal(whole_sum.total, rest_sum.total)
    assert rest_sum.steps == 3 * 2


def test_watching_gradients_changes_no_training() -> None:
    """Not even BatchNorm's running means, which a pass in training mode would move."""
    recipe = Recipe(1, 32, "adam", 0.01, seed=0)
    watched, alone = (build_net(net_kind("resnet"), MNIST, 0) for _ in range(2))
    summed = GradientSum(bars(3, seed=5), lambda p: p)
    trainer(watched, recipe, after_step=[summed]).run(lambda epoch: None)
    trainer(alone, recipe).run(lambda epoch: None)
    for name, value in alone.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_the_gradient_sum_is_the_sum_of_the_gradients() -> None:
    """For a linear softmax net, by the closed form W^T (softmax(W a + b) - onehot(y))."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)).double().float()
    samples = bars(7, seed=3)
    expected = np.zeros((7, 784))
    images = samples.pixels.reshape(7, 784) / 255.0
    steps = []

    def by_hand(module: Any) -> None:
        weight, bias = (p.detach().double().numpy() for p in module[1].parameters())
        scores = 2 * images @ weight.T + bias  # the normalisation below doubles the pixels
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        expected[:] += 2 * (shares - np.eye(10)[samples.labels]) @ weight
        steps.append(1)

    summed = GradientSum(samples, lambda pictures: 2 * pictures)
    recipe = Recipe(2, 40, "sgd", 0.05, seed=1)
    trainer(net, recipe, after_step=[by_hand, summed]).run(lambda epoch: None)
    assert summed.steps == len(steps) == 2 * 3
    np.testing.assert_allclose(summed.total.numpy().reshape(7, 784), expected, atol=2e-6)


def test_a_loss_that_is_no_number() -> None:
    net = build_net(net_kind("mlp"), MNIST, 0)
    torch.nn.init.constant_(net.classify.weight, float("inf"))
    with pytest.raises(
        ExportError, match=r"the loss became nan in epoch 1; .*--learning-rate than"
    ):
        trainer(net, Recipe(1, 32, "adam", 0.01, 0)).run(lambda epoch: None)
