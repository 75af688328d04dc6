"""The system under test: a classifier over samples that are in memory already."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard

__all__ = ["Pace", "SystemUnderTest"]


_clock = time.perf_counter


@dataclass(frozen=True)
class Pace:
    """Seconds that a call with `size` samples took.

    Attributes:
        size: samples of a call.
        fastest_s: of the fastest call.
        quick_s: on average over the quickest of four stretches: samples may differ in cost, and a
            stretch may be disturbed.
    """

    size: int
    fastest_s: float
    quick_s: float


@dataclass(frozen=True)
class SystemUnderTest:
    """What both harnesses drive.

    Attributes:
        classify: labels of the samples with these indices, in their order; called from one thread
            at a time, not always the same one.
        samples: how many samples there are to choose from.
        batch: how many samples one call takes at most.

    Raises:
        BlurvoteError: no samples, or a batch below 1.
    """

    classify: Callable[[Sequence[int]], Sequence[int]]
    samples: int
    batch: int = 1

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise BlurvoteError("there are no samples to classify; expected at least one frame")
        if self.batch < 1:
            raise BlurvoteError(f"batch is {self.batch!r}; expected at least 1")

    @classmethod
    def of_guard(
        cls, guard: Guard, frames: Sequence[NDArray[np.uint8]], batch: int = 1
    ) -> SystemUnderTest:
        """A guard over frames `(H, W, 3)` uint8, RGB; the label of a rejected frame is -1."""

        def classify(indices: Sequence[int]) -> list[int]:
            return [verdict.label for verdict in guard.classify_batch([frames[i] for i in indices])]

        return cls(classify, len(frames), batch)

    def __call__(self, indices: Sequence[int]) -> Sequence[int]:
        """The labels of at most `batch` samples.

        Raises:
            BlurvoteError: `classify` gave another number of labels.
        """
        labels = self.classify(indices)
        if len(labels) != len(indices):
            raise BlurvoteError(
                f"classify gave {len(labels)} labels for {len(indices)} samples; expected as many"
            )
        return labels

    def batches(self, indices: Sequence[int]) -> Iterator[Sequence[int]]:
        """The indices in runs of at most `batch`."""
        for first in range(0, len(indices), self.batch):
            yield indices[first : first + self.batch]

    def warm_up(self, size: int, seconds: float) -> Pace:
        """Classifies runs of `size` samples, at most `batch`, for about that long."""
        size = min(size, self.batch)
        times: list[float] = []
        began = _clock()
        # The first call pays for lazy initialisation and tells nothing about the next.
        while len(times) < 4 or _clock() - began < seconds:
            first = len(times) * size
            started = _clock()
            self([i % self.samples for i in range(first, first + size)])
            times.append(_clock() - started)
        stretches = np.array_split(times[1:], min(4, len(times) - 1))
        return Pace(size, min(times[1:]), min(float(part.mean()) for part in stretches))
