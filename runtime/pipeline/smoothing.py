"""One label of the last few verdicts of a camera, so that a single odd frame changes nothing."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

from blurvote.runtime.verdict import Verdict
from blurvote.runtime.vote import REJECTED

if TYPE_CHECKING:
    from blurvote.runtime.pipeline.settings import Smoothing

__all__ = ["Smoother"]


class Smoother:
    """k of n over the verdicts of one camera.

    Rejections take a place among the last n and vote for nothing. Before n verdicts were seen, k of
    those seen are still needed. Memory is n labels.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self._needed = smoothing.k
        self._last: deque[int] = deque(maxlen=smoothing.n)
        self._counts: Counter[int] = Counter()

    def update(self, verdict: Verdict) -> int:
        """Takes in the next verdict.

        Returns:
            The label that at least k of the last n verdicts agree on; -1 where there is none.
        """
        if len(self._last) == self._last.maxlen:
            oldest = self._last[0]
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]  # a camera may see a thousand classes in its weeks
        label = verdict.label if verdict.accepted else REJECTED
        self._last.append(label)
        self._counts[label] += 1
        # k is more than n/2, so at most one label has it: walking all of them finds that one.
        for candidate, count in self._counts.items():
            if count >= self._needed:
                return candidate
        return REJECTED

    def reset(self) -> None:
        """Forgets all verdicts, as after a reconnect: the scene may have changed meanwhile."""
        self._last.clear()
        self._counts.clear()
