"""The nets that are compared, in torch.

All take `(N, C, side, side)` float32 and return `(N, classes)` logits.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from blurvote.benchmarks.robustness.training.catalogue import DatasetKind, NetKind

__all__ = ["LeNet5", "ResNet", "build_net", "takes_rgb"]

HIDDEN = 50
WIDTHS = (16, 32, 64)


class LeNet5(nn.Module):
    """advertorch's LeNet5 for 28x28 px (Ding et al. 2019), with its names of weights."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.linear1 = nn.Linear(64 * 7 * 7, 200)
        self.linear2 = nn.Linear(200, classes)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        planes = functional.max_pool2d(functional.relu(self.conv1(planes)), 2)
        planes = functional.max_pool2d(functional.relu(self.conv2(planes)), 2)
        hidden = functional.relu(self.linear1(planes.flatten(1)))
        logits: torch.Tensor = self.linear2(hidden)
        return logits


class _Block(nn.Module):
    """Two convolutions beside a shortcut without weights (option A of He et al. 2015)."""

    _kept: torch.Tensor | None

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        # Every second pixel, and channels of zero on both sides, as one fixed convolution:
        # onnx2torch, which attacks go through, knows no Pad of the opset that torch writes.
        self._stride, margin = stride, (after - before) // 2
        kept = torch.eye(before)[:, :, None, None]
        kept = functional.pad(kept, (0, 0, 0, 0, 0, 0, margin, margin))
        self.register_buffer("_kept", kept if before != after else None, persistent=False)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        new = functional.relu(self.bn1(self.conv1(planes)))
        new = self.bn2(self.conv2(new))
        if self._kept is not None:
            planes = functional.conv2d(planes, self._kept, stride=self._stride)
        return functional.relu(new + planes)


class ResNet(nn.Module):
    """He et al.'s ResNet for small pictures (2015, section 4.2): three stages of 16, 32, 64.

    It has `6 * blocks + 2` layers. Weights are named as in akamaster/pytorch_resnet_cifar10, whose
    files therefore fit.
    """

    def __init__(self, channels: int, classes: int, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.layer1 = self._stage(WIDTHS[0], WIDTHS[0], blocks, 1)
        self.layer2 = self._stage(WIDTHS[0], WIDTHS[1], blocks, 2)
        self.layer3 = self._stage(WIDTHS[1], WIDTHS[2], blocks, 2)
        self.linear = nn.Linear(WIDTHS[2], classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight)

    @staticmethod
    def _stage(before: int, after: int, blocks: int, stride: int) -> nn.Sequential:
        first = _Block(before, after, stride)
        return nn.Sequential(first, *(_Block(after, after, 1) for _ in range(blocks - 1)))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        planes = functional.relu(self.bn1(self.conv1(planes)))
        planes = self.layer3(self.layer2(self.layer1(planes)))
        means = functional.avg_pool2d(planes, planes.shape[2:])
        logits: torch.Tensor = self.linear(means.flatten(1))
        return logits


def _mlp(channels: int, classes: int, side: int) -> nn.Module:
    return nn.Sequential(
        OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(channels * side * side, HIDDEN),
            relu=nn.ReLU(),
            classify=nn.Linear(HIDDEN, classes),
        )
    )


def build_net(net: NetKind, dataset: DatasetKind, seed: int) -> nn.Module:
    """The untrained net for a data set's pictures; the same weights for the same seed.

    Takes `(N, channels, side, side)` float32, normalised by the net's mean and std.
    """
    channels, classes = dataset.channels, len(dataset.classes)
    makers: dict[str, Callable[[], nn.Module]] = {
        "mlp": lambda: _mlp(channels, classes, dataset.side),
        "resnet": lambda: ResNet(channels, classes, blocks=1),
        "deep-resnet": lambda: ResNet(channels, classes, blocks=3),
        "lenet5": lambda: LeNet5(channels, classes),
        "resnet20": lambda: ResNet(channels, classes, blocks=3),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return makers[net.name]()


def takes_rgb(module: nn.Module, channels: int) -> nn.Module:
    """The net behind a fixed 3-to-1 layer where it takes one channel; else the net itself.

    The layer is the plain mean of R, G and B, not a luma. Both leave grey pictures as they are,
    but the gradient through a luma is five times larger in green than in blue: an attack would
    colour the digits, and its budget would mean something else than on the one-channel net. Through
    the mean, all three channels get the same gradient: a grey picture stays grey under sign steps,
    and L-inf and the change of a pixel are those of the one-channel net (L2 norms and sums over
    channels count each change three times).
    """
    if channels == 3:
        return module
    mean = nn.Conv2d(3, 1, 1, bias=False)
    nn.init.constant_(mean.weight, 1 / 3)
    mean.requires_grad_(False)
    return nn.Sequential(OrderedDict(grey=mean, net=module))
