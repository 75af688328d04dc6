"""Labelled pictures in every layout, and the errors of those that are none."""

from __future__ import annotations

import dataclasses
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from blurvote.benchmarks.robustness.dataset import OUTSIDE, is_grey, open_dataset
from blurvote.runtime.errors import SourceError
from tests.benchmarks.robustness.labelled_pictures import LABELS, found, picture, pictures, tsv

# ---- layouts ----


def test_wordnet_ids_of_folders(tmp_path: Path) -> None:
    """The indices are those of torchvision: tench is 0, Gordon setter 214, toilet tissue 999."""
    place = pictures(
        tmp_path, "n02101006/x.JPEG", "n01440764/a.jpg", "n01440764/deep/b.png", "n15075141/c.bmp"
    )
    dataset = open_dataset(place, 1000)
    assert dataset.layout == "WordNet ids of folders"
    assert found(dataset) == {
        "n01440764/a.jpg": 0,
        "n01440764/deep/b.png": 0,
        "n02101006/x.JPEG": 214,
        "n15075141/c.bmp": 999,
    }


def test_wordnet_ids_of_files(tmp_path: Path) -> None:
    place = pictures(tmp_path, "n15075141_toilet_tissue.JPEG", "n02101006.png")
    dataset = open_dataset(place, 1000)
    assert dataset.layout == "WordNet ids of files"
    assert found(dataset) == {"n02101006.png": 214, "n15075141_toilet_tissue.JPEG": 999}


def test_wordnet_ids_as_labels_of_a_guard_of_ten_classes(tmp_path: Path) -> None:
    place = pictures(tmp_path, "n02101006/x.png", "n01440764/a.png")
    dataset = open_dataset(place, 3, ("n02101006", "n99999999", "n01440764"))
    assert found(dataset) == {"n01440764/a.png": 2, "n02101006/x.png": 0}


def test_class_folders_by_label(tmp_path: Path) -> None:
    """Case, underscores and what follows a comma do not matter."""
    place = pictures(
        tmp_path, "cat/1.png", "German_Shepherd/1.png", "sea lion/1.png", "sea lion/2.png"
    )
    dataset = open_dataset(place, 4, LABELS)
    assert dataset.layout == "folders named by label"
    assert found(dataset) == {
        "German_Shepherd/1.png": 1,
        "cat/1.png": 0,
        "sea lion/1.png": 2,
        "sea lion/2.png": 2,
    }
    whole = pictures(tmp_path / "whole", "german shepherd, german police dog/1.png")
    assert found(open_dataset(whole, 4, LABELS)) == {"german shepherd, german police dog/1.png": 1}


def test_a_whole_label_goes_before_a_first_name(tmp_path: Path) -> None:
    """ImageNet's `crane` (the bird) beside a label that only starts so."""
    place = pictures(tmp_path, "crane/1.png")
    assert found(open_dataset(place, 3, ("crane, hoist", "a", "crane"))) == {"crane/1.png": 2}


def test_labels_that_are_digits_are_labels(tmp_path: Path) -> None:
    place = pictures(tmp_path, "1/a.png", "9/a.png")
    assert found(open_dataset(place, 2, ("9", "1"))) == {"1/a.png": 1, "9/a.png": 0}


@pytest.mark.parametrize("name", ["7", "7_horse", "007", "7 horse", "7-horse", "7.horse"])
def test_class_folders_by_index(tmp_path: Path, name: str) -> None:
    place = pictures(tmp_path, f"{name}/a.png", "10_ten/b.png")
    dataset = open_dataset(place, 11, LABELS)
    assert dataset.layout == "folders named by class index"
    assert found(dataset) == {f"{name}/a.png": 7, "10_ten/b.png": 10}


def test_pictures_beside_class_folders_are_left_out_and_told(tmp_path: Path) -> None:
    place = pictures(tmp_path, "0/a.png", "overview.png")
    dataset = open_dataset(place, 2)
    assert found(dataset) == {"0/a.png": 0}
    assert dataset.layout == "folders named by class index (1 pictures outside of them left out)"


def test_hidden_files_and_other_files_are_no_pictures(tmp_path: Path) -> None:
    place = pictures(tmp_path, "0/a.png", "0/.hidden.png", ".cache/b.png")
    (place / "0" / "notes.txt").write_text("no picture")
    (place / "0" / "folder.png").mkdir()
    assert found(open_dataset(place, 1)) == {"0/a.png": 0}


def test_class_folders_that_are_links(tmp_path: Path) -> None:
    """Subsets of ImageNet are often made so; torchvision's ImageFolder follows them, too."""
    pictures(tmp_path / "elsewhere", "a.png")
    place = tmp_path / "subset"
    pictures(place, "0/a.png")
    (place / "1").symlink_to(tmp_path / "elsewhere")
    assert found(open_dataset(place, 2)) == {"0/a.png": 0, "1/a.png": 1}


@pytest.mark.parametrize("beside", [True, False], ids=["beside", "folder of its stem"])
def test_a_tsv(tmp_path: Path, beside: bool) -> None:
    """Header, third column, empty line, byte order mark; the key is the name, wherever it lies."""
    place = tmp_path if beside else tmp_path / "set"
    pictures(place, "b.png", "sub/a.png")
    path = tsv(
        tmp_path / "set.tsv",
        "file\tclass_index\tcolour",
        "b.png\t3\tcolour",
        "",
        "sub/a.png\t 0 \tgrey",
        encoding="utf-8-sig",
    )
    dataset = open_dataset(path, 4)
    assert (dataset.name, dataset.layout) == ("set.tsv", "TSV of file and class index")
    assert found(dataset) == {"b.png": 3, "sub/a.png": 0}
    assert [sample.read()[0, 0, 0] for sample in dataset.samples] == [0, 1]


def test_a_tsv_without_header_and_with_a_picture_missing(tmp_path: Path) -> None:
    """The missing one is told when it is read, as any that cannot be read."""
    pictures(tmp_path, "b.png")
    path = tsv(tmp_path / "set.tsv", "gone.png\t0", "b.png\t1", encoding="utf-8-sig")
    dataset = open_dataset(path, 2)
    assert found(dataset) == {"gone.png": 0, "b.png": 1}
    with pytest.raises(SourceError, match=r"gone\.png cannot be read: No such file"):
        dataset.samples[0].read()


def test_pictures_of_no_class(tmp_path: Path) -> None:
    place = pictures(tmp_path / "o", "n01440764/a.png", "what/b.png")
    dataset = open_dataset(place, 10, unlabelled=True)
    assert found(dataset) == {"n01440764/a.png": OUTSIDE, "what/b.png": OUTSIDE}
    path = tsv(tmp_path / "o.tsv", "what/b.png\t3")
    assert found(open_dataset(path, 10, unlabelled=True)) == {"what/b.png": OUTSIDE}


def test_the_assets_by_tsv_and_by_name_are_the_same(assets: Path) -> None:
    by_tsv = open_dataset(assets / "images" / "imagenet-half.tsv", 1000)
    by_name = open_dataset(assets / "images" / "imagenet-half", 1000)
    assert len(by_tsv.samples) == 500
    assert found(by_tsv) == found(by_name)


# ---- what a data set can do ----


def test_a_fingerprint_is_of_names_and_labels_not_of_the_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = pictures(tmp_path / "here", "0/a.png", "1/b.png")
    there = tmp_path / "far" / "there"
    shutil.copytree(here, there)
    first, second = open_dataset(here, 2), open_dataset(there, 2)
    assert first.fingerprint == second.fingerprint
    assert [s.key for s in first.samples] == [s.key for s in second.samples]
    monkeypatch.chdir(there)
    inside = open_dataset(".", 2)
    assert (inside.fingerprint, inside.name) == (first.fingerprint, "there")
    (there / "1").rename(there / "2")
    assert open_dataset(there, 3).fingerprint != first.fingerprint
    swapped = [dataclasses.replace(s, label=1 - s.label) for s in first.samples]
    assert dataclasses.replace(first, samples=tuple(swapped)).fingerprint != first.fingerprint


def test_names_need_not_be_utf8(tmp_path: Path) -> None:
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    (tmp_path / "0").mkdir()
    try:
        shutil.copy(picture(tmp_path / "0" / "a.png"), tmp_path / "0" / name)
    except (OSError, UnicodeError):
        pytest.skip("this file system only takes UTF-8 names")
    dataset = open_dataset(tmp_path, 1)
    assert len(dataset.fingerprint) == 64
    assert dataset.samples[1].read().shape == (5, 7, 3)


def test_some_are_drawn_nested_by_seed_and_over_all_classes(tmp_path: Path) -> None:
    for label in range(4):
        pictures(tmp_path, *(f"{label}/{n:02}.png" for n in range(25)))
    dataset = open_dataset(tmp_path, 4)
    draws = [dataset.some(limit, 0) for limit in (1, 7, 30, 99)]
    for smaller, larger in itertools.pairwise(draws):
        assert set(smaller) < set(larger)
    assert [len(draw) for draw in draws] == [1, 7, 30, 99]
    assert all(list(draw) == sorted(draw, key=lambda s: s.index) for draw in draws)
    assert {sample.label for sample in draws[2]} == {0, 1, 2, 3}
    assert dataset.some(7, 0) == draws[1] != dataset.some(7, 1)
    assert dataset.some(None, 0) == dataset.some(100, 0) == dataset.some(101, 1) == dataset.samples


def test_pixels_are_rgb_in_their_own_memory(tmp_path: Path) -> None:
    picture(tmp_path / "0" / "a.png", 200)
    pixels = open_dataset(tmp_path, 1).samples[0].read()
    assert (pixels.shape, pixels.dtype, pixels.flags.c_contiguous) == ((5, 7, 3), np.uint8, True)
    assert pixels[2, 3].tolist() == [200, 10, 20]


def test_grey_is_equal_channels() -> None:
    grey = np.repeat(np.arange(35, dtype=np.uint8).reshape(5, 7, 1), 3, axis=2)
    assert is_grey(grey)
    for channel in range(3):
        coloured = grey.copy()
        coloured[4, 6, channel] += 1
        assert not is_grey(coloured)
