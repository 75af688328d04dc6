"""Settings of the alarm."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from blurvote.runtime.errors import SettingsError

__all__ = ["STATISTICS", "AlarmOptions"]

STATISTICS = ("disagreement", "rejection")
"""What an alarm watches the rates of."""

_MAX_BLOCKS = 5_000  # of learning and of the recent window: they are kept


@dataclass(frozen=True)
class AlarmOptions:
    """Settings of the alarm.

    Attributes:
        learn_s: seconds of watching that the baseline is learned from; twice or four times as long
            where hits come in clumps so long that less than 50 independent frames were seen.
        false_alarm_days: days between two false alarms of one camera, on average.
        block_s: seconds that are counted together.
        recent_s: seconds that "recent" means, in the state and for clearing.
        clear_s: how long the recent rates must be back near the baseline before the alarm clears.
        hold_s: how long one object keeps the views apart, in seconds, until learning shows it.
        odds: the smallest change to look for: how many times the odds of the baseline, above 1.
        fewer: also notice too few disagreements or rejections.
        adapt_s: time constant in seconds with which the baseline follows a quiet stream; 0 never.
        adapt_odds: how far it may follow, in times the learned odds, either way.
        ceiling: a learned rate above this is warned of; in (0, 1].

    Raises:
        SettingsError: a value that cannot be.
    """

    learn_s: float = 300.0
    false_alarm_days: float = 30.0
    block_s: float = 2.0
    recent_s: float = 60.0
    clear_s: float = 30.0
    hold_s: float = 2.0
    odds: float = 2.0
    fewer: bool = False
    adapt_s: float = 0.0
    adapt_odds: float = 3.0
    ceiling: float = 0.5

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.name == "fewer":
                if not isinstance(value, bool):
                    raise SettingsError(f"the alarm's fewer is {value!r}; expected true or false")
            elif (
                isinstance(value, bool)
                or not isinstance(value, (int, float))
                or not math.isfinite(value)
            ):
                raise SettingsError(f"the alarm's {entry.name} is {value!r}; expected a number")
        for name, passes, expected in (
            ("block_s", self.block_s > 0, "seconds above 0, such as 2"),
            (
                "learn_s",
                20 * self.block_s <= self.learn_s <= _MAX_BLOCKS * self.block_s,
                f"20 to {_MAX_BLOCKS} times block_s ({self.block_s:g}), such as 300",
            ),
            (
                "recent_s",
                self.block_s <= self.recent_s <= _MAX_BLOCKS * self.block_s,
                f"1 to {_MAX_BLOCKS} times block_s ({self.block_s:g}), such as 60",
            ),
            ("clear_s", self.clear_s >= 0, "seconds from 0 on, such as 30"),
            ("hold_s", self.hold_s >= 0, "seconds from 0 on, such as 2"),
            (
                "false_alarm_days",
                self.false_alarm_days * 86400 >= self.block_s,
                "days above 0, such as 30",
            ),
            ("odds", 1 < self.odds <= 10, "more than 1 and at most 10, such as 2"),
            (
                "adapt_s",
                self.adapt_s == 0 or self.adapt_s >= self.learn_s,
                f"0 (never) or at least learn_s ({self.learn_s:g}), such as 3600",
            ),
            ("adapt_odds", self.adapt_odds >= 1, "1 or more, such as 3"),
            ("ceiling", 0 < self.ceiling <= 1, "a share above 0 and up to 1, such as 0.5"),
        ):
            if not passes:
                raise SettingsError(
                    f"the alarm's {name} is {getattr(self, name):g}; expected {expected}"
                )

    @property
    def stages(self) -> tuple[int, int, int]:
        """After how many blocks learning may end."""
        blocks = round(self.learn_s / self.block_s)
        return blocks, 2 * blocks, 4 * blocks

    @property
    def threshold(self) -> float:
        """What a CUSUM raises the alarm at, in nats."""
        tests = len(STATISTICS) * 3 * (2 if self.fewer else 1)
        return math.log(tests * self.false_alarm_days * 86400 / self.block_s)
