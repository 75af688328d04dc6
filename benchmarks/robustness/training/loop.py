"""The training loop: seeded, reported after every epoch, and resumable after each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from blurvote.benchmarks.robustness.training.augment import Augment
from blurvote.benchmarks.robustness.training.catalogue import NetKind
from blurvote.benchmarks.robustness.training.pictures import Data, Pictures
from blurvote.runtime.errors import ExportError

__all__ = ["Epoch", "Normalise", "Recipe", "Trainer", "measure", "normaliser"]

Normalise = Callable[[torch.Tensor], torch.Tensor]
"""`(N, C, H, W)` float32 pictures in [0, 1] to a net's input."""

_PICTURES_AT_ONCE = 500


@dataclass(frozen=True)
class Recipe:
    """How a net is trained.

    Attributes:
        epochs: passes over the training pictures.
        batch_size: pictures in a step.
        optimiser: `"adam"`, or `"sgd"` with Nesterov momentum 0.9 and weight decay 5e-4.
        learning_rate: the highest of the OneCycle schedule (Smith and Topin 2018).
        seed: of the first weights, the order of pictures and the augmentation.
    """

    epochs: int
    batch_size: int
    optimiser: str
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training pictures came to.

    Attributes:
        epoch: from 1 on.
        loss: mean cross-entropy of its steps, on the changed pictures, in nats.
        train_accuracy: share of the changed pictures classified rightly just before they were
            learned from.
        test_accuracy: of the untouched test pictures, after the epoch.
        seconds: that it took, measuring included.
    """

    epoch: int
    loss: float
    train_accuracy: float
    test_accuracy: float
    seconds: float


def normaliser(net: NetKind, channels: int) -> Normalise:
    """Subtracts the net's mean and divides by its std, per channel."""
    if not any(net.mean) and set(net.std) == {1.0}:
        return lambda pictures: pictures
    mean, std = (torch.tensor(v[:channels]).view(1, -1, 1, 1) for v in (net.mean, net.std))
    return lambda pictures: (pictures - mean) / std


def measure(net: nn.Module, pictures: Pictures, normalise: Normalise) -> float:
    """Share of the pictures that the net classifies rightly, in eval mode; leaves it there."""
    net.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(pictures), _PICTURES_AT_ONCE):
            some = slice(start, start + _PICTURES_AT_ONCE)
            scores = net(normalise(_to_unit(pictures.pixels[some])))
            right += int((scores.argmax(1).numpy() == pictures.labels[some]).sum())
    return right / len(pictures)


class Trainer:
    """A net on its way through a recipe.

    Two trainers with the same arguments, on the same machine with as many threads, give the same
    weights, whether or not one of them was stopped after an epoch and resumed.

    Args:
        net: untrained; trained in place.
        data: pictures to train on and to measure on.
        recipe: how.
        normalise: from pixels in [0, 1] to the net's input.
        augment: applied to training pictures alone.
        after_step: called with the net after every update of its weights.
        progress: called with the epoch, the steps done in it, its steps, and the seconds left.

    Attributes:
        epochs: those done.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Data,
        recipe: Recipe,
        normalise: Normalise,
        augment: Augment,
        after_step: Sequence[Callable[[nn.Module], None]] = (),
        progress: Callable[[int, int, int, float], None] | None = None,
    ) -> None:
        self._net, self._data, self._recipe = net, data, recipe
        self._normalise, self._augment = normalise, augment
        self._after_step, self._progress = after_step, progress
        self._steps = math.ceil(len(data.train) / recipe.batch_size)
        # Channels last trains up to twice as fast on a CPU and changes no weight's meaning.
        net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._optimiser: torch.optim.Optimizer
        if recipe.optimiser == "adam":
            self._optimiser = torch.optim.Adam(net.parameters(), lr=recipe.learning_rate)
        else:
            self._optimiser = torch.optim.SGD(
                net.parameters(),
                lr=recipe.learning_rate,
                momentum=0.9,
                weight_decay=5e-4,
                nesterov=True,
            )
        self._schedule = torch.optim.lr_scheduler.OneCycleLR(
            self._optimiser, max_lr=recipe.learning_rate, total_steps=recipe.epochs * self._steps
        )
        self.epochs: list[Epoch] = []

    def state(self) -> dict[str, Any]:
        """All that `resume` needs, of plain values and tensors."""
        return {
            "net": self._net.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "schedule": self._schedule.state_dict(),
            "epochs": [asdict(epoch) for epoch in self.epochs],
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Goes back to where a trainer of the same recipe was."""
        self._net.load_state_dict(state["net"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._schedule.load_state_dict(state["schedule"])
        self.epochs = [Epoch(**values) for values in state["epochs"]]

    def run(self, after_epoch: Callable[[Epoch], None]) -> None:
        """Trains to the last epoch; leaves the net in eval mode.

        Raises:
            ExportError: the loss is no longer finite.
        """
        for number in range(len(self.epochs) + 1, self._recipe.epochs + 1):
            self.epochs.append(self._epoch(number))
            after_epoch(self.epochs[-1])
        self._net.eval()

    def _epoch(self, number: int) -> Epoch:
        # A stream per epoch, so that one that is resumed draws what it would have drawn.
        stream = np.random.SeedSequence([self._recipe.seed, number]).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(stream[0] >> 1))
        train = self._data.train
        order = torch.randperm(len(train), generator=generator).numpy()
        started, losses, right = time.monotonic(), 0.0, 0
        self._net.train()
        for step in range(self._steps):
            chosen = order[step * self._recipe.batch_size :][: self._recipe.batch_size]
            pictures = self._augment(_to_unit(train.pixels[chosen]), generator)
            labels = torch.from_numpy(train.labels[chosen])
            scores = self._net(self._normalise(pictures))
            loss = functional.cross_entropy(scores, labels)
            self._optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimiser.step()
            self._schedule.step()
            if not math.isfinite(loss.item()):
                raise ExportError(
                    f"the loss became {loss.item()} in epoch {number}; choose a lower "
                    f"--learning-rate than {self._recipe.learning_rate:g}"
                )
            losses += loss.item() * len(chosen)
            right += int((scores.argmax(1) == labels).sum())
            for call in self._after_step:
                call(self._net)
            if self._progress:
                pace = (time.monotonic() - started) / (step + 1)
                left = (self._recipe.epochs - number + 1) * self._steps - step - 1
                self._progress(number, step + 1, self._steps, pace * left)
        accuracy = measure(self._net, self._data.test, self._normalise)
        seconds = time.monotonic() - started
        return Epoch(number, losses / len(train), right / len(train), accuracy, seconds)


def _to_unit(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> torch.Tensor:
    """`(N, C, H, W)` uint8 to float32 in [0, 1]."""
    return torch.from_numpy(pixels).float() / 255
