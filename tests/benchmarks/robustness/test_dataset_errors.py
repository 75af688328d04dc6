"""What is refused as a data set, and in which words."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blurvote.benchmarks.robustness.dataset import open_dataset
from blurvote.runtime.errors import SourceError
from tests.benchmarks.robustness.labelled_pictures import LABELS, found, picture, pictures, tsv


def no_pictures(place: Path) -> Path:
    (place / "notes.txt").write_text("")
    return place


def flat(place: Path) -> Path:
    return pictures(place, "n01440764_x.png", "holiday.png")


def unknown_folder(place: Path) -> Path:
    return pictures(place, "cat/1.png", "unicorn/1.png")


def one_strange_among_ids(place: Path) -> Path:
    return pictures(place, "n01440764/1.png", "zoo/1.png")


def mixed(place: Path) -> Path:
    return pictures(place, "3/1.png", "cat/1.png")


def large_index(place: Path) -> Path:
    return pictures(place, "0/1.png", "4_more/1.png")


def ids_for_few_classes(place: Path) -> Path:
    return pictures(place, "n01440764/1.png")


def nowhere(place: Path) -> Path:
    return place / "gone"


def binary(place: Path) -> Path:
    return picture(place / "picture.png")


def lines(*texts: str) -> Callable[[Path], Path]:
    def make(place: Path) -> Path:
        picture(place / "a.png")
        return tsv(place / "set.tsv", *texts)

    return make


ERRORS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no pictures": (no_pictures, r"\{\} holds no pictures \(\.bmp, .*\.webp\)"),
    "flat": (
        flat,
        r"\{\} holds 2 pictures and nothing that says what they show; expected class .*",
    ),
    "unknown folder": (
        unknown_folder,
        r"\{\} has a folder 'unicorn', which is no label of the guard \(such as 'Cat'\), no class "
        r"index and no WordNet id; rename the folders, or give a TSV .*",
    ),
    "one strange": (one_strange_among_ids, r"\{\} has a folder 'zoo', which is no label .*"),
    "mixed": (mixed, r"\{\} has folders of several kinds \('3', 'cat'\); name all by label, .*"),
    "index too large": (
        large_index,
        r"\{\}/4_more/1\.png has class index 4, but the guard has 4 classes \(0 to 3\); was the "
        r"data set made for another model\?",
    ),
    "ids for few classes": (
        ids_for_few_classes,
        r"\{\} is labelled by WordNet ids, as ImageNet is, but the guard has 4 classes; "
        r"expected 1000",
    ),
    "nowhere": (nowhere, r"\{\} is neither a folder of pictures nor a TSV file"),
    "binary": (binary, r"\{\} cannot be read as a TSV of file and class index: .*utf-8.*"),
    "no lines": (lines("file\tclass", ""), r"\{\} holds no lines of file, tab, class index"),
    "bad index": (
        lines("file\tclass", "a.png\t1", "b.png\tcat"),
        r"\{\}, line 3 is 'b\.png\\tcat'; expected file, tab, class index \(0, 1, \.\.\.\)",
    ),
    "bad first line": (lines("a.png\tcat", "b.png\t1"), r"\{\}, line 1 is 'a\.png\\tcat'; .*"),
    "superscript": (lines("a.png\t²"), r"\{\}, line 1 is .*"),
    "negative": (lines("a.png\t-1"), r"\{\}, line 1 is 'a\.png\\t-1'; .*"),
    "no tab": (lines("a.png 1"), r"\{\}, line 1 is 'a\.png 1'; .*"),
    "no name": (lines("a.png\t1", "\t1"), r"\{\}, line 2 is '\\t1'; .*"),
    "twice": (
        lines("a.png\t1", "b.png\t0", "./a.png\t2"),
        r"\{\}, line 3 names \./a\.png a second time \(line 1 does already\); each picture counts "
        r"once: remove one of the lines",
    ),
    "missing": (
        lines("b.png\t1", "c.png\t1"),
        r"\{\} names b\.png, but there is neither .*/b\.png nor .*/set/b\.png; keep the TSV "
        r"beside its pictures",
    ),
    "index of a TSV": (lines("a.png\t4"), r".*/a\.png has class index 4, but the guard has 4 .*"),
}


@pytest.mark.parametrize(("make", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_refusals(tmp_path: Path, make: Any, message: str) -> None:
    path = make(tmp_path)
    with pytest.raises(SourceError) as caught:
        open_dataset(path, 4, LABELS)
    assert re.fullmatch(message.replace(r"\{\}", re.escape(str(path))), str(caught.value))


def test_labels_of_several_classes_are_refused(tmp_path: Path) -> None:
    """torchvision's names of ImageNet's classes hold `crane` twice: a bird and a machine."""
    place = pictures(tmp_path, "crane/1.png")
    message = "has a folder 'crane', which is the label of classes 0 and 2; name such folders by"
    with pytest.raises(SourceError, match=message):
        open_dataset(place, 3, ("crane", "dog", "Crane"))
    pictures(tmp_path / "other", "dog/1.png")
    assert found(open_dataset(tmp_path / "other", 3, ("crane", "dog", "crane"))) == {"dog/1.png": 1}


def test_unknown_wordnet_ids_are_named(tmp_path: Path) -> None:
    place = pictures(tmp_path, "n01440764/1.png", "n00000001/1.png")
    with pytest.raises(SourceError, match=r"'n00000001' is no WordNet id of ImageNet's 1000"):
        open_dataset(place, 1000)


def test_a_guard_without_labels_is_told(tmp_path: Path) -> None:
    place = pictures(tmp_path, "cat/1.png")
    with pytest.raises(SourceError, match=r"'cat', which is no label of the guard \(it has no"):
        open_dataset(place, 4)
