"""The in-graph decision against a NumPy oracle and the C++ vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.ort_session import Session
from blurvote.export.vote_graph import PREFIX, THRESHOLD, add_vote
from blurvote.runtime import majority_vote

OUTPUTS = ("label", "count", "view_labels")


@dataclass(frozen=True)
class Decided:
    label: NDArray[np.int64]
    count: NDArray[np.int64]
    view_labels: NDArray[np.int64]


def vote_model(
    decision: Literal["majority", "single", "mean"], threshold: float | None = None
) -> onnx.ModelProto:
    graph = GraphBuilder(PREFIX)
    add_vote(graph, "logits", decision, threshold)
    integer = TensorProto.INT64
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "vote",
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", "V", "C"])],
            [
                helper.make_tensor_value_info("label", integer, ["N"]),
                helper.make_tensor_value_info("count", integer, ["N"]),
                helper.make_tensor_value_info("view_labels", integer, ["N", "V"]),
            ],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return model


SESSIONS = {
    "majority": Session(vote_model("majority"), "vote"),
    "mean": Session(vote_model("mean", 0.5), "vote"),
}


def view_label(row: NDArray[np.float32]) -> int:
    if np.isnan(row).any() or (row == -np.inf).all():
        return -1
    return int(np.flatnonzero(row == row.max())[0])


def majority_oracle(logits: NDArray[np.float32]) -> Decided:
    view_labels = np.array([[view_label(row) for row in frame] for frame in logits], np.int64)
    labels, counts = [], []
    for frame in view_labels:
        votes = {int(label): int((frame == label).sum()) for label in frame if label >= 0}
        counts.append(max(votes.values(), default=0))
        winners = [label for label, count in votes.items() if 2 * count > len(frame)]
        labels.append(winners[0] if winners else -1)
    return Decided(np.array(labels), np.array(counts), view_labels)


def mean_oracle(logits: NDArray[np.float32]) -> tuple[NDArray[np.float64], Decided]:
    """The mean softmax `(N, C)` in float64 (0 without voters), and the labels, unthresholded."""
    view_labels = majority_oracle(logits).view_labels
    means, labels, counts = [], [], []
    for frame, votes in zip(logits.astype(np.float64), view_labels, strict=True):
        rows = []
        for row in frame[votes >= 0]:
            top = row.max()
            # +inf shares the mass among its like, the limit of the formula.
            weights = (row == top).astype(np.float64) if np.isinf(top) else np.exp(row - top)
            rows.append(weights / weights.sum())
        mean = np.mean(rows, axis=0) if rows else np.zeros(frame.shape[1])
        means.append(mean)
        labels.append(int(mean.argmax()) if rows else -1)
        counts.append(int((votes == labels[-1]).sum()) if rows else 0)
    return np.array(means), Decided(np.array(labels), np.array(counts), view_labels)


values = st.one_of(
    st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan, np.inf, -np.inf]),
    st.floats(-1e4, 1e4, width=32),
)
logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 5)),
    elements=values,
)


@settings(max_examples=400, deadline=None)
@given(logits=logits)
def test_majority_equals_the_oracle_and_the_kernel(logits: NDArray[np.float32]) -> None:
    expected = majority_oracle(logits)
    label, count, view_labels = SESSIONS["majority"].run(logits, *OUTPUTS)
    np.testing.assert_array_equal(label, expected.label)
    np.testing.assert_array_equal(count, expected.count)
    np.testing.assert_array_equal(view_labels, expected.view_labels)
    votes = majority_vote(logits)
    np.testing.assert_array_equal(label, votes.labels)
    np.testing.assert_array_equal(count, votes.counts)
    np.testing.assert_array_equal(view_labels, votes.view_labels)


@settings(max_examples=400, deadline=None)
@given(logits=logits)
def test_mean_equals_the_oracle(logits: NDArray[np.float32]) -> None:
    means, expected = mean_oracle(logits)
    label, count, view_labels = SESSIONS["mean"].run(logits, *OUTPUTS)
    np.testing.assert_array_equal(view_labels, expected.view_labels)
    ordered = np.sort(means, axis=1)
    for frame, mean in enumerate(means):
        # Where rounding to float32 may decide, either answer is right.
        near_tie = mean.size > 1 and ordered[frame, -1] - ordered[frame, -2] < 1e-5
        if near_tie or abs(mean.max() - 0.5) < 1e-5:
            continue
        accepted = mean.max() >= 0.5
        assert label[frame] == (expected.label[frame] if accepted else -1)
        assert count[frame] == (expected.count[frame] if accepted else 0)


@pytest.mark.parametrize(
    ("rows", "label", "count", "view_labels"),
    [
        ([[1, 0], [1, 0], [0, 1]], 0, 2, [0, 0, 1]),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], -1, 1, [0, 1, 2]),
        ([[2, 2, 1]], 0, 1, [0]),  # the first of equals
        ([[0, np.nan], [0, 1], [0, 1]], 1, 2, [-1, 1, 1]),
        ([[0, np.nan], [0, np.nan], [0, 1]], -1, 1, [-1, -1, 1]),  # 1 of 3 is no majority
        ([[-np.inf, -np.inf], [0, 1], [1, 0]], -1, 1, [-1, 1, 0]),
        ([[np.inf, np.inf], [0, np.inf], [0, 9]], 1, 2, [0, 1, 1]),
        ([[np.nan, np.nan]] * 3, -1, 0, [-1, -1, -1]),
        ([[1, 0], [0, 1]], -1, 1, [0, 1]),  # half is not more than half
    ],
)
def test_majority_by_hand(
    rows: list[list[float]], label: int, count: int, view_labels: list[int]
) -> None:
    logits = np.array([rows], np.float32)
    for results in (
        SESSIONS["majority"].run(logits, *OUTPUTS),
        ReferenceEvaluator(vote_model("majority")).run(list(OUTPUTS), {"logits": logits}),
    ):
        assert [result[0].tolist() for result in results] == [label, count, view_labels]


def test_single_rejects_only_an_invalid_view() -> None:
    session = Session(vote_model("single"), "vote")
    rows = [[[0, 1]], [[np.nan, 1]], [[-np.inf, -np.inf]], [[np.inf, 0]]]
    label, count, view_labels = session.run(np.array(rows, np.float32), *OUTPUTS)
    assert label.tolist() == [1, -1, -1, 0]
    assert count.tolist() == [1, 0, 0, 1]
    assert view_labels.tolist() == [[1], [-1], [-1], [0]]


def test_mean_without_a_threshold_accepts_every_frame_that_has_a_voter() -> None:
    session = Session(vote_model("mean"), "vote")
    rows = [[[0, 0, 0.1]], [[np.nan, 0, 0]]]
    label, count, _ = session.run(np.array(rows, np.float32), *OUTPUTS)
    assert (label.tolist(), count.tolist()) == ([2, -1], [1, 0])


def test_the_threshold_is_an_initialiser_that_can_be_found() -> None:
    tensors = {tensor.name: tensor for tensor in vote_model("mean", 0.25).graph.initializer}
    assert onnx.numpy_helper.to_array(tensors[THRESHOLD]) == np.float32(0.25)
    majority = {tensor.name for tensor in vote_model("majority").graph.initializer}
    assert THRESHOLD not in majority
