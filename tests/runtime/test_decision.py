"""Decisions on hand-made ballots."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from blurvote.runtime import _kernels
from blurvote.runtime.decision import Ballot, decide_majority, decide_mean, softmax
from blurvote.runtime.vote import majority_vote


def ballot(*views: list[float]) -> Ballot:
    logits = np.array(views, np.float32)
    votes = majority_vote(logits[None])
    return Ballot(
        logits,
        tuple(votes.view_labels[0].tolist()),
        int(votes.labels[0]),
        int(votes.counts[0]),
        len(views),
    )


NAN = [float("nan")] * 3
A, B, C = [4.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0]
MAJORITY = {
    "all agree": ([A, A, A], 0, None),
    "two agree": ([A, B, B], 1, None),
    "none agree": ([A, B, C], -1, "no_majority"),
    "two agree, one invalid": ([A, NAN, A], 0, None),
    "two differ, one invalid": ([A, NAN, B], -1, "no_majority"),
    "two invalid": ([NAN, A, NAN], -1, "invalid_views"),
    "all invalid": ([NAN, NAN, NAN], -1, "invalid_views"),
    "one view": ([B], 1, None),
    "one invalid view": ([NAN], -1, "invalid_views"),
}


@pytest.mark.parametrize("case", MAJORITY)
def test_majority(case: str) -> None:
    views, label, reason = MAJORITY[case]
    outcome = decide_majority(ballot(*views))
    assert (outcome.label, outcome.reason) == (label, reason)
    assert (outcome.confidence is None) == (label < 0)


def test_confidence_is_of_the_first_two_views_that_voted_for_the_label() -> None:
    weak = [1.0, 0.0, 0.0]
    confidence = decide_majority(ballot(B, A, weak, A, A)).confidence
    expected = (
        softmax(np.array([A], np.float32))[0, 0] + softmax(np.array([weak], np.float32))[0, 0]
    ) / 2
    assert confidence == pytest.approx(expected)


def test_mean() -> None:
    votes = ballot(A, B, NAN)
    shares = softmax(np.array([A, B], np.float32)).mean(axis=0)
    accepted = decide_mean(votes, float(shares[0]) - 1e-3)
    assert (accepted.label, accepted.reason) == (0, None)
    assert accepted.confidence == pytest.approx(shares[0])
    rejected = decide_mean(votes, float(shares[0]) + 1e-3)
    assert (rejected.label, rejected.reason) == (-1, "low_confidence")
    assert rejected.confidence == pytest.approx(shares[0])
    assert decide_mean(ballot(NAN, NAN, NAN), 0.0).reason == "invalid_views"


@given(
    st_numpy.arrays(
        np.float32,
        st.tuples(st.integers(1, 3), st.integers(1, 20)),
        elements=st.floats(-80, 80, width=32),
    )
)
def test_softmax_equals_the_formula(logits: np.ndarray) -> None:
    powers = np.exp(logits.astype(np.float64))
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-6)


@pytest.mark.parametrize("classes", [1, 2, 7, 1000])
@pytest.mark.parametrize("scale", [0.01, 1, 50, 1e30])
def test_the_kernel_s_softmax_is_numpy_s(classes: int, scale: float) -> None:
    logits = np.random.default_rng(classes).normal(size=(3, classes)).astype(np.float32) * scale
    logits[2, 0] = -np.inf
    logits[1, -1] = np.inf
    expected = softmax(logits)
    for row in range(2 if classes == 1 else 3):
        shares = [_kernels.softmax_at(logits, row, label) for label in range(classes)]
        np.testing.assert_allclose(shares, expected[row], rtol=1e-5, atol=1e-7)


def test_the_kernel_s_softmax_of_nan_is_nan_and_bounds_are_kept() -> None:
    logits = np.array([[0, np.nan, 1], [np.nan, 0, 1]], np.float32)
    assert all(np.isnan(_kernels.softmax_at(logits, row, 2)) for row in (0, 1))
    for row, label in ((2, 0), (0, 3)):
        with pytest.raises(IndexError):
            _kernels.softmax_at(logits, row, label)


def test_softmax_of_infinite_logits_is_the_limit() -> None:
    inf = np.inf
    logits = np.array([[inf, 1, inf, -inf], [1000, 0, -inf, 1000]], np.float32)
    np.testing.assert_array_equal(softmax(logits), [[0.5, 0, 0.5, 0], [0.5, 0, 0, 0.5]])
