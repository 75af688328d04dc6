"""Log-odds rank as the softmax does, and further."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurvote.benchmarks.robustness.certainty import log_odds


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(2, 9))
def test_of_the_mean_softmax(seed: int, views: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    logits = (random.standard_normal((views, classes)) * 3).astype(np.float32)
    weights = np.exp(logits.astype(np.float64))
    mean = (weights / weights.sum(axis=1, keepdims=True)).mean(axis=0)
    for label in range(classes):
        expected = np.log(mean[label] / (1 - mean[label]))
        assert log_odds(logits, label) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_softmax_rounds_to_one_and_log_odds_do_not() -> None:
    sure = [np.array([[0.0, margin]], np.float32) for margin in (50, 60, 500)]
    assert [log_odds(logits, 1) for logits in sure] == pytest.approx([50, 60, 500])
    assert log_odds(sure[0], 0) == pytest.approx(-50)


def test_views_without_a_vote_are_left_out() -> None:
    logits = np.array([[0, 2, 1], [np.nan, 9, 0], [-np.inf] * 3], np.float32)
    assert log_odds(logits, 1) == log_odds(logits[:1], 1)
    assert log_odds(logits[1:], 1) == np.finfo(np.float64).min
    assert np.isfinite(log_odds(np.array([[np.inf, 0]], np.float32), 0))
