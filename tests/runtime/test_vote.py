"""The vote against a NumPy count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from blurvote.runtime import FrameError, majority_vote


def oracle(logits: np.ndarray, of: int) -> tuple[list[int], list[int], list[list[int]]]:
    labels, counts, view_labels = [], [], []
    for frame in logits:
        votes = [
            -1 if np.isnan(view).any() or (view == -np.inf).all() else int(view.argmax())
            for view in frame
        ]
        valid = [vote for vote in votes if vote >= 0]
        tally = {vote: valid.count(vote) for vote in valid}
        count = max(tally.values(), default=0)
        winners = [vote for vote, got in tally.items() if got > of / 2]
        labels.append(winners[0] if winners else -1)
        counts.append(count)
        view_labels.append(votes)
    return labels, counts, view_labels


def logits_of(dtype: type) -> st.SearchStrategy[np.ndarray]:
    # Few distinct values, so that ties, majorities and invalid views are all common.
    values = st.sampled_from([0.0, 1.0, 2.0, -1.0, np.nan, np.inf, -np.inf])
    shapes = st.tuples(st.integers(0, 4), st.integers(1, 7), st.integers(1, 40))
    return shapes.flatmap(
        lambda shape: st_numpy.arrays(
            dtype, shape, elements=values, fill=st.sampled_from([0.0, -np.inf])
        )
    )


@settings(max_examples=300, deadline=None)
@given(logits=st.one_of(logits_of(np.float32), logits_of(np.float16)), more=st.integers(0, 3))
def test_equals_the_count(logits: np.ndarray, more: int) -> None:
    of = logits.shape[1] + more
    votes = majority_vote(logits, of=of)
    labels, counts, view_labels = oracle(logits, of)
    assert votes.labels.tolist() == labels
    assert votes.counts.tolist() == counts
    assert votes.view_labels.tolist() == view_labels
    assert {array.dtype for array in votes} == {np.dtype(np.int64)}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 1100))
def test_many_classes(seed: int, classes: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(2, 3, classes)).astype(np.float32)
    assert majority_vote(logits).view_labels.tolist() == logits.argmax(axis=-1).tolist()


def test_every_half_is_read_exactly() -> None:
    """All 65,536 half-precision values: each wins against a smaller one and loses to a larger."""
    halves = np.arange(65536, dtype=np.uint16).view(np.float16)
    finite = np.sort(halves[np.isfinite(halves)])
    finite = finite[np.concatenate([[True], np.diff(finite.astype(np.float64)) > 0])]
    pairs = np.stack([finite[:-1], finite[1:]], axis=-1)[:, None, :]
    assert (majority_vote(np.ascontiguousarray(pairs)).labels == 1).all()
    assert (majority_vote(np.ascontiguousarray(pairs[..., ::-1])).labels == 0).all()
    nans = halves[np.isnan(halves)][:, None, None]
    assert (majority_vote(np.ascontiguousarray(nans)).labels == -1).all()


def test_first_of_equal_logits_wins() -> None:
    assert majority_vote(np.zeros((1, 3, 50), np.float32)).labels.tolist() == [0]


def test_half_of_the_views_is_no_majority() -> None:
    logits = np.zeros((1, 4, 2), np.float32)
    logits[0, 2:, 1] = 1
    votes = majority_vote(logits)
    assert (votes.labels[0], votes.counts[0]) == (-1, 2)


def test_strided_and_read_only_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(6, 3, 10)).astype(np.float32)
    logits.flags.writeable = False
    expected = logits[::2, :, ::-1].argmax(axis=-1).tolist()
    assert majority_vote(logits[::2, :, ::-1]).view_labels.tolist() == expected


BAD_LOGITS = {
    "two dimensions": (np.zeros((3, 4), np.float32), r"\(3, 4\); expected .*\(N, V, C\)"),
    "no classes": (np.zeros((1, 3, 0), np.float32), r"\(1, 3, 0\); expected"),
    "no views": (np.zeros((1, 0, 5), np.float32), "V, C >= 1"),
    "a list": ([[[1.0]]], "logits are list"),
    "float64": (np.zeros((1, 3, 4)), "dtype float64; expected float32 or float16"),
    "integers": (np.zeros((1, 3, 4), np.int64), "dtype int64"),
}


@pytest.mark.parametrize("case", BAD_LOGITS)
def test_mistakes_are_explained(case: str) -> None:
    logits, message = BAD_LOGITS[case]
    with pytest.raises(FrameError, match=message):
        majority_vote(logits)  # type: ignore[arg-type]


def test_a_majority_of_fewer_views_than_there_are() -> None:
    with pytest.raises(FrameError, match="of is 2; expected at least the 3 views"):
        majority_vote(np.zeros((1, 3, 4), np.float32), of=2)
