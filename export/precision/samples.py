"""Pictures in three parts, and their views: what calibrates is not what chooses or reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.export.calibration_images import Picture, list_pictures, read_picture
from blurvote.runtime.defense import Defense
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import DefenseError, ExportError
from blurvote.runtime.views import ViewBuilder

__all__ = ["Parts", "Samples", "split"]

FEWEST = 12  # pictures, so that each part of int8 has three
MOST = 64  # pictures of the first and of the second part, to bound the time


@dataclass(frozen=True)
class Parts:
    """Pictures, no one of them in two parts."""

    calibrate: tuple[Picture, ...]
    choose: tuple[Picture, ...]
    report: tuple[Picture, ...]


def split(pictures: Sequence[Picture], seed: int) -> Parts:
    """A quarter to calibrate, a quarter to choose (64 each at most), the rest to report on."""
    order = np.random.default_rng(seed).permutation(len(pictures))
    drawn = [pictures[index] for index in order]
    part = min(len(drawn) // 4, MOST)
    return Parts(tuple(drawn[:part]), tuple(drawn[part : 2 * part]), tuple(drawn[2 * part :]))


class Samples:
    """A folder's pictures as views of one defence.

    Attributes:
        pictures: those that can be read and served.
        skipped: the others, path to reason.

    Raises:
        ExportError: too few pictures can be used; see `list_pictures` for the rest.
    """

    def __init__(
        self,
        folder: Path,
        truth: Path | None,
        defense: Defense,
        seed: int,
        say: Callable[[str], None],
    ) -> None:
        self._builder = ViewBuilder(defense)
        self._views, self._seed = defense.views, seed
        self.pictures: list[Picture] = []
        self.skipped: dict[str, str] = {}
        listed = list_pictures(folder, truth)
        say(f"looking at {len(listed)} pictures")
        for picture in listed:
            try:
                self._builder.plan(*read_picture(picture.path).shape[:2])
            except (DefenseError, ExportError) as error:
                self.skipped[str(picture.path)] = str(error)
            else:
                self.pictures.append(picture)
        why = ""
        if self.skipped:
            path, reason = next(iter(self.skipped.items()))
            why = f"{len(self.skipped)} cannot be used, such as {path}: {reason}"
            say(f"pictures: {why}")
        if len(self.pictures) < FEWEST:
            raise ExportError(
                f"only {len(self.pictures)} pictures of {folder} can be used; at least {FEWEST} "
                "are needed" + (f". {why}" if why else "")
            )
        self._number = {picture.path: number for number, picture in enumerate(self.pictures)}

    def views(self, pictures: Sequence[Picture], sigma: float) -> Iterator[NDArray[np.float32]]:
        """`(V, 3, h, w)` of each picture, with 8-bit noise of `sigma` (of values in [0, 1])."""
        for picture in pictures:
            pixels = read_picture(picture.path)
            if sigma:
                # The same draw for every sigma, as for every precision.
                random = np.random.default_rng([self._seed, self._number[picture.path]])
                pixels = add_noise(pixels, sigma, random)
            yield self._builder.build(pixels, colour="bgr", views=self._views)
