"""What a process holds over time, and whether that stays flat."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from blurvote.runtime.pipeline.process import process_usage

__all__ = [
    "ALLOCATOR_MIB",
    "LEAST_BYTES",
    "Growth",
    "Sample",
    "Sampler",
    "growth",
    "leak_bound_mib",
]

LEAST_BYTES = 24
"""Of the smallest thing that Python code can leave behind: a float."""

ALLOCATOR_MIB = 4.0
"""By which memory moves although nothing leaks: an arena of Python's (1 MiB), and glibc's arenas of
the pipeline's threads, which grow to their peak by and by."""

EVERY_S = 0.1
_MOST = 4096  # samples that are kept; of longer runs every second, fourth, ... one


@dataclass(frozen=True)
class Sample:
    """At one moment: units of work done so far, memory in MiB, threads, open descriptors."""

    work: float
    rss_mib: float
    threads: int
    files: int


@dataclass(frozen=True)
class Growth:
    """Of the second half of a run, by least squares.

    Attributes:
        work: units of work (frames, returns of a camera) in that half.
        rss_mib: growth over it.
        per_work_bytes: the slope.
        threads, files: growth over it.
        range_mib: from the least to the most.
    """

    work: float
    rss_mib: float
    per_work_bytes: float
    threads: float
    files: float
    range_mib: float


def growth(samples: Sequence[Sample]) -> Growth:
    """Fits straight lines to the second half of `samples`, by work done.

    Raises:
        ValueError: there are fewer than four of them, or no work was done in that half.
    """
    if len(samples) < 4:
        raise ValueError(f"{len(samples)} samples; expected at least 4")
    middle = (samples[0].work + samples[-1].work) / 2
    late = [sample for sample in samples if sample.work >= middle]
    work = np.array([sample.work for sample in late])
    span = float(np.ptp(work))
    if not span:
        raise ValueError("no work was done in the second half")

    def grown(values: list[float]) -> float:
        return float(np.polyfit(work - work[0], values, 1)[0]) * span

    memory = [sample.rss_mib for sample in late]
    rss = grown(memory)
    return Growth(
        work=span,
        rss_mib=rss,
        per_work_bytes=rss * 2**20 / span,
        threads=grown([float(sample.threads) for sample in late]),
        files=grown([float(sample.files) for sample in late]),
        range_mib=max(memory) - min(memory),
    )


def leak_bound_mib(work: float, unit_mib: float = 0.0) -> float:
    """Growth of memory over so many units of work that cannot be told from none.

    As much as if each unit left the smallest Python object behind, plus what allocators move by
    anyway, plus `unit_mib` where large pictures come and go.
    """
    return work * LEAST_BYTES / 2**20 + ALLOCATOR_MIB + unit_mib


class Sampler:
    """Takes a `Sample` ten times a second, from a thread of its own, in bounded memory.

    Args:
        work: says how much was done so far.
    """

    def __init__(self, work: Callable[[], float]) -> None:
        self._work = work
        self._samples: list[Sample] = []
        self._every = 1
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-sampler", daemon=True)
        self._thread.start()

    @property
    def samples(self) -> list[Sample]:
        """Those kept, oldest first."""
        return [*self._samples]

    def take(self) -> Sample:
        """One now, which is not kept."""
        usage = process_usage()
        return Sample(
            self._work(),
            (usage["rss_bytes"] or 0) / 2**20,
            usage["threads"] or 0,
            usage["open_files"] or 0,
        )

    def stop(self) -> None:
        """Ends the thread."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        turn = 0
        while not self._stopping.wait(EVERY_S):
            turn += 1
            if turn % self._every:
                continue
            self._samples.append(self.take())
            if len(self._samples) >= _MOST:
                self._samples = self._samples[::2]
                self._every *= 2
