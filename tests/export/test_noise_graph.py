"""The noise estimate in the graph: against the definition, the runtime's, and the kernel's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from blurvote.export import noise_graph
from blurvote.export.axis_graph import AxisNames, add_axis, add_frame_size
from blurvote.export.denoiser.reference import noise_estimate, noise_gain
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.noise_sampling import Sampling, computed_sampling, constant_sampling
from blurvote.export.ort_session import Session
from blurvote.export.reference import view_axes, view_matrices
from blurvote.runtime import Defense
from blurvote.runtime.noise import noise_table
from blurvote.runtime.views import ViewBuilder

Pixels = NDArray[np.uint8]
Size = tuple[int, int]
NAMES = ("denoised", "single-blur", "double-blur")
DEFENSES: list[dict[str, Any]] = [
    {},
    {"antialias": False},
    {"interpolation": "bicubic"},
    {"interpolation": "bicubic", "antialias": False},
    {"fit": "stretch", "crop": (40, 72)},
    {"blur_at": "model", "kernel_size": 9, "sigma": 2.0},
]


def small(**fields: Any) -> Defense:
    return Defense(**{"resize": 72, "crop": (64, 64), "noisy_views": NAMES, **fields})


def sampling_of(graph: GraphBuilder, defense: Defense, size: Size | None) -> Sampling:
    if size is not None:
        return constant_sampling(graph, defense, size)
    frame_size = add_frame_size(graph, "frames", defense)
    axes = [
        add_axis(graph, defense, frame_size, [0], AxisNames(name, side, crop))
        for name, side, crop in (
            ("row", frame_size.height, defense.crop[0]),
            ("column", frame_size.width, defense.crop[1]),
        )
    ]
    return computed_sampling(graph, defense, *axes)


def model_of(graph: GraphBuilder, size: Size | None, outputs: dict[str, int]) -> onnx.ModelProto:
    height, width = size or ("H", "W")
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, 3])
    results = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "noise", [frames], results, graph.initializers),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    return model


def noise_model(defense: Defense, size: Size | None) -> onnx.ModelProto:
    graph = GraphBuilder(noise_graph.PREFIX)
    noise = noise_graph.add_noise(graph, "frames", defense, sampling_of(graph, defense, size))
    outputs = {noise_graph.NOISE: 1, noise.grid_level: 1, noise.is_noisy: 9}
    return model_of(graph, size, outputs)


def drawn(size: Size, sigma: float, seed: int = 0) -> Pixels:
    """Bars, a ramp and flat black, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    plane = 60 + 120 * ((x // 17 + y // 23) % 2) + 40 * x / size[1]
    plane = np.where(y < size[0] // 5, -50, plane)[..., None] + np.array([0, 15, -20])
    noisy = plane + 255 * sigma * rng.standard_normal((*size, 3))
    return np.asarray(np.clip(np.rint(noisy), 0, 255), np.uint8)


def defined(defense: Defense, frame: Pixels) -> float:
    """The level from the definition, by loops; NaN where there is none."""
    height, width = frame.shape[:2]
    axis = view_axes(defense, height, width)[0]
    _, begin, segments = ViewBuilder(defense).noise_grid(height, width)
    samples = frame.astype(int)
    sums, kept = [], []
    for i in range(4, defense.crop[0], 8):
        if height < 3:
            return math.nan
        row = ((2 * (axis.offset + i) + 1) * axis.size) // (2 * axis.resized)
        row = min(max(row, 1), height - 2)
        for segment in range(segments):
            total, saturated = 0, 0
            for x in range(begin + 1 + 32 * segment, begin + 33 + 32 * segment):
                for c in range(3):
                    window = samples[row - 1 : row + 2, x - 1 : x + 2, c]
                    mask = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])
                    total += abs(int((window * mask).sum()))
                    saturated += int(window[1, 1] in (0, 255))
            sums.append(total)
            if saturated <= 0.3 * 96:
                kept.append(total)
    if not sums:
        return math.nan
    if len(kept) < len(sums) / 10:
        kept = sums
    least = sorted(kept)[len(kept) // 4]
    reading = math.sqrt(math.pi / 2) / 6 * least / 96 / 255
    return float(np.interp(reading, *noise_table("packed")))


@pytest.mark.parametrize("fields", DEFENSES, ids=str)
@pytest.mark.parametrize("size", [(90, 121), (75, 70), (300, 240)], ids=str)
@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
def test_equals_the_definition(fields: dict[str, Any], size: Size, dynamic: bool) -> None:
    defense = small(**fields)
    frames = np.stack([drawn(size, sigma, seed) for seed, sigma in enumerate((0.0, 0.05, 0.3))])
    session = Session(noise_model(defense, None if dynamic else size), "noise")
    level, on_grid, is_noisy = session.run(frames)
    expected = [defined(defense, frame) for frame in frames]
    matrices = view_matrices(defense, *size)
    squares = [(matrix[0] ** 2).sum(axis=1).mean() for matrix in (matrices.rows, matrices.cols)]
    gain = math.sqrt(squares[0] * squares[1])
    assert expected[2] > 0.2 > 0.1 > expected[1] > 0.03  # neither of which is the table's end
    np.testing.assert_allclose(level, expected, rtol=0, atol=2e-7)
    np.testing.assert_allclose(on_grid, np.array(expected) * gain, rtol=0, atol=2e-7)
    assert is_noisy.tolist() == [level * gain >= 0.025 for level in expected]
    assert noise_gain(defense, *size) == pytest.approx(gain, rel=1e-12)
    # And what the runtime says, of which the graph knows nothing.
    assert [noise_estimate(defense, frame) for frame in frames] == pytest.approx(expected, abs=1e-9)
    builder = ViewBuilder(defense)
    out = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
    kernels = [builder.build_noise(frame, out=out) for frame in frames]
    assert kernels == pytest.approx(expected, abs=1e-9)
    assert builder.noise_gain(*size) == pytest.approx(gain, rel=1e-6)


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("size", [(2, 300), (80, 20), (3, 200)], ids=str)
def test_frames_without_a_level_are_quiet(size: Size, dynamic: bool) -> None:
    defense = small(fit="stretch", crop=(16, 16), passes=(0,), noisy_views=("denoised",))
    frames = drawn(size, 0.3)[None]
    model = noise_model(defense, None if dynamic else size)
    level, _, is_noisy = Session(model, "noise").run(frames)
    expected = defined(defense, frames[0])
    assert np.isnan(expected) == (size != (3, 200))
    np.testing.assert_allclose(level, [expected], rtol=0, atol=2e-7)
    assert is_noisy.tolist() == [not math.isnan(expected)]


def test_saturated_segments_do_not_count_unless_nearly_all_are() -> None:
    defense, size = small(), (96, 128)
    clipped = drawn(size, 0.1)
    clipped[: 3 * size[0] // 4] = 255
    nearly_all = np.full_like(clipped, 255)
    nearly_all[-20:, :40] = drawn(size, 0.1)[-20:, :40]
    frames = np.stack([clipped, nearly_all, np.zeros_like(clipped)])
    level, *_ = Session(noise_model(defense, size), "noise").run(frames)
    expected = [defined(defense, frame) for frame in frames]
    assert expected[0] > 0.05 > expected[1] == expected[2]
    np.testing.assert_allclose(level, expected, rtol=0, atol=2e-7)


def test_another_runtime_says_the_same() -> None:
    defense, size = small(), (90, 121)
    frames = np.stack([drawn(size, sigma) for sigma in (0.02, 0.2)])
    for model in (noise_model(defense, size), noise_model(defense, None)):
        level = ReferenceEvaluator(model).run(None, {"frames": frames})[0]
        expected = [defined(defense, frame) for frame in frames]
        np.testing.assert_allclose(level, expected, rtol=0, atol=2e-7)


def test_the_table_is_read_at_its_knots_between_and_beyond() -> None:
    readings, levels = (np.array(values) for values in noise_table("packed"))
    wanted = np.concatenate([readings, (readings[1:] + readings[:-1]) / 2, [0.0, 0.9]])
    graph = GraphBuilder("")
    result = noise_graph._interpolate(graph, "readings")
    value = helper.make_tensor_value_info("readings", TensorProto.FLOAT, ["N"])
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "table",
            [value],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, ["N"])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    (found,) = Session(model, "table").run(wanted.astype(np.float32))
    np.testing.assert_allclose(found, np.interp(wanted, readings, levels), rtol=0, atol=2e-7)


@pytest.mark.parametrize("fields", DEFENSES, ids=str)
def test_frames_of_any_size_are_sampled_where_the_kernel_samples_them(
    fields: dict[str, Any],
) -> None:
    defense = small(**fields)
    graph = GraphBuilder(noise_graph.PREFIX)
    where = sampling_of(graph, defense, None)
    outputs = {where.rows: 7, where.columns: 7, where.sampled: 9, where.gain: 1}
    session = Session(model_of(graph, None, outputs), "sampling")
    builder = ViewBuilder(defense)
    sizes = [(64, n) for n in range(64, 80)] + [(72 * k, 72 * k + k) for k in range(1, 9)]
    sizes += [(n, 2 * n + 7) for n in range(30, 1100, 61)]
    for size in sizes:
        frame = np.zeros((1, *size, 3), np.uint8)
        rows, columns, sampled, gain = session.run(frame)
        expected_rows, begin, segments = builder.noise_grid(*size)
        assert bool(sampled[0]) == bool(segments), size
        if segments:
            assert rows.tolist() == expected_rows.tolist(), size
            assert columns.tolist() == list(range(begin, begin + 32 * segments + 2)), size
        assert gain[0] == pytest.approx(noise_gain(defense, *size), rel=1e-5)
