"""From the ballot of a frame to its verdict, by the rules of a guard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blurvote.runtime.decision import (
    Ballot,
    Outcome,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.defense import Defense
from blurvote.runtime.frame import Frame
from blurvote.runtime.plans import PlanName
from blurvote.runtime.times import Times
from blurvote.runtime.verdict import Verdict
from blurvote.runtime.vote import REJECTED

__all__ = ["Rules"]


@dataclass(frozen=True)
class Rules:
    """What turns ballots into verdicts.

    Attributes:
        threshold: smallest mean softmax accepted of a quiet frame; None where the majority decides.
        noisy_threshold: the same of a noisy frame.
        labels: class names in index order; empty where there are none.
    """

    threshold: float | None
    noisy_threshold: float | None
    labels: tuple[str, ...]

    @classmethod
    def in_force(
        cls,
        defense: Defense,
        labels: tuple[str, ...],
        threshold: float | None,
        origin: str | Path,
    ) -> Rules:
        """The rules of a guard whose thresholds `threshold`, if it is not None, replaces.

        Raises:
            GuardError: as `threshold_in_force`, which tells what else is given here.
        """
        quiet, noisy = (
            threshold_in_force(defense, threshold, origin, noisy) for noisy in (False, True)
        )
        return cls(quiet, noisy, labels)

    def decide(self, ballot: Ballot) -> Outcome:
        """The decision on one frame."""
        threshold = self.noisy_threshold if ballot.denoised else self.threshold
        if threshold is None:
            return decide_majority(ballot)
        return decide_mean(ballot, threshold)

    def verdicts(
        self, frames: Sequence[Frame], ballots: Sequence[Ballot], plan: PlanName, times: Times
    ) -> list[Verdict]:
        """The verdicts on frames of one call, in their order; it adds its own time to `times`."""
        started = time.perf_counter()
        outcomes = [self.decide(ballot) for ballot in ballots]
        now = time.monotonic()
        times.vote += (time.perf_counter() - started) * 1e3
        stages = times.stages
        verdicts = []
        for frame, ballot, outcome in zip(frames, ballots, outcomes, strict=True):
            label = outcome.label
            verdicts.append(
                Verdict(
                    label=label,
                    name=self.labels[label] if 0 <= label < len(self.labels) else None,
                    reason=outcome.reason,
                    confidence=outcome.confidence,
                    count=_count(ballot, label),
                    view_labels=ballot.view_labels
                    + (None,) * (ballot.views - len(ballot.view_labels)),
                    plan=plan,
                    stage_ms=stages,
                    source=frame.source,
                    sequence=frame.sequence,
                    age_ms=(now - frame.captured_at) * 1e3,
                    noise=ballot.noise,
                    denoised=ballot.denoised,
                )
            )
        return verdicts


def _count(ballot: Ballot, label: int) -> int | None:
    """Votes for the winner, which only a complete ballot knows."""
    if not ballot.complete:
        return None
    return ballot.count if label == REJECTED else ballot.view_labels.count(label)
