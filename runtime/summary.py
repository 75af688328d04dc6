"""What a run amounted to: counts and percentiles in bounded memory."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from blurvote.runtime.verdict import Verdict

__all__ = ["Summary"]

_KEPT = 10_000  # most recent frames that percentiles are taken over
_STAGES = ("wait", "views", "denoise", "inference", "vote", "total")


class Summary:
    """Counts verdicts; feed it with `add`, read it with `to_dict` or `lines`."""

    def __init__(self) -> None:
        self.frames = self.accepted = self.denoised = self.broken = 0
        self._compared = self._disagreed = 0
        self._times = np.zeros((_KEPT, len(_STAGES)))
        self._timed = 0
        self._started = time.perf_counter()

    def add(self, verdict: Verdict, wait_ms: float = 0.0) -> None:
        """Takes in one verdict, and how long its frame waited for the guard."""
        if verdict.reason not in ("bad_frame", "stale_frame"):  # those took no time
            stage = verdict.stage_ms
            row = self._times[self._timed % _KEPT]
            row[0] = wait_ms
            row[1:] = [getattr(stage, name) for name in _STAGES[1:]]
            self._timed += 1
        self.frames += 1
        self.accepted += verdict.accepted
        self.denoised += verdict.denoised
        if verdict.disagreement is not None:
            self._compared += 1
            self._disagreed += verdict.disagreement

    @property
    def frames_per_second(self) -> float:
        """Frames per second of wall time since the summary was made, decoding included."""
        return self.frames / max(time.perf_counter() - self._started, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: counts, rates in [0, 1], percentiles of milliseconds per stage."""
        return {
            "frames": self.frames,
            "accepted": self.accepted,
            "rejected": self.frames - self.accepted,
            "denoised": self.denoised,
            "broken": self.broken,
            "disagreement_rate": self._disagreed / self._compared if self._compared else None,
            "frames_per_second": self.frames_per_second,
            "stage_ms": self.stage_ms(),
        }

    def stage_ms(self) -> dict[str, dict[str, float]]:
        """Percentiles of the newest verdicts' milliseconds: waiting for the guard, its stages, and
        the sum of those.
        """
        rows = self._times[: min(self._timed, _KEPT)]
        if not len(rows):
            return {}
        percentiles = np.percentile(rows, (50, 90, 99), axis=0)
        return {
            stage: {"p50": float(p50), "p90": float(p90), "p99": float(p99)}
            for stage, (p50, p90, p99) in zip(_STAGES, percentiles.T, strict=True)
        }

    def lines(self, live: bool = False) -> list[str]:
        """The same for people; how long frames waited for the guard only if they came live."""
        values = self.to_dict()
        text = (
            f"{values['frames']} frames: {values['accepted']} accepted, "
            f"{values['rejected']} rejected"
        )
        if values["disagreement_rate"] is not None:
            text += f"; first two views disagree on {values['disagreement_rate']:.1%}"
        if self.denoised:
            text += f"; {self.denoised} were noisy and denoised"
        if self.broken:
            text += f"; {self.broken} inputs could not be read"
        lines = [text]
        for name, p in values["stage_ms"].items():
            if name == "wait" and not live:  # a file's frames are read ahead, for want of work
                continue
            if name == "denoise" and not self.denoised:
                continue
            lines.append(
                f"  {name:<10} p50 {p['p50']:8.2f} ms   p90 {p['p90']:8.2f} ms   "
                f"p99 {p['p99']:8.2f} ms"
            )
        if self.frames:
            lines.append(
                f"  {values['frames_per_second']:.1f} frames per second, decoding included"
            )
        return lines
