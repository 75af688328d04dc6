"""Labelled pictures in memory, and how one pile of them is split into train and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError

__all__ = ["SPLIT_SEED", "TEST_SHARE", "Data", "Pictures", "split"]

SPLIT_SEED = 20210524
"""Never an option: nets are only comparable on the same held-out pictures."""
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Pictures:
    """Pictures of one size.

    Attributes:
        pixels: `(N, C, H, W)` uint8; RGB where C is 3.
        labels: `(N,)` int64 class indices.
        numbers: `(N,)` int64, the place of each picture in the file or folder it came from.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, chosen: NDArray[np.int64]) -> Pictures:
        """Those at the indices `chosen`, in that order."""
        return Pictures(self.pixels[chosen], self.labels[chosen], self.numbers[chosen])


@dataclass(frozen=True)
class Data:
    """What a net is trained on and what it is measured on.

    Attributes:
        train, test: no picture is in both.
        origin: in words, how the two came about; for the record.
    """

    train: Pictures
    test: Pictures
    origin: str


def split(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Train and test, 4 to 1 within each class, the same on every run; both keep their order.

    Raises:
        SourceError: a class has a single picture.
    """
    generator = np.random.default_rng(SPLIT_SEED)
    held_out = np.zeros(len(pictures), bool)
    for label in np.unique(pictures.labels):
        members = generator.permutation(np.flatnonzero(pictures.labels == label))
        if len(members) < 2:
            raise SourceError(
                f"class {label} has one picture; a split into train and test needs two or more"
            )
        held_out[members[: max(1, round(TEST_SHARE * len(members)))]] = True
    return pictures.take(np.flatnonzero(~held_out)), pictures.take(np.flatnonzero(held_out))
