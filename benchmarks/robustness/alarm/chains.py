"""False alarms on Markov chains: how they depend on the rate, its correlation and its drift."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from blurvote.benchmarks.robustness.alarm.measure import false_alarms
from blurvote.benchmarks.robustness.alarm.streams import Chain
from blurvote.runtime.pipeline.alarm import AlarmOptions

__all__ = ["CHAINS", "Case", "chain_rows"]

_DAY_S = 86400.0


@dataclass(frozen=True)
class Case:
    """One chain and what the alarm is told about it.

    Attributes:
        rate: of disagreements; rejections are a fifth of it, as a chain of their own.
        correlation_s: correlation time.
        drift: largest factor on the odds over a day and night, as a sine; 1 for none.
        hold_s: the alarm's; None for what was asked for.
        adapt_s: the alarm's; None for what was asked for.
    """

    rate: float
    correlation_s: float
    drift: float = 1.0
    hold_s: float | None = None
    adapt_s: float | None = None


CHAINS = (
    *(Case(rate, seconds) for rate in (0.002, 0.02, 0.2) for seconds in (0.0, 1.0, 3.0, 10.0)),
    *(Case(rate, 10.0, hold_s=10.0) for rate in (0.002, 0.02, 0.2)),
    *(Case(0.2, 1.0, drift) for drift in (1.5, 2.5)),
    *(Case(0.2, 1.0, drift, adapt_s=3600.0) for drift in (1.5, 2.5)),
)
"""What a report has, in its order."""


def chain_rows(
    days: int, size: int, options: AlarmOptions, seed: int, done: Callable[[int], None]
) -> list[dict[str, Any]]:
    """A row per case of `CHAINS`; none for 0 days.

    Args:
        days: streams of a day each, per case.
        size: frames in a block.
        options: of the alarm.
        seed: of the simulation.
        done: told how many streams are done in all cases together.
    """
    rows: list[dict[str, Any]] = []
    for case in CHAINS if days else ():
        told = replace(
            options,
            hold_s=options.hold_s if case.hold_s is None else case.hold_s,
            adapt_s=options.adapt_s if case.adapt_s is None else max(case.adapt_s, options.learn_s),
        )
        per_second = size / options.block_s
        chain = Chain(
            (case.rate, case.rate / 5),
            case.correlation_s * per_second,
            math.log(case.drift),
            _DAY_S * per_second,
        )
        before = len(rows) * days
        found = false_alarms(
            chain, days, size, told, (1.0, options.false_alarm_days), seed,
            lambda streams, before=before: done(before + streams),  # type: ignore[misc]
        )  # fmt: skip
        rows.append(
            {**asdict(case), "hold_s": told.hold_s, "adapt_s": told.adapt_s} | asdict(found)
        )
    return rows
