"""k of n verdicts."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurvote.runtime import StageTimes, Verdict
from blurvote.runtime.errors import SettingsError
from blurvote.runtime.pipeline.settings import Smoothing
from blurvote.runtime.pipeline.smoothing import Smoother


def verdict(label: int) -> Verdict:
    reason = None if label >= 0 else "no_majority"
    return Verdict(
        label, None, reason, None, None, (0, 0), "cascade", StageTimes(0, 0, 0), "", 0, 0.0
    )


def smoothed(k: int, n: int, labels: list[int]) -> list[int]:
    smoother = Smoother(Smoothing(k, n))
    return [smoother.update(verdict(label)) for label in labels]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([7, 7, 7], [-1, -1, 7]),  # three are needed, however few were seen
        ([7, 7, 4, 7, 4, 4, 4], [-1, -1, -1, 7, 7, 4, 4]),
        ([7, 7, 7, -1, -1, -1, 7, 7], [-1, -1, 7, 7, 7, -1, -1, -1]),
        ([-1, -1, -1, -1, -1], [-1] * 5),  # rejections agree on nothing
        ([0, 0, 0], [-1, -1, 0]),
    ],
)
def test_three_of_five(labels: list[int], expected: list[int]) -> None:
    assert smoothed(3, 5, labels) == expected


def test_one_of_one_is_the_verdict() -> None:
    assert smoothed(1, 1, [3, -1, 4]) == [3, -1, 4]


def test_a_reset_forgets() -> None:
    smoother = Smoother(Smoothing(2, 3))
    assert [smoother.update(verdict(5)) for _ in range(2)] == [-1, 5]
    smoother.reset()
    assert [smoother.update(verdict(5)) for _ in range(2)] == [-1, 5]


@given(
    st.integers(1, 9).flatmap(lambda n: st.tuples(st.integers(n // 2 + 1, n), st.just(n))),
    st.lists(st.integers(-1, 3), max_size=60),
)
def test_it_counts_as_brute_force_does(k_of_n: tuple[int, int], labels: list[int]) -> None:
    k, n = k_of_n
    expected = []
    for end in range(1, len(labels) + 1):
        votes = Counter(label for label in labels[max(0, end - n) : end] if label >= 0)
        expected.append(next((label for label, count in votes.items() if count >= k), -1))
    assert smoothed(k, n, labels) == expected


@pytest.mark.parametrize(("k", "n"), [(2, 4), (0, 0), (4, 3), (-1, -2)])
def test_settings_that_let_two_labels_win_are_refused(k: int, n: int) -> None:
    with pytest.raises(SettingsError, match="smoothing"):
        Smoothing(k, n)
