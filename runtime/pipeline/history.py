"""How one camera fared: counts per second for ten minutes, and per minute for a day."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from blurvote.runtime.observation import Observation

__all__ = ["History", "Recent"]

_COUNTS = ("verdicts", "rejected", "compared", "disagreed", "dropped")


@dataclass(frozen=True)
class Recent:
    """The sums over a stretch of time that ends now.

    Attributes:
        verdicts: all of them; `rejected` are those without a label.
        compared: verdicts whose first two views were both run; `disagreed` are those that differ.
        dropped: frames that got no verdict.
        mean_age_ms, max_age_ms: of the verdicts; None without any.
    """

    verdicts: int
    rejected: int
    compared: int
    disagreed: int
    dropped: int
    mean_age_ms: float | None
    max_age_ms: float | None

    @property
    def reject_rate(self) -> float | None:
        """Rejected of all verdicts, in [0, 1]; None without verdicts."""
        return self.rejected / self.verdicts if self.verdicts else None

    @property
    def disagreement_rate(self) -> float | None:
        """Disagreed of the compared verdicts, in [0, 1]; None without any."""
        return self.disagreed / self.compared if self.compared else None


class _Ring:
    """Sums per step of time; steps older than `slots` are overwritten. Not thread-safe."""

    def __init__(self, step_s: int, slots: int, now: float) -> None:
        self.step_s = step_s
        self.slots = slots
        self.counts = {name: array("q", bytes(8 * slots)) for name in _COUNTS}
        self.age_sum = array("d", bytes(8 * slots))
        self.age_max = array("d", bytes(8 * slots))
        self._columns: list[array[Any]] = [*self.counts.values(), self.age_sum, self.age_max]
        self.newest = self.oldest = int(now // step_s)

    def slot(self, now: float) -> int:
        """Where to count now; clears the steps that passed since the last call."""
        step = int(now // self.step_s)
        if step > self.newest:
            for passed in range(max(self.newest + 1, step - self.slots + 1), step + 1):
                for column in self._columns:
                    column[passed % self.slots] = 0
            self.newest = step
            self.oldest = max(self.oldest, step - self.slots + 1)
        return self.newest % self.slots

    def in_order(self, column: array[Any], last: int) -> list[Any]:
        """The newest `last` steps of a column at most, oldest first."""
        count = min(last, self.newest - self.oldest + 1)
        begin, end = (self.newest - count + 1) % self.slots, self.newest % self.slots + 1
        if begin < end:
            return column[begin:end].tolist()
        return column[begin:].tolist() + column[:end].tolist()


class History:
    """Counts of one camera's verdicts over time, in fixed memory (about 120 KB).

    Any thread may call it. Times are those of the calls, so a camera that was away leaves steps
    of zeros.

    Args:
        clock: seconds that never go back.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        now = clock()
        self._seconds = _Ring(1, 600, now)
        self._minutes = _Ring(60, 1440, now)

    def add(self, observation: Observation) -> None:
        """Counts one verdict."""
        verdict = observation.verdict
        rejected = verdict.reason is not None
        differs = verdict.disagreement
        age = verdict.age_ms
        with self._lock:
            now = self._clock()
            for ring in (self._seconds, self._minutes):
                at = ring.slot(now)
                counts = ring.counts
                counts["verdicts"][at] += 1
                if rejected:
                    counts["rejected"][at] += 1
                if differs is not None:
                    counts["compared"][at] += 1
                    if differs:
                        counts["disagreed"][at] += 1
                ring.age_sum[at] += age
                if age > ring.age_max[at]:
                    ring.age_max[at] = age

    def drop(self, frames: int = 1) -> None:
        """Counts frames that were dropped without a verdict."""
        with self._lock:
            now = self._clock()
            for ring in (self._seconds, self._minutes):
                ring.counts["dropped"][ring.slot(now)] += frames

    def recent(self, seconds: int = 60) -> Recent:
        """The sums over the last `seconds`, the one that is under way included; 600 at most."""
        ring = self._seconds
        with self._lock:
            ring.slot(self._clock())
            sums = {name: sum(ring.in_order(ring.counts[name], seconds)) for name in _COUNTS}
            age_sum = sum(ring.in_order(ring.age_sum, seconds))
            age_max = max(ring.in_order(ring.age_max, seconds))
        some = sums["verdicts"]
        return Recent(
            **sums,
            mean_age_ms=age_sum / some if some else None,
            max_age_ms=age_max if some else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for `json.dumps`: `seconds` and `minutes`.

        Each has `step_s`, `start` (when its first step began, in seconds since 1970) and one list
        per column, oldest step first, the step under way last: `verdicts`, `rejected`, `compared`,
        `disagreed`, `dropped`, and `mean_age_ms` and `max_age_ms` with None where no verdict was.
        """
        with self._lock:
            now, wall = self._clock(), self._wall()
            return {
                "seconds": _columns(self._seconds, now, wall),
                "minutes": _columns(self._minutes, now, wall),
            }


def _columns(ring: _Ring, now: float, wall: float) -> dict[str, Any]:
    ring.slot(now)
    columns = {name: ring.in_order(ring.counts[name], ring.slots) for name in _COUNTS}
    some = columns["verdicts"]
    sums, most = (ring.in_order(column, ring.slots) for column in (ring.age_sum, ring.age_max))
    first = ring.newest - len(some) + 1
    return {
        "step_s": ring.step_s,
        "start": round(wall - now + first * ring.step_s, 3),
        **columns,
        "mean_age_ms": [round(s / n, 2) if n else None for s, n in zip(sums, some, strict=True)],
        "max_age_ms": [round(a, 2) if n else None for a, n in zip(most, some, strict=True)],
    }
