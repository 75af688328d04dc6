"""Denoisers of every input layout, made by hand, and the real one on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from blurvote.benchmarks.robustness.denoiser import Denoiser
from blurvote.benchmarks.robustness.smoothing import class_counts, smooth_classify
from blurvote.runtime import FrameError, SourceError
from blurvote.runtime.sources import read_image

IMAGE = ("image", TensorProto.FLOAT, ["N", 3, "H", "W"])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model with these inputs; by default it adds them all up."""

    def write(
        *inputs: tuple[str, int, Sequence[Any]],
        nodes: Sequence[onnx.NodeProto] = (),
        constants: Sequence[onnx.TensorProto] = (),
    ) -> Path:
        names = [name for name, *_ in inputs]
        graph = helper.make_graph(
            list(nodes) or [helper.make_node("Sum", names, ["clean"])],
            "denoiser",
            [helper.make_tensor_value_info(*one) for one in inputs],
            [helper.make_tensor_value_info("clean", TensorProto.FLOAT, None)],
            list(constants),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        path = tmp_path / "denoiser.onnx"
        onnx.save(model, str(path))
        return path

    return write


def noisy(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(0.5, 0.6, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "kind", "channels"),
    [
        ([], "scalar", 1),
        ([1], "scalar", 1),
        (["N"], "image", 1),
        (["N", 1], "image", 1),
        (["N", 1, 1, 1], "image", 1),
        ([1, 1, 1, 1], "scalar", 1),
        (["N", 1, "H", "W"], "map", 1),
        (["N", 3, "H", "W"], "map", 3),
    ],
)
@pytest.mark.parametrize("order", [1, -1], ids=["image first", "image last"])
def test_noise_levels_of_every_layout(
    make: Callable[..., Path], shape: list[Any], kind: str, channels: int, order: int
) -> None:
    """The model adds the level to the image, so the level's value and place can be read off."""
    level = ("sigma", TensorProto.FLOAT, shape)
    nodes = [
        # A rank of 1 or 2 would not broadcast over the batch by itself.
        helper.make_node("Reshape", ["sigma", "four"], ["level"])
        if kind == "image"
        else helper.make_node("Identity", ["sigma"], ["level"]),
        helper.make_node("Add", ["image", "level"], ["clean"]),
    ]
    four = numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "four")
    if channels == 3:
        order = 1  # of two inputs that look the same, the first is the image
    path = make(*[IMAGE, level][::order], nodes=nodes, constants=[four] * (kind == "image"))
    denoiser = Denoiser(path, threads=1, sees="raw")
    assert denoiser.noise_level is not None
    assert (denoiser.noise_level.name, denoiser.noise_level.shape) == ("sigma", kind)
    assert denoiser.noise_level.channels == channels
    images = noisy(2, 3, 6, 8)
    assert np.allclose(denoiser(images, 0.25), images + np.float32(0.25), atol=1e-6)


def test_image_only_clamped_or_raw(make: Callable[..., Path]) -> None:
    path = make(IMAGE)
    images = noisy(2, 3, 6, 8)
    assert Denoiser(path).noise_level is None
    assert np.array_equal(Denoiser(path)(images, 0.25), images.clip(0, 1))
    raw = Denoiser(path, sees="raw")(images, 0.25)
    assert np.array_equal(raw, images)
    assert images.min() < 0


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (4, 3), (8, 8)])
def test_sides_are_padded_and_cut_back(make: Callable[..., Path], size: tuple[int, int]) -> None:
    """Space to depth and back takes multiples of 4 only, and changes nothing."""
    nodes = [
        helper.make_node("SpaceToDepth", ["image"], ["deep"], blocksize=4),
        helper.make_node("DepthToSpace", ["deep"], ["clean"], blocksize=4),
    ]
    path = make(IMAGE, nodes=nodes)
    images = noisy(1, 3, *size)
    found = Denoiser(path, sees="raw", multiple=4)(images, 0.1)
    assert np.array_equal(found, images)
    if size == (5, 7):
        with pytest.raises(SourceError, match=r"cannot be run on an image of shape \(1, 3, 6, 8\)"):
            Denoiser(path)(images, 0.1)


def test_fixed_sizes(make: Callable[..., Path]) -> None:
    denoiser = Denoiser(make(("image", TensorProto.FLOAT, [2, 3, 16, 24])), sees="raw")
    images = noisy(4, 3, 16, 24)
    assert np.array_equal(denoiser(images, 0.1), images)
    with pytest.raises(FrameError, match=r"images of 16 x 16 pixels, but its input is fixed at"):
        denoiser(noisy(2, 3, 16, 16), 0.1)
    with pytest.raises(FrameError, match="given 3 images, but its batch is fixed at 2"):
        denoiser(images[:3], 0.1)


@pytest.mark.parametrize(
    "inputs",
    [
        [("image", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [("image", TensorProto.FLOAT, ["N", 4, "H", "W"])],
        [("image", TensorProto.FLOAT, ["N", 3])],
        [("image", TensorProto.UINT8, ["N", 3, "H", "W"])],
        [IMAGE, ("sigma", TensorProto.FLOAT, ["N", 7])],
        [IMAGE, ("sigma", TensorProto.FLOAT, ["N", 2, "H", "W"])],
        [IMAGE, ("sigma", TensorProto.INT64, [])],
        [IMAGE, ("sigma", TensorProto.FLOAT, []), ("step", TensorProto.FLOAT, [])],
    ],
    ids=["grey", "four channels", "rank 2", "uint8", "vector", "two maps", "int64", "three"],
)
def test_foreign_inputs(make: Callable[..., Path], inputs: list[Any]) -> None:
    clean = helper.make_node("Constant", [], ["clean"], value_float=0.5)
    with pytest.raises(SourceError) as caught:
        Denoiser(make(*inputs, nodes=[clean]))
    assert "has the inputs " in str(caught.value)
    assert "expected an ONNX denoiser with an image input (N, 3, H, W)" in str(caught.value)


def test_foreign_outputs(make: Callable[..., Path]) -> None:
    """A classifier, say."""
    pool = helper.make_node("GlobalAveragePool", ["image"], ["clean"])
    with pytest.raises(SourceError, match=r"into float32 of shape \(1, 3, 1, 1\); expected an ONN"):
        Denoiser(make(IMAGE, nodes=[pool]))


def test_files_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="is not a file; expected an ONNX denoiser"):
        Denoiser(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(SourceError, match="cannot be loaded as an ONNX model"):
        Denoiser(tmp_path / "text.onnx")


def test_images_of_another_kind(make: Callable[..., Path]) -> None:
    denoiser = Denoiser(make(IMAGE))
    for images in (noisy(3, 6, 8), noisy(1, 4, 6, 8), noisy(1, 3, 6, 8).astype(np.float64)):
        with pytest.raises(FrameError, match=r"expected float32 of shape \(B, 3, h, w\)"):
            denoiser(images, 0.1)


def psnr(found: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    return float(-10 * np.log10(((found - clean) ** 2).mean()))


@pytest.fixture(scope="module")
def photo(assets: Path) -> NDArray[np.float32]:
    """The middle 161 x 224 of a real photograph: (1, 3, 161, 224) in [0, 1], an odd height."""
    path = assets / "images" / "imagenet-half" / "n01440764_tench.JPEG"
    pixels = cv2.cvtColor(read_image(str(path)), cv2.COLOR_BGR2RGB)
    top, left = (pixels.shape[0] - 161) // 2, (pixels.shape[1] - 224) // 2
    crop = pixels[top : top + 161, left : left + 224].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(crop / np.float32(255), np.float32)


def test_ffdnet_removes_noise_from_a_real_image(assets: Path, photo: NDArray[np.float32]) -> None:
    """Sigma is on the scale of [0, 1], and these weights want clamped noise."""
    path = assets / "models" / "ffdnet_clip_color.onnx"
    denoiser, raw = Denoiser(path, threads=1), Denoiser(path, threads=1, sees="raw")
    assert denoiser.noise_level is not None
    assert denoiser.noise_level.shape == "image"
    noise = np.random.default_rng(0).standard_normal(photo.shape, dtype=np.float32)
    images = photo + np.float32(0.25) * noise
    before = psnr(images.clip(0, 1), photo)
    gained = psnr(denoiser(images, 0.25), photo) - before
    assert gained > 10
    assert psnr(denoiser(images, 0.25 * 255), photo) < before  # the scale of [0, 255] is not it
    assert gained > psnr(raw(images, 0.25), photo) - before + 3
    assert gained > psnr(denoiser(images, 0.1), photo) - before + 3  # it listens to the level


def test_smoothing_with_the_real_denoiser(assets: Path, photo: NDArray[np.float32]) -> None:
    """All parts together; the backbone names what is nearer, the photograph or its mirror image."""
    denoiser = Denoiser(assets / "models" / "ffdnet_clip_color.onnx", threads=1)
    clean = photo[:, :, 40:104, 80:144]
    mean, std = np.full(3, 0.4), np.full(3, 0.2)

    def backbone(views: NDArray[np.float32]) -> NDArray[np.floating]:
        pixels = views * np.float32(0.2) + np.float32(0.4)
        choices = (clean[..., ::-1], clean)
        return np.stack([-((pixels - one) ** 2).sum(axis=(1, 2, 3)) for one in choices], axis=1)

    classify = smooth_classify(
        backbone, tuple(mean), tuple(std), lambda images: denoiser(images, 0.25)
    )
    counts = class_counts(classify, clean[0], 0.25, 12, 5, np.random.default_rng(0))
    assert counts.tolist() == [0, 12]
