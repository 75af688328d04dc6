"""ImageNet's class lists against the real images, and both protocols against their definition."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.benchmarks.robustness import imagenet
from blurvote.runtime import FrameError, SourceError


def test_wnids_are_a_thousand_in_order() -> None:
    ids = imagenet.wnids()
    assert len(set(ids)) == 1000
    assert list(ids) == sorted(ids)
    assert all(re.fullmatch(r"n\d{8}", wnid) for wnid in ids)
    # tench, ostrich, tabby, zebra and airliner, as every list of torchvision's classes has them
    known = {"n01440764": 0, "n01518878": 9, "n02123045": 281, "n02391049": 340, "n02690373": 404}
    assert {wnid: imagenet.class_of(wnid) for wnid in known} == known
    assert imagenet.class_of("n15075141") == 999


def test_wnids_agree_with_the_real_images(assets: Path) -> None:
    """Each file name begins with its id, and the TSV gives its class."""
    lines = (assets / "images" / "imagenet-half.tsv").read_text().splitlines()[1:]
    pairs = [line.split("\t")[:2] for line in lines]
    assert len(pairs) == 500
    assert all(imagenet.class_of(name.split("_")[0]) == int(index) for name, index in pairs)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("a", (6, 11, 13), 988),  # stingray, goldfinch, junco; acorn
        ("o", (1, 51, 70), 996),  # goldfish, triceratops, harvestman; hen of the woods
    ],
)
def test_subsets(name: imagenet.Subset, first: tuple[int, ...], last: int) -> None:
    """200 classes each; the ends are those of the authors' own tables."""
    indices = imagenet.subset(name)
    ids = imagenet.subset_wnids(name)
    assert (len(ids), list(ids)) == (200, sorted(set(ids)))
    assert (indices.dtype, tuple(indices[:3]), indices[-1]) == (np.int64, first, last)
    assert (np.diff(indices) > 0).all()
    assert [imagenet.wnids()[index] for index in indices] == list(ids)


def test_the_subsets_overlap_but_differ() -> None:
    shared = set(imagenet.subset_wnids("a")) & set(imagenet.subset_wnids("o"))
    assert 0 < len(shared) < 200


def test_restrict_keeps_the_subset_in_order() -> None:
    logits = np.arange(2 * 3 * 1000, dtype=np.float32).reshape(2, 3, 1000)
    cut = imagenet.restrict(logits, "a")
    assert cut.shape == (2, 3, 200)
    assert np.array_equal(cut[0, 0], imagenet.subset("a"))
    # A class outside the subset can win the 1000, but not the 200.
    outside = np.zeros(1000)
    outside[[0, 11]] = 9, 1
    assert imagenet.subset("a")[imagenet.restrict(outside, "a").argmax()] == 11


def average_precision(inside: list[float], outside: list[float]) -> float:
    """Precision at each threshold, weighted by the recall that it adds."""
    total, found = 0.0, 0
    for threshold in sorted({*inside, *outside}, reverse=True):
        hits = sum(score >= threshold for score in outside)
        alarms = hits + sum(score >= threshold for score in inside)
        total += (hits - found) / len(outside) * hits / alarms
        found = hits
    return total


def test_anomaly_aupr_is_average_precision_with_o_positive() -> None:
    random = np.random.default_rng(1)
    inside, outside = random.normal(0, 1, 60).round(1), random.normal(1, 1, 23).round(1)
    expected = average_precision(inside.tolist(), outside.tolist())
    assert imagenet.anomaly_aupr(inside, outside) == pytest.approx(expected)
    assert imagenet.anomaly_aupr(np.zeros(3), np.ones(2)) == 1
    assert imagenet.anomaly_aupr(np.zeros(10), np.zeros(2)) == pytest.approx(2 / 12)
    assert imagenet.anomaly_aupr(np.ones(3), np.zeros(1)) == pytest.approx(1 / 4)


def test_unknown_ids_and_subsets() -> None:
    with pytest.raises(SourceError, match="'n00000000' is no WordNet id of ImageNet's 1000"):
        imagenet.class_of("n00000000")
    other: Any = "b"
    with pytest.raises(SourceError, match=r"subset 'b' is unknown; expected 'a' \(ImageNet-A\)"):
        imagenet.subset(other)


def test_logits_of_another_model() -> None:
    with pytest.raises(FrameError, match=r"shape \(2, 10\) were given; ImageNet-O needs a guard"):
        imagenet.restrict(np.zeros((2, 10), np.float32), "o")


@pytest.mark.parametrize("bad", [np.zeros(0), np.array([0.1, np.nan])])
def test_scores_that_cannot_be_ranked(bad: NDArray[np.float64]) -> None:
    with pytest.raises(SourceError, match="anomaly scores of ImageNet-O are of shape"):
        imagenet.anomaly_aupr(np.zeros(3), bad)
