"""A word now and then from a run that takes minutes."""

from __future__ import annotations

import time
from collections.abc import Callable

from blurvote.benchmarks.latency.scenarios.settings import Settings

__all__ = ["EVERY_S", "Teller"]

EVERY_S = 5.0


class Teller:
    """Says how far a run is, at most every `EVERY_S` seconds."""

    def __init__(self, settings: Settings, say: Callable[[str], None] | None) -> None:
        self._settings = settings
        self._say = say
        self._began = self._last = time.monotonic()

    def started(self) -> None:
        """The warm-up is over: the run's clock starts."""
        self._began = self._last = time.monotonic()

    def tell(self, samples: int) -> None:
        """`samples` have been answered so far."""
        now = time.monotonic()
        if self._say is None or now - self._last < EVERY_S:
            return
        self._last = now
        self._say(
            f"{self._settings.scenario}: {now - self._began:.0f} s of at least "
            f"{self._settings.min_duration_s:.0f} s, {samples} samples"
        )
