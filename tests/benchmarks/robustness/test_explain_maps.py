"""The figures that are said of a map, and what a map is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from blurvote.benchmarks.robustness.explain.maps import (
    plane,
    read_window,
    spearman,
    top_share,
)
from blurvote.benchmarks.robustness.explain.methods import Window
from blurvote.export.reference import build_views
from blurvote.runtime import Defense

ALL = Window(0, 6, 0, 5)


def test_spearman_counts_the_pairs_in_order() -> None:
    """The formula without ties, 1 - 6 sum d^2 / n (n^2 - 1), in the window alone."""
    random = np.random.default_rng(0)
    a, b = (random.permutation(30).reshape(6, 5).astype(np.float32) for _ in range(2))
    window = Window(1, 5, 2, 5)
    inside = np.s_[1:5, 2:5]
    ranks = [np.argsort(np.argsort(values[inside].ravel())) for values in (a, b)]
    n = 12
    expected = 1 - 6 * float(((ranks[0] - ranks[1]) ** 2).sum()) / (n * (n**2 - 1))
    assert spearman(a, b, window) == pytest.approx(expected)
    assert spearman(a, np.exp(a / 10), ALL) == pytest.approx(1)
    assert spearman(a, -a, ALL) == pytest.approx(-1)
    assert spearman(a, np.ones_like(a), ALL) is None


def test_top_share_of_even_and_of_single_maps() -> None:
    even = np.full((6, 5), -2, np.float32)
    assert top_share(even, ALL) == pytest.approx(0.1)
    single = np.zeros((6, 5), np.float32)
    single[2, 2] = -3
    assert top_share(single, ALL) == 1
    assert top_share(single, Window(3, 6, 0, 5)) is None


def test_top_share_by_brute_force() -> None:
    values = np.random.default_rng(1).normal(size=(6, 5)).astype(np.float32)
    strength = np.abs(values.astype(np.float64)).ravel()
    best = max(sum(group) for group in itertools.combinations(strength, 3))
    assert top_share(values, ALL) == pytest.approx(best / strength.sum())


def test_planes() -> None:
    values = np.random.default_rng(2).normal(size=(3, 6, 5)).astype(np.float32)
    unsigned = plane("gradient-x-input", values)
    assert unsigned.max() == 1
    assert unsigned.min() >= 0
    np.testing.assert_allclose(
        unsigned * np.abs(values).sum(axis=0).max(), np.abs(values).sum(axis=0), rtol=1e-6
    )
    np.testing.assert_allclose(plane("integrated-gradients", values).sum(), values.sum(), rtol=1e-4)
    nothing = np.zeros((3, 6, 5), np.float32)
    assert (plane("gradient-x-input", nothing) == 0).all()


@pytest.mark.parametrize("defense", [Defense(resize=13, crop=(9, 11)), Defense(resize=16, crop=12)])
def test_window_is_where_a_pixel_changes_a_view(defense: Defense) -> None:
    height, width = 19, 29
    window = read_window(defense, height, width)
    dark = np.zeros((height, width, 3), np.uint8)
    before = build_views(defense, dark)

    def changes(rows: slice, cols: slice) -> bool:
        lit = dark.copy()
        lit[rows, cols] = 255
        return bool((build_views(defense, lit) != before).any())

    everything = slice(None)
    rows = [y for y in range(height) if changes(slice(y, y + 1), everything)]
    cols = [x for x in range(width) if changes(everything, slice(x, x + 1))]
    assert (rows[0], rows[-1] + 1) == (window.top, window.bottom)
    assert (cols[0], cols[-1] + 1) == (window.left, window.right)
