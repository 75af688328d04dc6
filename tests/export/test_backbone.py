"""Classifiers of many forms, as backbones; and those that are refused, with their reasons."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto

from blurvote.export.backbone import logit_tolerance, normalise
from blurvote.export.classifier import ModelOptions
from blurvote.export.onnx_models import load_onnx
from blurvote.export.ort_session import Session
from blurvote.runtime import ExportError

CASES: list[tuple[str, dict[str, Any], ModelOptions, tuple[str, ...]]] = [
    ("usual", {}, ModelOptions(), ()),
    ("fixed batch, Flatten", {"batch": 1}, ModelOptions(), ("batch fixed to 1 made dynamic",)),
    (
        "fixed batch, Reshape",
        {"batch": 1, "flatten": "Reshape"},
        ModelOptions(),
        ("batch fixed to 1 made dynamic",),
    ),
    (
        "fixed batch, Reshape -1",
        {"batch": 1, "flatten": "Reshape -1"},
        ModelOptions(),
        ("batch fixed to 1 made dynamic",),
    ),
    (
        "batch of 4",
        {"batch": 4, "flatten": "Reshape"},
        ModelOptions(),
        ("batch fixed to 4 made dynamic",),
    ),
    (
        "channels last",
        {"layout": "nhwc"},
        ModelOptions(),
        ("views transposed to the model's channels-last layout",),
    ),
    (
        "channels last, said",
        {"layout": "nhwc"},
        ModelOptions(layout="nhwc"),
        ("views transposed to the model's channels-last layout",),
    ),
    ("BGR", {}, ModelOptions(channels="bgr"), ("channels reversed to the model's B, G, R",)),
    (
        "softmax",
        {"tail": "Softmax"},
        ModelOptions(),
        ("probabilities turned into logits by their logarithm",),
    ),
    (
        "softmax, said",
        {"tail": "Softmax"},
        ModelOptions(output="probabilities"),
        ("probabilities turned into logits by their logarithm",),
    ),
    ("softmax, taken as logits", {"tail": "Softmax"}, ModelOptions(output="logits"), ()),
    ("log-softmax", {"tail": "LogSoftmax"}, ModelOptions(), ()),
    ("trailing ones", {"flatten": "none"}, ModelOptions(), ()),
    (
        "float16",
        {"element": TensorProto.FLOAT16},
        ModelOptions(),
        ("views cast to the model's float16",),
    ),
    ("two outputs", {"outputs": 2}, ModelOptions(output_name="y"), ()),
    ("opset 11", {"opset": 11, "batch": 1}, ModelOptions(), ("batch fixed to 1 made dynamic",)),
    ("dynamic size", {"size": "S"}, ModelOptions(), ()),
    (
        "all at once",
        {"layout": "nhwc", "batch": 2, "flatten": "Reshape -1", "tail": "Softmax"},
        ModelOptions(channels="bgr"),
        (
            "batch fixed to 2 made dynamic",
            "channels reversed to the model's B, G, R",
            "views transposed to the model's channels-last layout",
            "probabilities turned into logits by their logarithm",
        ),
    ),
]


@pytest.mark.parametrize(
    ("model", "options", "adaptations"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_computes_what_the_model_computes(
    save_model: Callable[..., Path],
    model: dict[str, Any],
    options: ModelOptions,
    adaptations: tuple[str, ...],
) -> None:
    path = save_model(**model)
    backbone = normalise(load_onnx(path), options, None)
    assert backbone.adaptations == adaptations
    assert backbone.classes == 5
    crop = 224 if model.get("size") == "S" else 32
    assert backbone.crop == (crop, crop)

    views = np.random.default_rng(3).normal(0, 1, (3, 3, crop, crop)).astype(np.float32)
    (logits,) = Session(backbone.proto, "backbone").run(views)
    # The oracle calls the file as its owner would, with NumPy doing what the options say.
    given = views[:, ::-1] if options.channels == "bgr" else views
    given = given.transpose(0, 2, 3, 1) if model.get("layout") == "nhwc" else given
    half = model.get("element") == TensorProto.FLOAT16
    given = given.astype(np.float16 if half else np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    count = model.get("batch", 1) if isinstance(model.get("batch", 1), int) else 1
    expected = (
        np.concatenate(
            [session.run(["y"], {"x": np.stack([view] * count)})[0][:1] for view in given]
        )
        .reshape(3, 5)
        .astype(np.float64)
    )
    if model.get("tail") == "Softmax" and options.output != "logits":
        expected = np.log(expected + 1e-37)
    span = np.ptp(expected)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=(1e-2 if half else 1e-5) * span)
    np.testing.assert_allclose(backbone.reference(views), expected, rtol=0, atol=1e-6 * span)


def test_has_the_promised_interface_and_names(save_model: Callable[..., Path]) -> None:
    path = save_model(batch=1, layout="nhwc", tail="Softmax")
    proto = normalise(load_onnx(path), ModelOptions(channels="bgr"), None).proto
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (views,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (views.name, views.shape, views.type) == ("views", ["B", 3, 32, 32], "tensor(float)")
    assert (logits.name, logits.shape, logits.type) == ("logits", ["B", 5], "tensor(float)")
    names = [node.name for node in proto.graph.node]
    names += [tensor.name for tensor in proto.graph.initializer]
    assert all(name.startswith(("backbone/", "adapt/")) for name in names)
    assert len(set(names)) == len(names)


def test_drops_what_the_classes_do_not_need(save_model: Callable[..., Path]) -> None:
    path = save_model(outputs=2)
    model = onnx.load(path)
    model.graph.node.append(onnx.helper.make_node("Relu", ["features"], ["unused"], name="waste"))
    model.graph.node[0].doc_string = "/home/somebody/secret.py"
    onnx.save(model, str(path))
    proto = normalise(load_onnx(path), ModelOptions(output_name="y"), None).proto
    assert [value.name for value in proto.graph.output] == ["logits"]
    assert not any("waste" in node.name for node in proto.graph.node)
    assert b"secret" not in proto.SerializeToString()


REFUSED: list[tuple[dict[str, Any], ModelOptions, tuple[int, int] | None, str]] = [
    (
        {"outputs": 2},
        ModelOptions(),
        None,
        "{path} has 2 outputs (y float (N, 5), features float (N, 8, ?, ?)); choose the one that "
        "holds the classes with --output-name",
    ),
    (
        {},
        ModelOptions(output_name="z"),
        None,
        "{path} has no output called 'z'; it has y float (N, 5)",
    ),
    (
        {},
        ModelOptions(),
        (64, 64),
        "{path} takes pictures of 32x32 px, not 64x64 px; leave --crop out, or export the model "
        "for that size",
    ),
    (
        {},
        ModelOptions(layout="nhwc"),
        None,
        "{path} takes float (N, 3, 32, 32): 32 channels as nhwc; expected 3. Another order is "
        "chosen with --layout",
    ),
    (
        {"operator": ("com.example", "Relu6")},
        ModelOptions(),
        None,
        "{path} uses operators outside the ONNX standard: com.example.Relu6. A guard must run "
        "anywhere; export the model without them (for ONNX Runtime's own optimisations: from the "
        "file before it was optimised)",
    ),
]


@pytest.mark.parametrize(("model", "options", "crop", "text"), REFUSED, ids=lambda case: "")
def test_refuses(
    save_model: Callable[..., Path],
    model: dict[str, Any],
    options: ModelOptions,
    crop: tuple[int, int] | None,
    text: str,
) -> None:
    path = save_model(**model)
    with pytest.raises(ExportError) as caught:
        normalise(load_onnx(path), options, crop)
    assert str(caught.value) == text.format(path=path)


def edited(path: Path, edit: Callable[[onnx.ModelProto], None]) -> Path:
    model = onnx.load(path)
    edit(model)
    onnx.save(model, str(path))
    return path


def two_inputs(model: onnx.ModelProto) -> None:
    model.graph.input.append(onnx.helper.make_tensor_value_info("s", TensorProto.FLOAT, [1]))


def bytes_in(model: onnx.ModelProto) -> None:
    """uint8 pixels, cast inside the model."""
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    model.graph.node.insert(0, onnx.helper.make_node("Cast", ["x"], ["floats"], to=1))
    model.graph.node[1].input[0] = "floats"


def rows_in(model: onnx.ModelProto) -> None:
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Relu", ["x"], ["y"]))
    del model.graph.input[0].type.tensor_type.shape.dim[2:]


def grey_in(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1
    kernel = onnx.numpy_helper.to_array(model.graph.initializer[0])[:, :1]
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(kernel, "kernel"))


def picture_out(model: onnx.ModelProto) -> None:
    del model.graph.node[2:]
    del model.graph.output[:]
    model.graph.output.append(
        onnx.helper.make_tensor_value_info("bent", TensorProto.FLOAT, ["N", 8, 15, 15])
    )


def one_class(model: onnx.ModelProto) -> None:
    linear = onnx.numpy_helper.to_array(model.graph.initializer[1])[:, :1]
    model.graph.initializer[1].CopyFrom(onnx.numpy_helper.from_array(linear, "linear"))
    model.graph.output[0].type.tensor_type.shape.dim[1].Clear()


def batch_in_sums(model: onnx.ModelProto) -> None:
    """Scores that depend on the other pictures of the batch."""
    model.graph.node.append(onnx.helper.make_node("ReduceSum", ["mixed_in"], ["mixed"], keepdims=1))
    model.graph.node.append(onnx.helper.make_node("Add", ["mixed_in", "mixed"], ["y"]))
    model.graph.node[-3].output[0] = "mixed_in"


EDITED: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (
        two_inputs,
        "{path} has 2 inputs (x float (N, 3, 32, 32), s float (1)); expected one, the "
        "pictures. Make the others constants in the model",
    ),
    (
        bytes_in,
        "{path} takes uint8 (N, 3, 32, 32); a guard feeds it normalised float views. Export "
        "the model with a float input, before its quantisation or scaling node",
    ),
    (
        rows_in,
        "{path} takes float (N, 3); expected pictures: a float tensor (N, 3, H, W) or (N, H, W, 3)",
    ),
    (
        grey_in,
        "{path} takes float (N, 1, 32, 32); expected 3 colour channels, as (N, 3, H, W) or "
        "(N, H, W, 3)",
    ),
    (
        picture_out,
        "{path} gives float (N, 8, 15, 15); expected the scores of a classifier: float (N, C)",
    ),
    (
        one_class,
        "{path} gives an output of shape (1, 1) for 1 picture(s); expected the scores of a "
        "classifier: (N, C) with C >= 2",
    ),
    (
        batch_in_sums,
        "{path} is dynamic in its batch dimension, but cannot run several views at "
        "once: in a batch of 2, logits differ by ",
    ),
]


@pytest.mark.parametrize(("edit", "text"), EDITED, ids=[case[0].__name__ for case in EDITED])
def test_refuses_models_that_are_no_backbone(
    save_model: Callable[..., Path], edit: Callable[[onnx.ModelProto], None], text: str
) -> None:
    path = edited(save_model(), edit)
    with pytest.raises(ExportError) as caught:
        normalise(load_onnx(path), ModelOptions(), None)
    assert str(caught.value).startswith(text.format(path=path))


def test_refuses_a_fixed_batch_that_cannot_be_freed(save_model: Callable[..., Path]) -> None:
    def gather_first(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(np.array([0], np.int64), "first")
        )
        model.graph.node.append(onnx.helper.make_node("Gather", ["all", "first"], ["y"], axis=0))
        model.graph.node[-2].output[0] = "all"

    path = edited(save_model(batch=1), gather_first)
    with pytest.raises(ExportError) as caught:
        normalise(load_onnx(path), ModelOptions(), None)
    assert str(caught.value) == (
        f"{path} has a batch fixed to 1, which cannot be made dynamic: 2 views give an output of "
        "shape (1, 5). Export the model with a dynamic batch dimension"
    )


def test_refuses_logits_that_are_called_probabilities(save_model: Callable[..., Path]) -> None:
    path = save_model()
    with pytest.raises(
        ExportError,
        match=r"does not give probabilities: on random input .*"
        r"Use --output logits",
    ):
        normalise(load_onnx(path), ModelOptions(output="probabilities"), None)


def test_refuses_invalid_onnx(save_model: Callable[..., Path]) -> None:
    def dangle(model: onnx.ModelProto) -> None:
        model.graph.node[0].input[0] = "nowhere"

    path = edited(save_model(), dangle)
    with pytest.raises(ExportError, match=r"is not a valid ONNX model: "):
        normalise(load_onnx(path), ModelOptions(), None)


def test_tolerance_follows_the_arithmetic(save_model: Callable[..., Path]) -> None:
    usual, half = onnx.load(save_model()), onnx.load(save_model(element=TensorProto.FLOAT16))
    quantised = onnx.load(save_model())
    quantised.graph.node.append(
        onnx.helper.make_node("DynamicQuantizeLinear", ["features"], ["a", "b", "c"])
    )
    assert [logit_tolerance(model) for model in (usual, half, quantised)] == [1e-3, 1e-2, 5e-2]
