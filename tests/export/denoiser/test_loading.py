"""Denoisers of every layout in the one form that guards take, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blurvote.export.denoiser.adapting import DENOISED, IMAGES, LEVELS
from blurvote.export.denoiser.loading import load_denoiser
from blurvote.export.ort_session import Session
from blurvote.runtime import ExportError

LAYOUTS: list[dict[str, Any]] = [
    {"level": []},
    {"level": [1]},
    {"level": ["N"]},
    {"level": ["N", 1]},
    {"level": ["N", 1, 1, 1]},
    {"level": [1, 1, 1, 1]},
    {"level": ["N", 1, "H", "W"]},
    {"level": ["N", 3, "H", "W"]},
    {"level": ["N", 1], "opset": 11},
    {"level": [], "batch": 1},
    {"level": ["N", 1, 24, 40], "sides": (24, 40)},
]


def images_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("crop", [(24, 40), (21, 35)], ids=str)
def test_every_layout_denoises_each_image_by_its_level(
    save_denoiser: Callable[..., Path],
    smoothed: Callable[..., np.ndarray],
    layout: dict[str, Any],
    crop: tuple[int, int],
) -> None:
    model = load_denoiser(save_denoiser(**layout), crop)
    onnx.checker.check_model(model.proto, full_check=True)
    named = {node.name for node in model.proto.graph.node}
    named |= {tensor.name for tensor in model.proto.graph.initializer}
    assert all(name.startswith("denoise/") for name in named)
    images, levels = images_of(3, 3, *crop), np.array([0.05, 0.3, 0.1], np.float32)
    (found,) = Session(model.proto, "it").feed({IMAGES: images, LEVELS: levels[:, None]}, DENOISED)
    # 21 x 35 is padded by its last row and column to 24 x 40, and cut back.
    padded = np.pad(images, [(0, 0), (0, 0), (0, 24 - crop[0]), (0, 40 - crop[1])], mode="edge")
    expected = smoothed(padded, levels)[..., : crop[0], : crop[1]]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(model.reference(images, levels), expected, rtol=0, atol=1e-6)


def test_one_that_is_told_no_level_and_what_is_kept_of_the_file(
    save_denoiser: Callable[..., Path], smoothed: Callable[..., np.ndarray]
) -> None:
    import hashlib

    path = save_denoiser(level=None)
    model = load_denoiser(path, (16, 16))
    assert (model.name, model.sha256) == ("smoother", hashlib.sha256(path.read_bytes()).hexdigest())
    images = images_of(2, 3, 16, 16)
    feeds = {IMAGES: images, LEVELS: np.full((2, 1), 0.9, np.float32)}
    (found,) = Session(model.proto, "it").feed(feeds, DENOISED)
    np.testing.assert_allclose(found, smoothed(images, [0.25, 0.25]), rtol=0, atol=1e-6)


def test_the_shipped_one_is_padded_to_what_it_says() -> None:
    model = load_denoiser("shipped", (30, 46))
    pads = {tensor.name: tensor for tensor in model.proto.graph.initializer}["denoise/pads"]
    assert onnx.numpy_helper.to_array(pads).tolist() == [0, 0, 0, 0, 0, 0, 2, 2]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"batch": 2}, "takes 2 images at a time; export it with a free batch, or with one of 1"),
    (
        {"sides": (64, 64)},
        "takes images of 64x64 px, but the views have 32x32 px; export it with free sides, or for "
        "that size",
    ),
    ({"sides": (32, 31)}, "takes images of 31x32 px, but the views have 32x32 px; export it"),
    ({"level": ["N", 5]}, "expected an ONNX denoiser with an image input (N, 3, H, W)"),
    ({"strength": -8.0}, "does not remove noise: of two drawn images with noise of level 0.25"),
]


@pytest.mark.parametrize(("options", "said"), REFUSED, ids=lambda case: "")
def test_what_does_not_fit_is_refused(
    save_denoiser: Callable[..., Path], options: dict[str, Any], said: str
) -> None:
    path = save_denoiser(**options)
    with pytest.raises(ExportError) as caught:
        load_denoiser(path, (32, 32))
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_no_model(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"there is no denoiser at .*none\.onnx; expected an ONN"):
        load_denoiser(tmp_path / "none.onnx", (32, 32))
    (tmp_path / "text.onnx").write_text("text")
    with pytest.raises(ExportError, match=r"text\.onnx is not an ONNX file"):
        load_denoiser(tmp_path / "text.onnx", (32, 32))


def one_node(node: onnx.NodeProto, *opsets: tuple[str, int]) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, "H", "W"])
    result = helper.make_tensor_value_info("clean", TensorProto.FLOAT, [None] * 4)
    return helper.make_model(
        helper.make_graph([node], "g", [value], [result]),
        opset_imports=[helper.make_opsetid(*item) for item in (("", 18), *opsets)],
        ir_version=8,
    )


def test_another_shape_and_other_operators(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    pool = helper.make_node("MaxPool", ["image"], ["clean"], kernel_shape=[2, 2], strides=[2, 2])
    onnx.save(one_node(pool), str(path))
    with pytest.raises(ExportError, match=r"turned images of shape \(1, 3, 32, 32\) into float32"):
        load_denoiser(path, (32, 32))
    gelu = helper.make_node("Gelu", ["image"], ["clean"], domain="com.microsoft")
    onnx.save(one_node(gelu, ("com.microsoft", 1)), str(path))
    with pytest.raises(
        ExportError, match=r"operators outside the ONNX standard: com\.microsoft\.G"
    ):
        load_denoiser(path, (32, 32))


def test_a_batch_that_is_mixed_up_is_refused(tmp_path: Path) -> None:
    # The mean over the batch: right for one image, wrong for two.
    nodes = [
        helper.make_node("ReduceMean", ["image", "batch"], ["mean"], keepdims=1),
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Expand", ["mean", "shape"], ["clean"]),
    ]
    model = one_node(nodes[0])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "batch"))
    path = tmp_path / "mixed.onnx"
    onnx.save(model, str(path))
    with pytest.raises(ExportError, match="does not denoise two images as it denoises each"):
        load_denoiser(path, (32, 32))
