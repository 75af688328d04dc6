"""Passes over whole graphs, each on the smallest graph that shows it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.graph_passes import (
    add_prefix,
    deduplicate_initializers,
    ensure_prefix,
    keep_reachable,
    make_batch_dynamic,
    strip_notes,
)


def model_of(
    nodes: list[onnx.NodeProto], tensors: dict[str, np.ndarray], batch: int | str = "N"
) -> onnx.ModelProto:
    """`x` (batch, 4) to `y`; not checked, so that shapes may be left out."""
    return helper.make_model(
        helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
    )


def test_equal_initializers_become_one_but_the_one_kept_apart() -> None:
    one = np.ones(4, np.float32)
    model = model_of(
        [
            helper.make_node("Add", ["x", "a"], ["p"]),
            helper.make_node("Mul", ["p", "b"], ["q"]),
            helper.make_node("Add", ["q", "c"], ["r"]),
            helper.make_node("Sub", ["r", "d"], ["y"]),
        ],
        {"a": one, "b": one, "c": one.astype(np.float64), "d": one},
    )
    deduplicate_initializers(model, apart="d")
    assert [tensor.name for tensor in model.graph.initializer] == ["a", "c", "d"]
    assert [node.input[1] for node in model.graph.node] == ["a", "a", "c", "d"]


def test_values_that_a_subgraph_captures_stay_and_are_renamed() -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["outer"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model = model_of(
        [
            helper.make_node("Relu", ["x"], ["outer"]),
            helper.make_node("Relu", ["x"], ["waste"]),
            helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch),
        ],
        {"yes": np.array(True), "unused": np.zeros(3, np.float32)},
    )
    keep_reachable(model, "y")
    assert [node.op_type for node in model.graph.node] == ["Relu", "If"]
    assert [tensor.name for tensor in model.graph.initializer] == ["yes"]
    prefixed = add_prefix(model, "p/")
    captured = prefixed.graph.node[1].attribute[0].g.node[0].input[0]
    assert captured == prefixed.graph.node[0].output[0] == "p/outer"
    assert [node.name for node in prefixed.graph.node] == ["p/Relu_1", "p/If_1"]


def test_initializers_that_are_listed_as_inputs_are_no_longer() -> None:
    model = model_of([helper.make_node("Add", ["x", "w"], ["y"])], {"w": np.ones(4, np.float32)})
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    keep_reachable(model, "y")
    assert [value.name for value in model.graph.input] == ["x"]
    assert [tensor.name for tensor in model.graph.initializer] == ["w"]


@pytest.mark.parametrize(
    ("shape", "allowzero", "freed"),
    [
        ([2, 4], 0, [-1, 4]),
        ([2, -1], 0, [0, -1]),
        ([2, -1], 1, [0, -1]),
        ([2, 0, -1], 0, [2, 0, -1]),
        ([4, 2], 0, [4, 2]),  # does not begin with the batch
        ([2], 0, [2]),
    ],
)
def test_reshapes_that_repeat_the_batch(shape: list[int], allowzero: int, freed: list[int]) -> None:
    model = model_of(
        [
            helper.make_node("Reshape", ["x", "shape"], ["y"], allowzero=allowzero),
            # Weights of the same shape are no pictures, and are left alone.
            helper.make_node("Reshape", ["weights", "shape"], ["w"], allowzero=allowzero),
        ],
        {"shape": np.array(shape, np.int64), "weights": np.zeros(8, np.float32)},
        batch=2,
    )
    make_batch_dynamic(model)
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    pictures, weights = model.graph.node
    assert tensors[pictures.input[1]].tolist() == freed
    assert tensors[weights.input[1]].tolist() == shape
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "B"
    if freed != shape and freed[0] == 0:
        assert not any(item.name == "allowzero" for item in pictures.attribute)


def test_notes_are_stripped_everywhere() -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"], doc_string="note")], {})
    model.metadata_props.add(key="k", value="note")
    model.graph.node[0].metadata_props.add(key="k", value="note")
    model.graph.input[0].doc_string = "note"
    model.doc_string = model.graph.doc_string = "note"
    strip_notes(model)
    assert b"note" not in model.SerializeToString()


def test_the_builder_stores_equal_constants_once() -> None:
    graph = GraphBuilder("p/")
    assert graph.constant("a", [1, 2]) == "p/a"
    assert graph.constant("b", np.array([1, 2], np.int64)) == "p/a"
    assert graph.constant("c", np.array([1, 2], np.int32)) == "p/c"
    assert graph.constant("d", np.array([[1, 2]], np.int64)) == "p/d"
    assert graph.op("Relu", ["x"], "bent") == "p/bent"
    assert graph.op("Relu", ["x"], "last", output="y") == "y"
    assert [tensor.name for tensor in graph.initializers] == ["p/a", "p/c", "p/d"]
    assert [node.name for node in graph.nodes] == ["p/bent", "p/last"]
    with pytest.raises(AssertionError, match="two steps are called p/bent"):
        graph.op("Relu", ["x"], "bent")


def test_only_names_without_a_prefix_get_one() -> None:
    branch = helper.make_graph(
        [helper.make_node("Add", ["b/p", "a"], ["inner"])],
        "branch",
        [],
        [helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)],
    )
    model = model_of(
        [
            helper.make_node("Add", ["x", "a"], ["b/p"], name="adapt/first"),
            helper.make_node("If", ["flag", ""], ["y"], then_branch=branch, else_branch=branch),
        ],
        {"a": np.ones(4, np.float32), "flag": np.array(True)},
    )
    ensure_prefix(model, ("b/", "adapt/"), {"x", "y"})
    first, second = model.graph.node
    assert (first.name, second.name) == ("adapt/first", "b/If_1")
    assert (list(first.input), list(first.output)) == (["x", "b/a"], ["b/p"])
    assert (list(second.input), list(second.output)) == (["b/flag", ""], ["y"])
    assert [tensor.name for tensor in model.graph.initializer] == ["b/a", "b/flag"]
    for attribute in second.attribute:
        assert list(attribute.g.node[0].input) == ["b/p", "b/a"]
        assert attribute.g.node[0].output[0] == attribute.g.output[0].name == "b/inner"
