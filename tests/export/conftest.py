"""Small classifiers that the export tests turn into guards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

CLASSES = 5


def small_model(
    *,
    layout: str = "nchw",
    batch: int | str = "N",
    size: int | str = 32,
    element: int = TensorProto.FLOAT,
    flatten: str = "Flatten",
    tail: str = "",
    opset: int = 18,
    outputs: int = 1,
    operator: tuple[str, str] = ("", "Relu"),
    metadata: dict[str, str] | None = None,
) -> onnx.ModelProto:
    """Convolution, pooling and a linear layer: `x` to `y` (N, 5), seeded weights.

    Args:
        flatten: "Flatten", "Reshape" (to a shape with the batch in it), "Reshape -1" (likewise,
            with a -1) or "none", which gives (N, C, 1, 1).
        tail: an operator after the scores, such as "Softmax".
        outputs: 2 adds an output called `features`.
    """
    generator = np.random.default_rng(0)
    dtype = helper.tensor_dtype_to_np_dtype(element)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(generator.normal(0, 1, shape).astype(dtype), name)

    last = CLASSES if flatten == "none" else 8
    tensors = [weights("kernel", last, 3, 3, 3), weights("linear", 8, CLASSES)]
    nodes = []
    value = "x"
    if layout == "nhwc":
        nodes.append(helper.make_node("Transpose", ["x"], ["planes"], perm=[0, 3, 1, 2]))
        value = "planes"
    nodes += [
        helper.make_node("Conv", [value, "kernel"], ["features"], strides=[2, 2]),
        helper.make_node(operator[1], ["features"], ["bent"], domain=operator[0]),
        helper.make_node("GlobalAveragePool", ["bent"], ["pooled"]),
    ]
    value = "pooled"
    if flatten != "none":
        if flatten == "Flatten":
            nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
        else:
            shape = [batch if isinstance(batch, int) else 0, -1 if "-1" in flatten else 8]
            tensors.append(numpy_helper.from_array(np.array(shape, np.int64), "shape"))
            nodes.append(helper.make_node("Reshape", ["pooled", "shape"], ["flat"]))
        nodes.append(helper.make_node("MatMul", ["flat", "linear"], ["scores"]))
        value = "scores"
    else:
        tensors.pop()
    if tail:
        nodes.append(helper.make_node(tail, [value], ["tail"]))
        value = "tail"
    nodes[-1].output[0] = "y"
    sides = [size, size]
    shape_in = [batch, 3, *sides] if layout == "nchw" else [batch, *sides, 3]
    shape_out = [batch, CLASSES, 1, 1] if flatten == "none" else [batch, CLASSES]
    results = [helper.make_tensor_value_info("y", element, shape_out)]
    if outputs == 2:
        features = [batch, 8, None, None]
        results.append(helper.make_tensor_value_info("features", element, features))
    opsets = [helper.make_opsetid("", opset)]
    if operator[0]:
        opsets.append(helper.make_opsetid(operator[0], 1))
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info("x", element, shape_in)],
            results,
            tensors,
        ),
        opset_imports=opsets,
        ir_version=8,
    )
    helper.set_model_props(model, metadata or {})
    return model


@pytest.fixture
def save_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes `small_model(**options)` and returns its path."""

    def save(name: str = "model.onnx", **options: Any) -> Path:
        path = tmp_path / name
        onnx.save(small_model(**options), str(path))
        return path

    return save


def smoother(
    *,
    level: list[Any] | None = None,
    batch: int | str = "N",
    sides: tuple[int | str, int | str] = ("H", "W"),
    opset: int = 18,
    strength: float = 2.0,
) -> onnx.ModelProto:
    """A denoiser that needs no training: `image` to `clean`, `image + a (mean of 3x3 - image)`.

    `a` is `strength` times the noise level; without a level input it is `strength` / 4.

    Args:
        level: shape of the input that tells the noise level; None for no such input.
    """
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 3, *sides])
    inputs = [image]
    constants = [numpy_helper.from_array(np.float32(strength), "strength")]
    pool = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 0}
    nodes = [
        helper.make_node("AveragePool", ["image"], ["mean"], **pool),
        helper.make_node("Sub", ["mean", "image"], ["change"]),
    ]
    if level is None:
        quarter = numpy_helper.from_array(np.float32(0.25), "amount")
        constants.append(quarter)
    else:
        inputs.append(helper.make_tensor_value_info("level", TensorProto.FLOAT, level))
        rank = np.array([1, 1, 1, 1] if level in ([], [1]) else [-1, 1, 1, 1], np.int64)
        if len(level) == 4:
            nodes.append(helper.make_node("Identity", ["level"], ["amount"]))
        else:
            constants.append(numpy_helper.from_array(rank, "rank"))
            nodes.append(helper.make_node("Reshape", ["level", "rank"], ["amount"]))
    nodes += [
        helper.make_node("Mul", ["amount", "strength"], ["part"]),
        helper.make_node("Mul", ["part", "change"], ["step"]),
        helper.make_node("Add", ["image", "step"], ["clean"]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "smoother",
            inputs,
            [helper.make_tensor_value_info("clean", TensorProto.FLOAT, [batch, 3, *sides])],
            constants,
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def smooth(images: np.ndarray, levels: np.ndarray, strength: float = 2.0) -> np.ndarray:
    """What `smoother` computes, in float64: `(B, 3, h, w)` and `(B,)`."""
    images = np.asarray(images, np.float64)
    padded = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    inside = np.pad(np.ones(images.shape[2:]), 1)
    height, width = images.shape[2:]
    windows = [(y, x) for y in range(3) for x in range(3)]
    total = sum(padded[..., y : y + height, x : x + width] for y, x in windows)
    count = sum(inside[y : y + height, x : x + width] for y, x in windows)
    amount = strength * np.asarray(levels, np.float64)[:, None, None, None]
    return np.asarray(images + amount * (total / count - images))


@pytest.fixture
def save_denoiser(tmp_path: Path) -> Callable[..., Path]:
    """Writes `smoother(**options)` and returns its path."""

    def save(name: str = "smoother.onnx", **options: Any) -> Path:
        path = tmp_path / name
        onnx.save(smoother(**{"level": ["N", 1], **options}), str(path))
        return path

    return save


@pytest.fixture
def smoothed() -> Callable[..., np.ndarray]:
    """`smooth`, the denoiser that `save_denoiser` writes, in float64."""
    return smooth
