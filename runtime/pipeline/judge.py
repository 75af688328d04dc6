"""Turns waiting frames into observations: one inference for all that deserve one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from blurvote.runtime.errors import DefenseError, FrameError, GuardError
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Observation
from blurvote.runtime.pipeline.camera import Camera
from blurvote.runtime.pipeline.mailbox import Waiting
from blurvote.runtime.summary import Summary
from blurvote.runtime.verdict import Reason, Verdict

__all__ = ["Judge"]


class Judge:
    """A guard for frames of several cameras, of which some may be unfit.

    Attributes:
        summary: of all verdicts so far.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.summary = Summary()

    def judge(self, batch: Sequence[Waiting[Camera]]) -> list[Observation]:
        """One observation per frame, in their order.

        Frames with a flaw or beyond their camera's age limit are rejected without inference. One
        that the guard cannot serve is rejected as `bad_frame`, and costs the others nothing.
        """
        taken_at = time.monotonic()
        flaws = [_flaw(waiting, taken_at) for waiting in batch]
        fit = [waiting for waiting, flaw in zip(batch, flaws, strict=True) if flaw is None]
        made = iter(self._verdicts(fit))
        observations = []
        for waiting, flaw in zip(batch, flaws, strict=True):
            verdict = next(made) if flaw is None else self._rejection(waiting, flaw)
            self.summary.add(verdict, (taken_at - waiting.since) * 1e3)
            observations.append(waiting.slot.owner.observe(waiting, verdict))
        return observations

    def facts(self) -> dict[str, Any]:
        """What the guard is, as plain values; a verdict's `denoised` tells which views are its."""
        guard, defense = self._guard, self._guard.defense
        return {
            "path": guard.path.name,
            "decision": defense.decision,
            "plan": guard.plan,
            "provider": guard.provider,
            "compute": guard.compute,
            "views": [defense.view_name(view) for view in defense.views],
            "noisy_views": [
                defense.view_name(view, noisy=True) for view in defense.views if defense.adaptive
            ],
        }

    def _verdicts(self, batch: Sequence[Waiting[Camera]]) -> list[Verdict]:
        try:
            return self._guard.classify_batch([waiting.frame for waiting in batch])
        except (DefenseError, FrameError, GuardError) as error:
            if self._guard.closed or not batch:
                raise
            if len(batch) > 1:
                return [self._verdicts([waiting])[0] for waiting in batch]
            batch[0].slot.owner.broke(error)
            return [self._rejection(batch[0], "bad_frame")]

    def _rejection(self, waiting: Waiting[Camera], reason: Reason) -> Verdict:
        guard = self._guard
        views = len(guard.defense.views)
        return Verdict.without_inference(waiting.frame, reason, views, guard.plan)


def _flaw(waiting: Waiting[Camera], now: float) -> Reason | None:
    camera = waiting.slot.owner
    limit = camera.settings.max_age_s
    if waiting.flaw is None and camera.live and limit and now - waiting.frame.captured_at > limit:
        return "stale_frame"
    return waiting.flaw
