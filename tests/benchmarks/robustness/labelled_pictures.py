"""Tiny labelled picture sets, as the tests of data sets lay them out."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from blurvote.benchmarks.robustness.dataset import Dataset

__all__ = ["LABELS", "found", "picture", "pictures", "tsv"]

LABELS = ("Cat", "German shepherd, German police dog", "sea_lion", "dog")


def picture(path: Path, value: int = 0) -> Path:
    """A 5x7 picture whose red is `value`, green 10 and blue 20."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((5, 7, 3), (20, 10, value), np.uint8))
    return path


def pictures(place: Path, *names: str) -> Path:
    for n, name in enumerate(names):
        picture(place / name, n)
    return place


def found(dataset: Dataset) -> dict[str, int]:
    assert [sample.index for sample in dataset.samples] == list(range(len(dataset.samples)))
    return {sample.key: sample.label for sample in dataset.samples}


def tsv(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding=encoding)
    return path
