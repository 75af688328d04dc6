"""The loss gradient at given pictures, summed over the steps of a training.

`g = sum_n grad_a J(O(a; theta_n), y)`, for a picture `a` of class `y` and the weights `theta_n`
after each step n. *Input Attribution and Adversarial Examples* (blbadger.github.io) proposes it as
an attribution without a baseline: where integrated gradients vary the input of one trained net,
this varies the net under one input.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.training.loop import Normalise
from blurvote.benchmarks.robustness.training.pictures import Pictures
from blurvote.runtime.errors import SinkError
from blurvote.runtime.whole_file import write_whole

__all__ = ["GradientSum", "draw_gradient_sum", "write_gradient_sum"]

SHOWN = 12  # pictures in the figure; the .npz has them all


class GradientSum:
    """Adds the gradient of the weights of each step; see the module's docstring.

    The net is in eval mode for it, so that BatchNorm neither mixes the pictures nor learns from
    them, and the training goes the same way as without it.

    Args:
        pictures: where the gradients are taken.
        normalise: from pixels in [0, 1] to the net's input.

    Attributes:
        pictures: as given.
        total: `(N, C, H, W)` float64, with respect to pixels in [0, 1].
        steps: how many gradients are in `total`.
    """

    def __init__(self, pictures: Pictures, normalise: Normalise) -> None:
        self.pictures = pictures
        self._normalise = normalise
        self._images = torch.from_numpy(pictures.pixels).float() / 255
        self._labels = torch.from_numpy(pictures.labels)
        self.total = torch.zeros(self._images.shape, dtype=torch.float64)
        self.steps = 0

    def __call__(self, net: nn.Module) -> None:
        """Adds the gradients at the net's present weights; leaves the net as it was."""
        training = net.training
        net.eval()
        images = self._images.clone().requires_grad_()
        # Summed, not averaged: what one picture's gradient is does not depend on the others.
        scores = net(self._normalise(images))
        loss = functional.cross_entropy(scores, self._labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        self.total += gradient.double()
        self.steps += 1
        net.train(training)

    def state(self) -> dict[str, Any]:
        """What `resume` needs."""
        return {"total": self.total, "steps": self.steps}

    def resume(self, state: dict[str, Any]) -> None:
        """Goes on with the sum of an interrupted training."""
        self.total, self.steps = state["total"], state["steps"]


def write_gradient_sum(summed: GradientSum, path: Path) -> None:
    """Writes `image` (N, C, H, W) uint8, `label` and `number` (N,), and `gradient` float64.

    Raises:
        SinkError: the file cannot be written.
    """
    content = io.BytesIO()
    np.savez_compressed(
        content,
        image=summed.pictures.pixels,
        label=summed.pictures.labels,
        number=summed.pictures.numbers,
        gradient=summed.total.numpy(),
        steps=np.array(summed.steps),
    )
    _write(path, content)


def draw_gradient_sum(summed: GradientSum, names: tuple[str, ...], title: str, path: Path) -> None:
    """Draws the first pictures: as they are, their summed gradient, and one over the other.

    Raises:
        ProviderError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    require("the figure of --gradient-samples", ["matplotlib"], "matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    count = min(SHOWN, len(summed.pictures))
    figure = Figure(figsize=(1.5 + 1.3 * count, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(3, count, squeeze=False)
    for column in range(count):
        picture = _shown(summed.pictures.pixels[column])
        # Over the channels; its sign says whether a brighter pixel raises the loss.
        signed = summed.total[column].sum(0).numpy()
        scale = max(float(np.abs(signed).max()), np.finfo(float).tiny)
        axes[0, column].imshow(picture)
        axes[0, column].set_title(names[int(summed.pictures.labels[column])], fontsize=10)
        map_ = axes[1, column].imshow(signed / scale, cmap="RdBu_r", vmin=-1, vmax=1)
        axes[2, column].imshow(picture.mean(-1), cmap="gray", vmin=0, vmax=1)
        strength = np.abs(signed) / scale
        axes[2, column].imshow(signed / scale, cmap="RdBu_r", vmin=-1, vmax=1, alpha=strength)
    for row, name in zip(axes, ("picture", "summed gradient", "over the picture"), strict=True):
        row[0].set_ylabel(name, fontsize=10)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
    bar = figure.colorbar(map_, ax=axes, shrink=0.6, ticks=[-1, 0, 1])
    bar.ax.set_yticklabels(["brighter lowers\nthe loss", "0", "brighter raises\nthe loss"])
    figure.suptitle(f"{title}: gradient of the loss, summed over {summed.steps} steps", fontsize=11)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    _write(path, content)


def _shown(planes: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`(C, H, W)` uint8 to `(H, W, 3)` in [0, 1]."""
    rgb = np.broadcast_to(planes, (3, *planes.shape[1:])).transpose(1, 2, 0)
    return np.asarray(rgb / 255.0)


def _write(path: Path, content: io.BytesIO) -> None:
    try:
        write_whole(path, content.getvalue())
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror or error}") from error
