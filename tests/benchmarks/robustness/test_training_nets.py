"""The nets that are compared: their shapes, the 3-to-1 layer, given weights, and augmentation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blurvote.benchmarks.robustness.training.augment import (  # noqa: E402
    DEGREES,
    SHEAR,
    ZOOM,
    augmentation,
    draw_geometry,
)
from blurvote.benchmarks.robustness.training.catalogue import (  # noqa: E402
    NETS,
    dataset_kind,
    net_kind,
)
from blurvote.benchmarks.robustness.training.data import load_data  # noqa: E402
from blurvote.benchmarks.robustness.training.loop import measure, normaliser  # noqa: E402
from blurvote.benchmarks.robustness.training.nets import build_net, takes_rgb  # noqa: E402
from blurvote.benchmarks.robustness.training.weights import load_weights  # noqa: E402
from blurvote.runtime import SourceError  # noqa: E402

MNIST, FASHION, CIFAR = (dataset_kind(name) for name in ("mnist", "fashion-mnist", "cifar10"))
LENET5, RESNET20 = net_kind("lenet5"), net_kind("resnet20")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", NETS)
def test_nets_are_seeded_and_classify(name: str) -> None:
    net = net_kind(name)
    kind = CIFAR if net.datasets == ("cifar10",) else MNIST
    before = torch.get_rng_state()
    one, same, other = (build_net(net, kind, seed) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())  # the caller's stream is left alone
    pictures = torch.rand((3, kind.channels, kind.side, kind.side), generator=generator())
    with torch.no_grad():
        logits = [module.eval()(pictures) for module in (one, same, other)]
    assert logits[0].shape == (3, 10)
    assert torch.equal(logits[0], logits[1])
    assert not torch.allclose(logits[0], logits[2])


@pytest.mark.parametrize(
    ("name", "layers", "parameters"),
    [
        # He et al. 2015, table 6, gives 0.27 M for 20 layers.
        ("resnet20", 20, 269_722),
        # 3x3 convolutions of 3-16, two of 16-16, 16-32, 32-32, 32-64, 64-64; BatchNorm; linear.
        ("resnet", 8, 9 * (48 + 512 + 512 + 1024 + 2048 + 4096) + 2 * 240 + 650),
        ("deep-resnet", 20, 269_722),
        ("mlp", 2, 3072 * 50 + 50 + 50 * 10 + 10),
    ],
)
def test_depth_and_size(name: str, layers: int, parameters: int) -> None:
    module = build_net(net_kind(name), CIFAR, 0)
    kinds = (torch.nn.Conv2d, torch.nn.Linear)
    assert sum(isinstance(part, kinds) for part in module.modules()) == layers
    assert sum(weights.numel() for weights in module.parameters()) == parameters


def test_the_shortcut_takes_every_second_pixel_and_adds_zero_channels() -> None:
    """With convolutions of zero, a block is its shortcut."""
    block = build_net(net_kind("resnet"), CIFAR, 0).get_submodule("layer2.0").eval()
    for convolution in (block.conv1, block.conv2):
        torch.nn.init.zeros_(convolution.weight)
    planes = torch.rand((2, 16, 7, 9), generator=generator())
    expected = torch.zeros((2, 32, 4, 5))
    expected[:, 8:24] = planes[:, :, ::2, ::2]
    assert torch.equal(block(planes), expected)


def test_the_grey_layer_is_the_mean_and_treats_channels_alike() -> None:
    bare = build_net(LENET5, MNIST, 0).eval()
    wrapped = takes_rgb(bare, 1)
    grey = torch.arange(256).float().repeat(4)[: 28 * 28].view(1, 1, 28, 28) / 255
    colour = torch.rand((2, 3, 28, 28), generator=generator(), requires_grad=True)
    # In float32 three thirds of a value may miss it by its last bit.
    torch.testing.assert_close(wrapped[0](grey.expand(1, 3, 28, 28)), grey, rtol=2e-7, atol=0)
    torch.testing.assert_close(wrapped[0](colour), colour.mean(1, keepdim=True), rtol=0, atol=1e-6)
    wrapped(colour).square().sum().backward()
    assert colour.grad.abs().max() > 0
    for channel in (1, 2):
        assert torch.equal(colour.grad[:, 0], colour.grad[:, channel])
    assert not wrapped[0].weight.requires_grad
    assert takes_rgb(bare, 3) is bare


@pytest.mark.parametrize(
    ("file", "wrong"), [("mnist_lenet5_clntrained.pt", 111), ("mnist_lenet5_advtrained.pt", 136)]
)
def test_given_lenet5_weights_classify_as_published(assets: Path, file: str, wrong: int) -> None:
    """The assets' README gives the count of 10000; a fifth of them has about a fifth of it."""
    module = build_net(LENET5, MNIST, 0)
    load_weights(module, assets / "models" / "mnist" / file, "lenet5", 10)
    test = load_data(MNIST, assets / "data" / "mnist").test
    found = round((1 - measure(module, test, normaliser(LENET5, 1))) * len(test))
    assert len(test) == 2000
    assert abs(found - wrong / 5) < 2.5 * (wrong / 5) ** 0.5


def test_given_resnet20_weights_need_their_normalisation(assets: Path) -> None:
    """The README's count, 1609 of 2000, is of every fifth picture in the archive's order."""
    module = build_net(RESNET20, CIFAR, 0)
    weights = assets / "models" / "cifar10" / "cifar10_resnet20-12fca82f.th"
    load_weights(module, weights, "resnet20", 10)
    data = load_data(CIFAR, assets / "data" / "cifar10")
    # Classes take turns in our numbers: number n is picture n // 10 of class n % 10.
    right = total = 0
    for part in (data.train, data.test):
        fifth = part.take(np.flatnonzero(part.numbers // 10 % 5 == 0))
        right += round(measure(module, fifth, normaliser(RESNET20, 3)) * len(fifth))
        total += len(fifth)
    assert (right, total) == (1609, 2000)
    some = data.test.take(np.arange(200))
    assert measure(module, some, lambda pictures: pictures) < 0.5


def save(path: Path, state: object) -> Path:
    torch.save(state, path)
    return path


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    module = build_net(LENET5, MNIST, 0)
    state = module.state_dict()
    path = tmp_path / "weights.pt"

    def load() -> None:
        load_weights(module, path, "lenet5", 10)

    with pytest.raises(SourceError, match=r"no weights file at .*weights\.pt"):
        load()
    path.write_bytes(b"no zip")
    with pytest.raises(SourceError, match=r"weights\.pt is no state dict that torch can load: "):
        load()
    save(path, {"epoch": 3})
    with pytest.raises(SourceError, match=r"is no state dict; expected names and "):
        load()
    save(path, build_net(net_kind("resnet"), MNIST, 0).state_dict())
    with pytest.raises(
        SourceError, match=r"lacks conv1\.bias, .* and 3 more and has bn1\.weight, .*the --net"
    ):
        load()
    seven = {**state, "linear2.weight": torch.zeros(7, 200), "linear2.bias": torch.zeros(7)}
    save(path, seven)
    with pytest.raises(SourceError, match=r"has 7 classes \(linear2\.bias\); the data set has 10"):
        load()
    save(path, {**state, "conv1.weight": torch.zeros(32, 1, 5, 5)})
    with pytest.raises(SourceError, match=r"conv1\.weight \(32, 1, 5, 5\) instead of \(32, 1, 3, "):
        load()


@pytest.mark.parametrize("wrap", ["state_dict", ""])
def test_weights_come_wrapped_or_bare(tmp_path: Path, wrap: str) -> None:
    state = build_net(LENET5, MNIST, 5).state_dict()
    parallel = {f"module.{name}": value for name, value in state.items()}
    save(tmp_path / "w.pt", {"state_dict": parallel, "best": 0.9} if wrap else state)
    module = build_net(LENET5, MNIST, 0)
    load_weights(module, tmp_path / "w.pt", "lenet5", 10)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in state.items())


def test_noise_is_gaussian_clamped_and_seeded() -> None:
    change = augmentation("noise", MNIST, 0.1, None)
    grey = torch.full((50, 1, 28, 28), 0.5)
    noisy = change(grey, generator())
    assert float((noisy - grey).std()) == pytest.approx(0.1, rel=0.02)
    assert float(noisy.mean()) == pytest.approx(0.5, abs=0.003)
    assert torch.equal(noisy, change(grey, generator()))
    black = change(torch.zeros((50, 1, 28, 28)), generator())
    assert float(black.min()) == 0
    assert float((black == 0).float().mean()) == pytest.approx(0.5, abs=0.02)  # clamped half


def test_geometry_is_within_its_ranges_and_digits_are_not_mirrored() -> None:
    pictures = torch.rand((40, 1, 28, 28), generator=generator())
    drawn = draw_geometry(400, True, generator())
    assert max(abs(g.angle) for g in drawn) <= DEGREES < 1.05 * max(abs(g.angle) for g in drawn)
    assert ZOOM[0] <= min(g.zoom for g in drawn) < max(g.zoom for g in drawn) <= ZOOM[1]
    assert max(abs(s) for g in drawn for s in g.shear) <= SHEAR
    assert 150 < sum(g.flip for g in drawn) < 250
    assert not any(g.flip for g in draw_geometry(400, False, generator()))
    # With the same draws, the clothes that are mirrored are the digits' mirror images.
    digits = augmentation("geometric", MNIST, 0.1, None)(pictures, generator())
    clothes = augmentation("geometric", FASHION, 0.1, None)(pictures, generator())
    flips = [g.flip for g in draw_geometry(40, True, generator())]
    assert 5 < sum(flips) < 35
    for digit, cloth, flip in zip(digits, clothes, flips, strict=True):
        assert torch.equal(cloth, digit.flip(-1) if flip else digit)
    assert not torch.allclose(digits, pictures)
    asked = augmentation("geometric", MNIST, 0.1, True)(pictures, generator())
    assert torch.equal(asked, clothes)
