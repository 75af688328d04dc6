"""Whether a frame is noisy: a switch that a stream's level must clearly leave to flip back."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["Judge", "NoiseSwitch", "alone", "by_source"]

MOST_SOURCES = 1024  # noisy at one time, beyond which the one not seen for longest is forgotten


class NoiseSwitch:
    """A Schmitt trigger per source: on from the level `high`, off again below `low`.

    Without the gap a camera whose noise lies near the switch would change between two sets of
    views with every frame, and its verdicts with them. Only sources that are noisy now take memory,
    and only frames that name their source have any: stills and bare arrays are judged by `high`
    alone. Frames of one source that several threads classify at once count in the order in which
    their levels come in. May be shared by several threads.

    Args:
        low, high: noise levels on the backbone's grid, 0 <= low <= high <= 1 in RGB units; see
            `Defense.noise_switch`.
    """

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self._noisy: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, level: float | None, source: str = "") -> bool:
        """Whether a frame of this level is noisy.

        Args:
            level: on the backbone's grid; None or NaN where there is no estimate, which is quiet.
            source: the frame's, see `Frame`; empty for a frame of no stream, which is judged by
                itself and leaves no trace.
        """
        level = -math.inf if level is None or math.isnan(level) else level
        if not source:
            return level >= self.high
        with self._lock:
            limit = self.low if source in self._noisy else self.high
            noisy = level >= limit
            if noisy:
                self._noisy[source] = None
                self._noisy.move_to_end(source)
                if len(self._noisy) > MOST_SOURCES:
                    self._noisy.popitem(last=False)
            else:
                self._noisy.pop(source, None)
        return noisy


Judge = Callable[[NoiseSwitch, float | None, str], bool]
"""Asks a switch about a frame, of which it gets the level on the grid and the source."""


def by_source(switch: NoiseSwitch, level: float | None, source: str) -> bool:
    """Whether a frame is noisy that belongs to the stream of its source."""
    return switch(level, source)


def alone(switch: NoiseSwitch, level: float | None, source: str) -> bool:
    """Whether a frame is noisy that belongs to no stream, though it may have a source."""
    return switch(level)
