"""The data sets and nets that `blurvote train` knows, by name; nothing heavy is imported here."""

from __future__ import annotations

from dataclasses import dataclass

from blurvote.runtime.errors import SourceError

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "NETS",
    "DatasetKind",
    "NetKind",
    "check_fit",
    "dataset_kind",
    "net_kind",
]

Channels3 = tuple[float, float, float]
AUGMENTATIONS = ("none", "noise", "geometric")


@dataclass(frozen=True)
class DatasetKind:
    """What is known of a data set before it is read.

    Attributes:
        name: as typed.
        classes: names in index order.
        side: height and width of every picture, in pixels.
        channels: 1 or 3.
        mirrored: whether a picture and its mirror image belong to the same class. A mirrored
            digit is no digit, or another one (2 and 5 come close), so digits are not flipped.
        torchvision: name of its class in `torchvision.datasets`, which downloads it.
    """

    name: str
    classes: tuple[str, ...]
    side: int
    channels: int
    mirrored: bool
    torchvision: str


@dataclass(frozen=True)
class NetKind:
    """What is known of a net before it is built.

    Attributes:
        name: as typed.
        about: one line for the help.
        mean, std: what its input is normalised by, per channel of pixels in [0, 1].
        datasets: the only ones that it takes; empty for any.
    """

    name: str
    about: str
    mean: Channels3 = (0.0, 0.0, 0.0)
    std: Channels3 = (1.0, 1.0, 1.0)
    datasets: tuple[str, ...] = ()


_DIGITS = tuple("0123456789")
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_CIFAR = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

DATASETS = {
    kind.name: kind
    for kind in (
        DatasetKind("mnist", _DIGITS, 28, 1, False, "MNIST"),
        DatasetKind("fashion-mnist", _CLOTHES, 28, 1, True, "FashionMNIST"),
        DatasetKind("cifar10", _CIFAR, 32, 3, True, "CIFAR10"),
    )
}

# Nets take pixels in [0, 1] as they are, so that a change of a pixel means the same to all of
# them; resnet20 alone keeps the normalisation that its published weights were trained with.
NETS = {
    kind.name: kind
    for kind in (
        NetKind("mlp", "one hidden layer of 50"),
        NetKind("resnet", "a ResNet of 8 layers"),
        NetKind("deep-resnet", "a ResNet of 20 layers"),
        NetKind(
            "lenet5",
            "advertorch's LeNet5, two convolutions and two linear layers",
            datasets=("mnist", "fashion-mnist"),
        ),
        NetKind(
            "resnet20",
            "akamaster's ResNet20, normalised as ImageNet usually is",
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            datasets=("cifar10",),
        ),
    )
}


def dataset_kind(name: str) -> DatasetKind:
    """The data set of that name.

    Raises:
        SourceError: there is none.
    """
    if name not in DATASETS:
        raise SourceError(f"there is no data set called {name!r}; expected {', '.join(DATASETS)}")
    return DATASETS[name]


def net_kind(name: str) -> NetKind:
    """The net of that name.

    Raises:
        SourceError: there is none.
    """
    if name not in NETS:
        raise SourceError(f"there is no net called {name!r}; expected {', '.join(NETS)}")
    return NETS[name]


def check_fit(net: NetKind, dataset: DatasetKind) -> None:
    """Raises SourceError where the net does not take the data set's pictures."""
    if net.datasets and dataset.name not in net.datasets:
        fitting = ", ".join(
            kind.name
            for kind in NETS.values()
            if not kind.datasets or dataset.name in kind.datasets
        )
        raise SourceError(
            f"the net {net.name} takes the pictures of {' and '.join(net.datasets)} only, not of "
            f"{dataset.name}; nets for {dataset.name}: {fitting}"
        )
