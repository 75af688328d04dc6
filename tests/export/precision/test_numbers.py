"""Scales of weights, ranges of activations and intervals, beside plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.export.precision.cost import Cost
from blurvote.export.precision.noise import Answers, noise_row
from blurvote.export.precision.options import METHODS
from blurvote.export.precision.ranges import Histograms, collect, ranges_by
from blurvote.export.precision.search import divergence
from blurvote.export.precision.statistics import paired_gap
from blurvote.export.precision.weights import channel_scales
from blurvote.runtime.defense import Defense


def rounding_error(rows: np.ndarray, scales: np.ndarray) -> np.ndarray:
    steps = scales.astype(np.float64)[:, None]
    rounded = np.clip(np.rint(rows / steps), -127, 127) * steps
    return ((rows - rounded) ** 2).sum(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_scales_never_round_worse_than_the_usual_ones(seed: int) -> None:
    generator = np.random.default_rng(seed)
    rows = generator.standard_t(3, (40, 9 * (seed + 1))).astype(np.float32)
    usual = np.abs(rows).max(axis=1) / 127
    ours = rounding_error(rows, channel_scales(rows))
    assert (ours <= rounding_error(rows, usual) * (1 + 1e-4)).all()
    assert ours.sum() < 0.95 * rounding_error(rows, usual).sum()


def test_weights_that_lie_on_a_grid_are_kept() -> None:
    generator = np.random.default_rng(0)
    grid = generator.uniform(0.01, 0.1, 30).astype(np.float32)
    # Their largest level is below 127, so max|w| / 127 is another grid.
    levels = generator.integers(-110, 111, (30, 64))
    rows = (levels * grid[:, None]).astype(np.float32)
    error = rounding_error(rows, channel_scales(rows))
    assert error.sum() < 1e-3 * rounding_error(rows, np.abs(rows).max(axis=1) / 127).sum()


def test_a_channel_of_zeros_has_a_scale() -> None:
    scales = channel_scales(np.zeros((2, 5), np.float32))
    assert np.isfinite(scales).all()
    assert (scales > 0).all()


def identity() -> object:
    """`views` (B, 3, 8, 8) doubled and rectified: two tensors whose values are known."""
    return helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Mul", ["views", "two"], ["doubled"]),
                helper.make_node("Relu", ["doubled"], ["logits"]),
            ],
            "known",
            [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 8, 8])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 3, 8, 8])],
            [numpy_helper.from_array(np.array(2, np.float32), "two")],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@pytest.fixture(scope="module")
def values() -> list[np.ndarray]:
    """Heavy tails, and a later picture with values beyond those of the first."""
    generator = np.random.default_rng(1)
    return [
        (generator.standard_t(4, (3, 3, 8, 8)) * scale).astype(np.float32)
        for scale in (1.0, 1.0, 3.0, 0.5, 2.0, 1.0)
    ]


def test_ranges_beside_numpy(values: list[np.ndarray]) -> None:
    said: list[str] = []
    histograms = collect(identity(), ["Mul", "Relu"], values, said.append)  # type: ignore[arg-type]
    everything = np.concatenate([batch.ravel() for batch in values]).astype(np.float64)
    found = {method: ranges_by(method, histograms) for method in METHODS}
    assert found["minmax"]["views"] == pytest.approx((everything.min(), everything.max()))
    assert found["minmax"]["logits"] == pytest.approx((0, 2 * everything.max()))
    bin_width = float(2 * np.abs(values[0]).max() / 2048)
    for method in METHODS[1:4]:
        cut = (100 - float(method.split("-")[1])) / 2
        low, high = np.percentile(everything, (cut, 100 - cut), method="inverted_cdf")
        assert found[method]["views"] == pytest.approx((low, high), abs=2 * bin_width)


class Counted:
    """What ONNX Runtime's collector holds, of one tensor."""

    def __init__(self, values: np.ndarray) -> None:
        top = np.abs(values).max()
        counts, edges = np.histogram(values, 4096, range=(-top, top))
        self._entry = (counts, edges, values.min(), values.max(), top)

    def get_histogram_dict(self) -> dict[str, tuple[object, ...]]:
        return {"x": self._entry}


@pytest.mark.parametrize("rectified", [False, True])
def test_the_range_of_least_error_beside_a_search_with_real_rounding(rectified: bool) -> None:
    values = np.random.default_rng(3).standard_t(5, 200_000)
    values = np.maximum(values, 0) if rectified else values

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        zero = np.rint(-low / step)
        levels = np.clip(np.rint(values / step) + zero, 0, 255)
        return float((((levels - zero) * step - values) ** 2).mean())

    low, high = values.min(), values.max()
    best = min(
        error(low * down, high * up)
        for down in np.linspace(0.05, 1, 20)
        for up in np.linspace(0.05, 1, 20)
    )
    found = ranges_by("mse", Histograms(Counted(values)))["x"]
    assert error(*found) < 1.1 * best
    assert error(*found) < 0.95 * error(low, high)
    assert found[0] <= 0 <= found[1]


@pytest.mark.parametrize("rectified", [False, True])
def test_the_symmetric_range_of_least_error(rectified: bool) -> None:
    values = np.random.default_rng(3).standard_t(5, 200_000) + 0.5
    values = np.maximum(values, 0) if rectified else values

    def error(bound: float) -> float:
        step = 2 * bound / 255
        levels = np.clip(np.rint(values / step), -128, 127)
        return float(((levels * step - values) ** 2).mean())

    top = np.abs(values).max()
    best = min(error(top * part) for part in np.linspace(0.05, 1, 20))
    low, high = ranges_by("mse", Histograms(Counted(values)), symmetric=True)["x"]
    assert low == -high
    assert error(high) < 1.1 * best


def test_divergence_is_what_it_is_called() -> None:
    generator = np.random.default_rng(0)
    a, b = generator.normal(0, 3, (2, 6, 10))
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (a, b))
    expected = (p * np.log(p / q)).sum(axis=1)
    got = divergence(a.astype(np.float32), b.astype(np.float32))
    np.testing.assert_allclose(got, expected, rtol=1e-5)
    assert divergence(a, a).max() < 1e-12
    assert divergence(a, a + 100).max() < 1e-12  # what is added to all logits says nothing


def test_the_interval_covers_the_true_difference() -> None:
    generator = np.random.default_rng(5)
    everything = np.ones(300, bool)
    covered = 0
    for trial in range(60):
        both = generator.random(300) < 0.7
        a, b = both.copy(), both.copy()
        flips = generator.random((2, 300)) < 0.1
        a[flips[0]] ^= True  # from 0.7 to 0.66 in expectation, as b
        b[flips[1]] ^= True
        gap = paired_gap(a, everything, b, everything, trial)
        assert gap.value == pytest.approx(a.mean() - b.mean())
        covered += gap.low <= 0 <= gap.high
    assert covered >= 51  # 57 expected; fewer than 52 has probability 0.01


def test_an_empty_side_has_no_difference() -> None:
    nothing, everything = np.zeros(5, bool), np.ones(5, bool)
    assert np.isnan(paired_gap(everything, nothing, everything, everything, 0).value)


def test_answers_are_those_of_the_decision() -> None:
    """Two views that disagree: no majority, but a mean that one view is surer of."""
    logits = np.array([[[4, 0, 0], [0, 1, 0]], [[1, 0, 0], [0, 1.1, 0]]], np.float32)
    passes = (0, 1)
    majority = Answers.of(logits, Defense(passes=passes))
    assert majority.labels.tolist() == [-1, -1]
    mean = Answers.of(logits, Defense(passes=passes, decision="mean"))
    assert mean.labels.tolist() == [0, 1]
    sure = Answers.of(logits, Defense(passes=passes, decision="mean", threshold=0.5))
    assert sure.labels.tolist() == [0, -1]
    for answers in (majority, mean, sure):
        assert answers.view_labels.tolist() == [[0, 1], [0, 1]]


@pytest.mark.parametrize("labels", [[-1, -1, -1, -1], [3, 3, 3, 3]])
def test_without_truth_rejecting_costs_what_contradicting_costs(labels: list[int]) -> None:
    full = Answers(np.array([0, 1, 2, -1]), np.array([[0], [1], [2], [-1]]))
    low = Answers(np.array(labels), np.array(labels)[:, None])
    row = noise_row(0.0, [None] * 4, full, low, seed=0)
    assert Cost((), (row,), (), "", 1, 1, 1).loss == pytest.approx(75)


def test_a_row_counted_by_hand() -> None:
    truth = [0, 1, 2, 3, None]
    full = Answers(np.array([0, 1, 2, -1, 4]), np.array([[0, 0], [1, 1], [2, 2], [3, 0], [4, 4]]))
    low = Answers(np.array([0, 2, -1, -1, 5]), np.array([[0, 0], [2, 2], [2, 0], [3, 0], [5, 5]]))
    row = noise_row(0.125, truth, full, low, seed=0)
    assert (row.sigma, row.pictures, row.known) == (0.125, 5, 4)
    assert row.accuracy == (1.0, 0.5)
    assert row.first_view == (1.0, 0.75)
    assert row.rejected == (0.2, 0.4)
    assert row.contradicted == 0.4
    assert row.accuracy_gap is not None
    assert row.accuracy_gap.value == pytest.approx(-0.5)
    assert row.rejected_gap.value == pytest.approx(0.2)
    unknown = noise_row(0, [None] * 5, full, low, seed=0)
    assert unknown.accuracy is None
    assert unknown.rejected == (0.2, 0.4)
