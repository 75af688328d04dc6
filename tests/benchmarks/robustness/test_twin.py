"""The torch twin against the C++ views, kornia with torchvision, finite differences and guards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from blurvote.benchmarks.robustness.dataset import open_dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.export.pipeline import export_guard
from blurvote.runtime import Defense, DefenseError, GuardError, ViewBuilder
from blurvote.runtime.errors import ProviderError
from tests.conftest import ONE_THREAD

MakeGuard = Callable[..., Path]
SMALL = Defense(resize=20, crop=(16, 16))
DEFENSES = {
    "default": SMALL,
    "seven taps": replace(SMALL, kernel_size=7, sigma=1.7, passes=(1, 2, 5)),
    "at the model": replace(SMALL, blur_at="model"),
    "not antialiased": replace(SMALL, antialias=False),
    "bicubic": replace(SMALL, interpolation="bicubic"),
    "bicubic, not antialiased": replace(SMALL, interpolation="bicubic", antialias=False),
    "stretch": replace(SMALL, fit="stretch", crop=(17, 24)),
    "oblong": replace(SMALL, crop=(15, 19), mean=(0.1, 0.5, 0.9), std=(1.0, 0.5, 0.1)),
}
SIZES = [(37, 53), (21, 20), (61, 29), (18, 17)]  # the last is enlarged


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    """Frames as the twin takes them."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


class Flat(torch.nn.Module):
    """A backbone for twins whose views alone matter."""

    def forward(self, views: torch.Tensor) -> torch.Tensor:
        return views.flatten(1)[:, :4]


def twin_of(defense: Defense) -> Twin:
    return Twin(Path("none"), defense, Flat())


@pytest.mark.parametrize("defense", DEFENSES.values(), ids=DEFENSES.keys())
def test_views_are_those_of_the_kernel(defense: Defense) -> None:
    """In float32, in units of the smallest std (0.224 or 0.1), several frames at once."""
    twin, builder = twin_of(defense), ViewBuilder(defense)
    for height, width in SIZES:
        frames = [picture(height, width, seed) for seed in (1, 2)]
        found = twin.views(tensor(*frames)).numpy()
        assert found.shape == (2, len(defense.passes), 3, *defense.crop)
        for n, frame in enumerate(frames):
            np.testing.assert_allclose(found[n], builder.build(frame), atol=2e-5, rtol=0)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_views_are_those_of_kornia_and_torchvision(antialias: bool, size: tuple[int, int]) -> None:
    """The blog's own libraries, in its order: blur, resize, crop, normalise."""
    from kornia.filters import gaussian_blur2d
    from torchvision.transforms.v2 import functional

    defense = replace(SMALL, antialias=antialias, passes=(0, 1, 2))
    frames = tensor(picture(*size)).double()
    expected = []
    for _ in defense.passes:
        resized = functional.resize(frames, [defense.resize], antialias=antialias)
        view = functional.center_crop(resized, list(defense.crop))
        expected.append(functional.normalize(view, list(defense.mean), list(defense.std)))
        frames = gaussian_blur2d(frames, (5, 5), (1.0, 1.0))
    found = twin_of(defense).views(tensor(picture(*size)))
    np.testing.assert_allclose(found[0], torch.cat(expected), atol=1e-4, rtol=0)


def test_sizes_and_defences_do_not_mix(conv_guard: MakeGuard) -> None:
    """Again and again, in turn, with the matrices of each kept."""
    twin = Twin.load(conv_guard(defense=replace(SMALL, passes=(1, 2))))
    frames = [tensor(picture(*size)) for size in SIZES]
    first = [(twin.logits(frame), twin.clean_logits(frame)) for frame in frames]
    for frame, (all_views, clean) in zip(frames, first, strict=True):
        fresh = Twin.load(twin.path)
        assert torch.equal(twin.logits(frame), all_views)
        assert torch.equal(twin.clean_logits(frame), clean)
        assert torch.equal(fresh.clean_logits(frame), clean)
        assert torch.equal(fresh.logits(frame), all_views)


def test_more_sizes_than_are_kept() -> None:
    twin = twin_of(SMALL)
    frames = [tensor(picture(20, width)) for width in range(20, 90)]
    first = twin.views(frames[0])
    for frame in frames:
        twin.views(frame)
    assert len(twin._matrices) == 64
    assert torch.equal(twin.views(frames[0]), first)


@pytest.mark.parametrize("passes", [(0, 1, 2), (1, 2)])
def test_clean_logits_are_of_the_picture_unblurred(
    conv_guard: MakeGuard, passes: tuple[int, ...]
) -> None:
    defense = replace(SMALL, passes=passes)
    twin = Twin.load(conv_guard(defense=defense, classes=5))
    undefended = Deployed(conv_guard("c.onnx", replace(SMALL, passes=(0,)), 5), ONE_THREAD)
    frame = picture(37, 53)
    found = twin.clean_logits(tensor(frame, frame[::-1].copy()))
    assert found.shape == (2, 5)
    np.testing.assert_allclose(found[0], undefended.logits(frame)[0], atol=1e-4)
    if passes[0] == 0:
        np.testing.assert_allclose(found, twin.logits(tensor(frame, frame[::-1].copy()))[:, 0])


def test_logits_are_those_of_the_guard(conv_guard: MakeGuard) -> None:
    path = conv_guard(classes=7, seed=2)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    assert (twin.classes, twin.labels[6], twin.path) == (7, "class 6", path)
    for size in SIZES:
        frames = [picture(*size, seed) for seed in range(3)]
        expected = np.stack([deployed.logits(frame) for frame in frames])
        np.testing.assert_allclose(twin.logits(tensor(*frames)), expected, atol=1e-4)


def test_gradients_are_finite_differences(conv_guard: MakeGuard) -> None:
    """Of all views at once, in float64, along random directions."""
    twin = Twin.load(conv_guard(classes=5))
    twin.backbone.double()
    twin._mean, twin._std = twin._mean.double(), twin._std.double()
    frames = tensor(picture(37, 53)).double().requires_grad_()
    matrices = twin._of_size(SMALL, 37, 53)
    matrices.rows, matrices.cols = matrices.rows.double(), matrices.cols.double()
    weights = torch.randn(1, 3, 5, generator=torch.Generator().manual_seed(0)).double()
    (gradient,) = torch.autograd.grad((twin.logits(frames) * weights).sum(), frames)
    assert gradient.abs().max() > 0
    step = 1e-7
    for seed in range(5):
        way = torch.randn(frames.shape, generator=torch.Generator().manual_seed(seed)).double()
        with torch.no_grad():
            ahead, behind = (
                (twin.logits(frames + sign * step * way) * weights).sum() for sign in (1, -1)
            )
        expected = float((ahead - behind) / (2 * step))
        assert float((gradient * way).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_no_parameter_gathers_gradients(conv_guard: MakeGuard) -> None:
    twin = Twin.load(conv_guard())
    frames = tensor(picture(37, 53)).requires_grad_()
    twin.logits(frames).sum().backward()
    assert all(parameter.grad is None for parameter in twin.backbone.parameters())
    assert not twin.backbone.training


# ---- other backbones ----


@pytest.mark.parametrize("labelled", [True, False])
def test_a_backbone_from_another_file(conv_guard: MakeGuard, labelled: bool) -> None:
    """The guard's defence and labels, the other file's weights; a guard or any ONNX file."""
    guard = conv_guard("guard.onnx", replace(SMALL, kernel_size=7), seed=1)
    other = conv_guard("other.onnx", seed=2)
    same = conv_guard("same.onnx", replace(SMALL, kernel_size=7), seed=2)
    if not labelled:
        model = onnx.load(other)
        del model.metadata_props[:]
        onnx.save(model, other)
    frame = tensor(picture(37, 53))
    twin = Twin.load(guard, other)
    assert (twin.path, twin.defense.kernel_size, len(twin.labels)) == (other, 7, 3)
    assert torch.equal(twin.logits(frame), Twin.load(same).logits(frame))


def reshaped(path: Path, batch: bool) -> None:
    """The flattening as a Reshape: to a constant batch of one, or to a batch computed by Shape."""
    model = onnx.load(path)
    graph = model.graph
    at = next(n for n, node in enumerate(graph.node) if node.op_type == "Flatten")
    del graph.node[at]
    nodes = [helper.make_node("Reshape", ["pooled", "shape"], ["flat"])]
    if batch:
        nodes = [
            helper.make_node("Shape", ["views"], ["whole"]),
            helper.make_node("Gather", ["whole", "zero"], ["rows"]),
            helper.make_node("Concat", ["rows", "rest"], ["shape"], axis=0),
            *nodes,
        ]
        constants = {"zero": [0], "rest": [-1]}
    else:
        constants = {"shape": [1, -1]}
    for n, node in enumerate(nodes):
        graph.node.insert(at + n, node)
    graph.initializer.extend(
        numpy_helper.from_array(np.array(value, np.int64), name)
        for name, value in constants.items()
    )
    onnx.save(model, path)


@pytest.mark.parametrize("batch", [1, "B"])
def test_models_that_take_one_view_at_a_time(conv_guard: MakeGuard, batch: Any) -> None:
    """Built for a batch of one, or with a shape from the batch, which folding makes constant."""
    plain, path = conv_guard("plain.onnx"), conv_guard(batch=batch)
    reshaped(path, batch == "B")
    frames = tensor(picture(37, 53, 1), picture(37, 53, 2)).requires_grad_()
    found = Twin.load(path).logits(frames)
    expected = Twin.load(plain).logits(frames)
    np.testing.assert_allclose(found.detach(), expected.detach(), atol=1e-5)
    gradients = [torch.autograd.grad(out.sum(), frames)[0] for out in (found, expected)]
    np.testing.assert_allclose(*gradients, atol=1e-5)


# ---- errors ----


def test_a_frames_guard_has_no_twin(conv_guard: MakeGuard, tmp_path: Path) -> None:
    views = conv_guard()
    model = onnx.load(views)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    path = tmp_path / "frames.onnx"
    export_guard(tmp_path / "bare.onnx", path, kind="frames", frame_size=(37, 53), defense=SMALL)
    for given in ((path,), (views, path)):
        with pytest.raises(GuardError, match=r"frames\.onnx builds its views in its graph, which"):
            Twin.load(*given)
    found = Twin.load(path, views).logits(tensor(picture(37, 53)))
    expected = Deployed(path, ONE_THREAD).logits(picture(37, 53))
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_a_quantised_guard_is_told_of_its_float_twin(conv_guard: MakeGuard) -> None:
    path = conv_guard()
    model = onnx.load(path)
    model.graph.node[1].output[0] = "r0"
    model.graph.initializer.extend(
        [
            helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
        ]
    )
    quantise = helper.make_node("QuantizeLinear", ["r0", "scale", "zero"], ["q"])
    back = helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["r1"])
    model.graph.node.insert(2, quantise)
    model.graph.node.insert(3, back)
    onnx.save(model, path)
    assert Deployed(path, ONE_THREAD).quantised
    message = "attack it through the fp32 export of the same model: pass that as --twin"
    with pytest.raises(GuardError, match=message):
        Twin.load(path)
    assert Twin.load(path, conv_guard("float.onnx")).classes == 3


def test_a_backbone_of_other_classes(conv_guard: MakeGuard) -> None:
    guard, other = conv_guard(), conv_guard("other.onnx", classes=4)
    with pytest.raises(GuardError) as caught:
        Twin.load(guard, other)
    assert str(caught.value) == (
        f"{other} has 4 classes, but {guard} has 3 labels; the twin's backbone must be the guard's "
        "own model"
    )


def test_a_device_that_is_not_there(conv_guard: MakeGuard) -> None:
    with pytest.raises(ProviderError, match="torch cannot compute on 'nowhere': ") as caught:
        Twin.load(conv_guard(), device="nowhere")
    assert str(caught.value).endswith("; use --device cpu")


def test_a_file_that_is_no_guard(conv_guard: MakeGuard, tmp_path: Path) -> None:
    with pytest.raises(GuardError):
        Twin.load(tmp_path / "gone.onnx")
    with pytest.raises(GuardError):
        Twin.load(conv_guard(), tmp_path / "gone.onnx")


def test_a_frame_that_cannot_be_served() -> None:
    with pytest.raises(DefenseError, match="frames of 53x2 px"):
        twin_of(SMALL).views(tensor(picture(2, 53)))


# ---- real models ----


@pytest.mark.parametrize("name", ["pqf_resnet50_large.onnx", "mobilenet_v2_1.0_224_quant.onnx"])
def test_real_models_agree(assets: Path, tmp_path: Path, name: str) -> None:
    """Logits within 1e-3 of their range, as exports are held to; and a gradient that is not 0."""
    path = tmp_path / "guard.onnx"
    export_guard(assets / "models" / name, path)
    sample = open_dataset(assets / "images" / "imagenet-half.tsv", 1000).samples[0]
    pixels = sample.read()
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    assert not deployed.quantised
    frames = tensor(pixels).requires_grad_()
    found = twin.logits(frames)
    expected = deployed.logits(pixels)
    np.testing.assert_allclose(found[0].detach(), expected, atol=1e-3 * np.ptp(expected))
    assert deployed.decide(expected).label == sample.label
    (gradient,) = torch.autograd.grad(found[0, :, sample.label].sum(), frames)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().max() > 0
