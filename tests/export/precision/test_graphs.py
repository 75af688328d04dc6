"""What the conversions leave in the graph: types, places of Q/DQ pairs, and values."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.export.ort_session import Session
from blurvote.export.precision.folding import fold
from blurvote.export.precision.half import to_half
from blurvote.export.precision.quantise import OP_TYPES, Quantiser
from blurvote.export.precision.ranges import collect, ranges_by
from blurvote.runtime import ExportError


def network(*, gain: float = 1.0, tail: str = "", weight: float = 0.0) -> onnx.ModelProto:
    """A small residual network in the backbone's form: (B, 3, 12, 12) to (B, 5).

    Args:
        gain: of a Mul in the middle, undone by another.
        tail: `"log"` ends it as probabilities turned into logits.
        weight: not 0: one weight of the first convolution.
    """
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return (generator.normal(0, 1, shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    first = draw(8, 3, 3, 3)
    if weight:
        first[0, 0, 0, 0] = weight
    tensors = {
        "backbone/w1": first,
        "backbone/b1": draw(8),
        "backbone/w2": draw(8, 1, 3, 3),
        "backbone/w3": draw(8, 5),
        "backbone/gain": np.array(gain, np.float32),
        "backbone/loss": np.array(1 / gain, np.float32),
        "adapt/floor": np.array(1e-37, np.float32),
    }
    same = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
        ("Conv", ["views", "backbone/w1", "backbone/b1"], "backbone/c1", same),
        ("Relu", ["backbone/c1"], "backbone/r1", {}),
        ("Mul", ["backbone/r1", "backbone/gain"], "backbone/g1", {}),
        ("Mul", ["backbone/g1", "backbone/loss"], "backbone/g2", {}),
        ("Conv", ["backbone/g2", "backbone/w2"], "backbone/c2", {**same, "group": 8}),
        ("Add", ["backbone/c2", "backbone/g2"], "backbone/sum", {}),
        ("GlobalAveragePool", ["backbone/sum"], "backbone/pool", {}),
        ("Flatten", ["backbone/pool"], "backbone/flat", {}),
        ("MatMul", ["backbone/flat", "backbone/w3"], "backbone/scores", {}),
    ]
    if tail:
        steps += [
            ("Softmax", ["backbone/scores"], "backbone/shares", {}),
            ("Add", ["backbone/shares", "adapt/floor"], "adapt/above", {}),
            ("Log", ["adapt/above"], "logits", {}),
        ]
    nodes = [
        helper.make_node(kind, inputs, [output], name=output, **attributes)
        for kind, inputs, output, attributes in steps
    ]
    if tail:
        nodes[-1].name = "adapt/log"
    nodes[-1].output[0] = "logits"
    return helper.make_model(
        helper.make_graph(
            nodes,
            "backbone",
            [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 12, 12])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 5])],
            [numpy_helper.from_array(value, name) for name, value in tensors.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def quiet(line: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def batches() -> list[np.ndarray]:
    return list(np.random.default_rng(2).standard_normal((6, 3, 3, 12, 12)).astype(np.float32))


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    graph = inferred.graph
    return {
        value.name: value.type.tensor_type.elem_type
        for value in (*graph.input, *graph.value_info, *graph.output)
    }


def test_fp16_is_typed_with_one_cast_at_each_end(batches: list[np.ndarray]) -> None:
    model, kept = to_half(fold(network()), batches, quiet)
    onnx.checker.check_model(model, full_check=True)
    assert kept == ()
    assert Counter(node.op_type for node in model.graph.node)["Cast"] == 2
    types = element_types(model)
    assert {name for name, kind in types.items() if kind == TensorProto.FLOAT} == {
        "views",
        "logits",
    }
    floats = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert floats == []
    (expected,) = Session(network(), "fp32").run(batches[0])
    (got,) = Session(model, "fp16").run(batches[0])
    assert got.dtype == np.float32
    assert 0 < np.abs(got - expected).max() < 5e-3 * np.ptp(expected)


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"gain": 2e4}, {"backbone/g1", "backbone/g2"}),
        ({"weight": 1e5}, {"backbone/c1", "backbone/r1"}),
    ],
)
def test_fp16_keeps_what_would_overflow_and_says_so(
    batches: list[np.ndarray], options: dict[str, float], kept: set[str]
) -> None:
    source = network(**options)  # type: ignore[arg-type]
    model, said = to_half(fold(source), batches, quiet)
    onnx.checker.check_model(model, full_check=True)
    assert kept <= set(said)
    (expected,) = Session(source, "fp32").run(batches[1])
    (got,) = Session(model, "fp16").run(batches[1])
    assert np.abs(got - expected).max() < 5e-3 * np.ptp(expected)


def test_logarithms_of_probabilities_stay_in_fp32(batches: list[np.ndarray]) -> None:
    source = network(tail="log")
    model, _ = to_half(fold(source), batches, quiet)
    types = element_types(model)
    (logarithm,) = (node for node in model.graph.node if node.op_type == "Log")
    assert types[logarithm.input[0]] == TensorProto.FLOAT
    assert TensorProto.FLOAT16 in types.values()
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    assert tensors["adapt/floor"] == np.float32(1e-37)
    (expected,) = Session(source, "fp32").run(batches[2])
    (got,) = Session(model, "fp16").run(batches[2])
    assert np.abs(got - expected).max() < 2e-2


@pytest.fixture(scope="module", params=["uint8", "int8"])
def quantised(
    request: pytest.FixtureRequest, batches: list[np.ndarray]
) -> tuple[str, Quantiser, onnx.ModelProto]:
    folded = fold(network())
    quantiser = Quantiser(folded, request.param)
    histograms = collect(folded, OP_TYPES, batches, quiet)
    return request.param, quantiser, quantiser.build(ranges_by("minmax", histograms))


def test_int8_pairs_stand_where_values_are_read(
    quantised: tuple[str, Quantiser, onnx.ModelProto],
) -> None:
    kind, _, model = quantised
    onnx.checker.check_model(model, full_check=True)
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    makers = {output: node for node in model.graph.node for output in node.output}
    wanted = np.dtype(kind)
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            zero = tensors[node.input[2]]
            assert zero.dtype == wanted
            assert zero.ndim == 0
            assert kind == "uint8" or zero == 0
            # Activation functions come first, so a convolution's own output is never rounded
            # where one follows.
            assert node.input[0] != "backbone/c1"
        if node.op_type in ("Conv", "MatMul"):
            assert makers[node.input[0]].op_type == "DequantizeLinear"
            weight = makers[node.input[1]]
            assert weight.op_type == "DequantizeLinear"
            levels, scales, zeros = (tensors[name] for name in weight.input)
            channels = levels.shape[0 if node.op_type == "Conv" else 1]
            assert levels.dtype == np.int8
            assert scales.shape == (channels,)
            assert not zeros.any()
            assert levels.min() >= -127
        if node.op_type == "Conv" and len(node.input) == 3:
            assert tensors[node.input[2]].dtype == np.float32
        if node.op_type == "Add":
            assert {makers[name].op_type for name in node.input} == {"DequantizeLinear"}
    assert makers["logits"].op_type == "MatMul"


def test_int8_weights_are_the_nearest_levels(
    quantised: tuple[str, Quantiser, onnx.ModelProto],
) -> None:
    _, _, model = quantised
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    original = {t.name: numpy_helper.to_array(t) for t in network().graph.initializer}
    for name in ("backbone/w1", "backbone/w2", "backbone/w3"):
        scales = tensors[f"{name}_scale"]
        shape = (-1, 1, 1, 1) if original[name].ndim == 4 else (1, -1)
        expected = np.clip(np.rint(original[name] / scales.reshape(shape)), -127, 127)
        got = tensors[f"{name}_quantized"].astype(np.float32)
        # A quotient near one half may round either way.
        assert (np.abs(got - expected) <= 1).all()
        assert (got != expected).mean() < 0.02


def test_int8_is_close_and_exact_where_all_is_in_float(
    quantised: tuple[str, Quantiser, onnx.ModelProto], batches: list[np.ndarray]
) -> None:
    _, quantiser, model = quantised
    (expected,) = Session(network(), "fp32").run(batches[0])
    (got,) = Session(model, "int8").run(batches[0])
    assert 0 < np.abs(got - expected).max() < 0.05 * np.ptp(expected)
    tensors = quantiser.quantised_tensors(model)
    assert "views" in tensors
    free = quantiser.with_float(model, tensors)
    onnx.checker.check_model(free, full_check=True)
    assert not {"QuantizeLinear", "DequantizeLinear"}.intersection(
        node.op_type for node in free.graph.node
    )
    (same,) = Session(free, "float").run(batches[0])
    np.testing.assert_allclose(same, expected, rtol=1e-5, atol=1e-6)
    one = quantiser.with_float(model, ["views"])
    assert sorted(quantiser.quantised_tensors(one)) == sorted(set(tensors) - {"views"})
    assert quantiser.quantised_tensors(model) == tensors  # a copy was changed


def test_what_cannot_be_converted_says_so(batches: list[np.ndarray]) -> None:
    bare = helper.make_model(
        helper.make_graph(
            [helper.make_node("Flatten", ["views"], ["logits"])],
            "bare",
            [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 2, 2])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 12])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    with pytest.raises(ExportError, match="has no convolution or matrix product with constant"):
        Quantiser(fold(bare), "uint8")
    half, _ = to_half(fold(network()), batches, quiet)
    with pytest.raises(ExportError, match=r"less than fp32 already \(float16\); --precision"):
        fold(half)
    folded = fold(network())
    ranges = ranges_by("minmax", collect(folded, OP_TYPES, batches, quiet))
    with pytest.raises(ExportError, match=r"less than fp32 already \(QuantizeLinear\)"):
        fold(Quantiser(folded, "int8").build(ranges))


def test_weights_that_are_stored_in_16_bits_are_no_fp16_model() -> None:
    model = network()
    for tensor in model.graph.initializer:
        if tensor.name == "backbone/w2":
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, "backbone/w2_stored"))
    cast = helper.make_node(
        "Cast", ["backbone/w2_stored"], ["backbone/w2"], name="backbone/cast", to=TensorProto.FLOAT
    )
    nodes = [cast, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    folded = fold(model)
    assert "Cast" not in {node.op_type for node in folded.graph.node}
