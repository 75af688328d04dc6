"""Milliseconds of one call, as they add up."""

from __future__ import annotations

from dataclasses import dataclass

from blurvote.runtime.verdict import StageTimes

__all__ = ["Times"]


@dataclass
class Times:
    """Milliseconds spent so far in each stage of one call; see `StageTimes`."""

    views: float = 0.0
    inference: float = 0.0
    vote: float = 0.0
    denoise: float = 0.0

    @property
    def stages(self) -> StageTimes:
        """As a verdict has them."""
        return StageTimes(self.views, self.inference, self.vote, self.denoise)
