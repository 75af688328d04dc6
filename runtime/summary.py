"""What a run amounted to: counts and percentiles in bounded memory."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from blurvote.runtime.verdict import Verdict

__all__ = ["Summary"]

_KEPT = 10_000  # most recent frames that percentiles are taken over


class Summary:
    """Counts verdicts; feed it with `add`, read it with `to_dict` or `lines`."""

    def __init__(self) -> None:
        self.frames = self.accepted = self.broken = 0
        self._compared = self._disagreed = 0
        self._times = np.zeros((_KEPT, 4))
        self._started = time.perf_counter()

    def add(self, verdict: Verdict) -> None:
        """Takes in one verdict."""
        stage = verdict.stage_ms
        self._times[self.frames % _KEPT] = stage.views, stage.inference, stage.vote, stage.total
        self.frames += 1
        self.accepted += verdict.accepted
        if verdict.disagreement is not None:
            self._compared += 1
            self._disagreed += verdict.disagreement

    @property
    def frames_per_second(self) -> float:
        """Frames per second of wall time since the summary was made, decoding included."""
        return self.frames / max(time.perf_counter() - self._started, 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: counts, rates in [0, 1], percentiles of milliseconds per stage."""
        stages = {}
        if self.frames:
            times = self._times[: min(self.frames, _KEPT)]
            for k, name in enumerate(("views", "inference", "vote", "total")):
                p50, p90, p99 = np.percentile(times[:, k], (50, 90, 99))
                stages[name] = {"p50": p50, "p90": p90, "p99": p99}
        return {
            "frames": self.frames,
            "accepted": self.accepted,
            "rejected": self.frames - self.accepted,
            "broken": self.broken,
            "disagreement_rate": self._disagreed / self._compared if self._compared else None,
            "frames_per_second": self.frames_per_second,
            "stage_ms": stages,
        }

    def lines(self) -> list[str]:
        """The same for people."""
        values = self.to_dict()
        text = (
            f"{values['frames']} frames: {values['accepted']} accepted, "
            f"{values['rejected']} rejected"
        )
        if values["disagreement_rate"] is not None:
            text += f"; first two views disagree on {values['disagreement_rate']:.1%}"
        if self.broken:
            text += f"; {self.broken} inputs could not be read"
        lines = [text]
        for name, p in values["stage_ms"].items():
            lines.append(
                f"  {name:<10} p50 {p['p50']:8.2f} ms   p90 {p['p90']:8.2f} ms   "
                f"p99 {p['p99']:8.2f} ms"
            )
        if self.frames:
            lines.append(
                f"  {values['frames_per_second']:.1f} frames per second, decoding included"
            )
        return lines
