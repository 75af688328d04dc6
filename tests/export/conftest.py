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
