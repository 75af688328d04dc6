"""The in-graph views against the float64 reference, fixed and dynamic."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.ort_session import Session
from blurvote.export.reference import build_views
from blurvote.export.view_graph import PREFIX, VIEWS, add_views
from blurvote.runtime import Defense, DefenseError

DEFENSES: list[dict[str, Any]] = [
    {},
    {"antialias": False},
    {"interpolation": "bicubic"},
    {"interpolation": "bicubic", "antialias": False},
    {"blur_at": "model", "kernel_size": 9, "sigma": 2.5, "passes": (0, 1, 4)},
    {"kernel_size": 3, "sigma": 0.6, "passes": (1, 3)},
    {"fit": "stretch", "crop": (24, 40)},
    {"fit": "stretch", "crop": (24, 40), "interpolation": "bicubic", "antialias": False},
    {"resize": 32, "crop": (30, 32)},
    {"passes": (0,)},
    {"decision": "single"},
]
SMALL = {"resize": 37, "crop": (32, 32)}
# In float32, weights, products and sums round in units of 6e-8 of values up to 2.7; measured
# 1e-6 at most for bilinear and 5e-6 for bicubic, whose lobes cancel.
TOLERANCE = 1e-5


def view_model(defense: Defense, size: tuple[int, int] | None) -> onnx.ModelProto:
    graph = GraphBuilder(PREFIX)
    add_views(graph, "frames", defense, size)
    height, width = size or ("H", "W")
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, 3])
    views = helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, ["B", 3, *defense.crop])
    model = helper.make_model(
        helper.make_graph(graph.nodes, "views", [frames], [views], graph.initializers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return model


def frames_of(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def reference(defense: Defense, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    used = slice(defense.views.start, defense.views.stop)
    return np.concatenate([build_views(defense, frame)[used] for frame in frames])


@pytest.mark.parametrize("fields", DEFENSES, ids=str)
@pytest.mark.parametrize("size", [(60, 80), (81, 47), (32, 33), (7, 9), (19, 300)], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
def test_equals_the_reference(fields: dict[str, Any], size: tuple[int, int], dynamic: bool) -> None:
    defense = Defense(**{**SMALL, **fields})
    frames = frames_of(2, *size)
    (views,) = Session(view_model(defense, None if dynamic else size), "views").run(frames)
    np.testing.assert_allclose(views, reference(defense, frames), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("size", [(375, 500), (1080, 1920)], ids=str)
def test_equals_the_reference_at_real_sizes(size: tuple[int, int], dynamic: bool) -> None:
    frames = frames_of(1, *size)
    (views,) = Session(view_model(Defense(), None if dynamic else size), "views").run(frames)
    np.testing.assert_allclose(views, reference(Defense(), frames), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("size", [None, (60, 80)], ids=["dynamic", "fixed"])
def test_is_the_same_in_another_runtime(size: tuple[int, int] | None) -> None:
    defense = Defense(**SMALL)
    frames = frames_of(1, 60, 80)
    (views,) = ReferenceEvaluator(view_model(defense, size)).run(None, {"frames": frames})
    np.testing.assert_allclose(views, reference(defense, frames), rtol=0, atol=TOLERANCE)


DYNAMIC = {
    name: Session(view_model(Defense(**SMALL, **fields), None), "views")
    for name, fields in (
        ("antialiased", {}),
        ("plain cubic", {"antialias": False, "interpolation": "bicubic"}),
    )
}


@settings(max_examples=60, deadline=None)
@given(height=st.integers(3, 150), width=st.integers(3, 150), name=st.sampled_from(list(DYNAMIC)))
def test_any_size(height: int, width: int, name: str) -> None:
    fields: dict[str, Any] = (
        {} if name == "antialiased" else {"antialias": False, "interpolation": "bicubic"}
    )
    defense = Defense(**SMALL, **fields)
    frames = frames_of(1, height, width)
    (views,) = DYNAMIC[name].run(frames)
    np.testing.assert_allclose(views, reference(defense, frames), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (2, 80)),  # not longer than the kernel's radius
        ({}, (1, 1)),
        ({"crop": (20, 90)}, (60, 80)),  # resized to 37 x 49, narrower than the crop
        ({"crop": (20, 90), "antialias": False}, (60, 80)),
    ],
)
def test_a_dynamic_frame_that_cannot_be_served_gives_nan(
    fields: dict[str, Any], size: tuple[int, int]
) -> None:
    defense = Defense(**{**SMALL, **fields})
    with pytest.raises(DefenseError):
        build_views(defense, frames_of(*size))
    (views,) = Session(view_model(defense, None), "views").run(frames_of(1, *size))
    assert np.isnan(views).all()


def test_a_fixed_size_that_cannot_be_served_is_refused() -> None:
    with pytest.raises(DefenseError, match="frames of 80x2 px"):
        view_model(Defense(**SMALL), (2, 80))


def test_a_fixed_frame_is_cut_to_what_the_crop_needs() -> None:
    model = view_model(Defense(), (1080, 1920))
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    # 224 of 256 rows: 945 of 1080, and the filter's and the blur's reach on both sides.
    rows, columns = shapes[f"{PREFIX}row_matrix"], shapes[f"{PREFIX}column_matrices"]
    assert rows[0] == 3 * 224
    assert 945 <= rows[1] <= 945 + 2 * (5 + 4)
    assert columns[:1] == (3,)
    assert columns[2] == 224
    assert 945 <= columns[1] <= 945 + 2 * (5 + 4)


@pytest.mark.parametrize("size", [None, (60, 80)])
def test_needs_no_resize_operator(size: tuple[int, int] | None) -> None:
    operators = {node.op_type for node in view_model(Defense(**SMALL), size).graph.node}
    assert "Resize" not in operators
    assert "MatMul" in operators
