"""What onnx2torch lacks, against ONNX Runtime on the same graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.benchmarks import onnx2torch_gaps

onnx2torch = pytest.importorskip("onnx2torch")
torch = pytest.importorskip("torch")

VALUES = np.random.default_rng(0).normal(size=(2, 3, 5, 7)).astype(np.float32)


@pytest.fixture(autouse=True)
def registered() -> None:
    onnx2torch_gaps.register()
    onnx2torch_gaps.register()  # again, as every guard that is loaded does


def graph(
    operator: str,
    opset: int,
    constants: dict[str, np.ndarray],
    inputs: list[str],
    rank: int = 4,
    **attributes: Any,
) -> onnx.ModelProto:
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(operator, inputs, ["y"], **attributes)],
            "one",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, VALUES.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model


def both(model: onnx.ModelProto) -> tuple[np.ndarray, np.ndarray]:
    """What ONNX Runtime and the converted module answer."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    module = onnx2torch.convert(onnx2torch_gaps.without_allowzero(model)).eval()
    with torch.no_grad():
        found = module(torch.from_numpy(VALUES)).numpy()
    return session.run(None, {"x": VALUES})[0], found


@pytest.mark.parametrize("axes", [[2, 3], [-1], [1], [-2, -1], [0, 2]])
@pytest.mark.parametrize("keep", [0, 1, None])
def test_reduce_mean(axes: list[int], keep: int | None) -> None:
    attributes = {} if keep is None else {"keepdims": keep}
    constants = {"axes": np.array(axes, np.int64)}
    rank = 4 - len(axes) if keep == 0 else 4
    expected, found = both(graph("ReduceMean", 18, constants, ["x", "axes"], rank, **attributes))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [18, 19, 21])
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(opset: int, mode: str) -> None:
    constants = {"pads": np.array([0, 0, 1, 2, 0, 0, 3, 1], np.int64)}
    inputs = ["x", "pads"]
    if mode == "constant":
        constants["value"] = np.array(-2.5, np.float32)
        inputs.append("value")
    expected, found = both(graph("Pad", opset, constants, inputs, mode=mode))
    assert found.shape == (2, 3, 9, 10)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("allowzero", [0, 1])
def test_reshape_without_zeros(allowzero: int) -> None:
    constants = {"shape": np.array([2, -1, 7], np.int64)}
    expected, found = both(graph("Reshape", 18, constants, ["x", "shape"], 3, allowzero=allowzero))
    assert found.shape == (2, 15, 7)
    np.testing.assert_array_equal(found, expected)


def test_a_zero_in_a_shape_keeps_its_meaning() -> None:
    constants = {"shape": np.array([0, -1], np.int64)}  # 0 copies: the batch
    model = graph("Reshape", 18, constants, ["x", "shape"], 2, allowzero=0)
    expected, found = both(model)
    assert found.shape == expected.shape == (2, 105)
    # Where a zero is allowed, the attribute says what it means, and stays.
    model = graph(
        "Reshape", 18, {"shape": np.array([0, 3], np.int64)}, ["x", "shape"], 2, allowzero=1
    )
    (node,) = onnx2torch_gaps.without_allowzero(model).graph.node
    assert [attribute.name for attribute in node.attribute] == ["allowzero"]


def test_what_stays_a_gap_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="ReduceMean without axes"):
        onnx2torch.convert(graph("ReduceMean", 18, {}, ["x"]))
    constants = {"pads": np.array([1, 1], np.int64), "axes": np.array([2], np.int64)}
    with pytest.raises(NotImplementedError, match="Pad of some axes"):
        onnx2torch.convert(graph("Pad", 18, constants, ["x", "pads", "", "axes"]))
