"""All scenarios."""

from __future__ import annotations

from blurvote.benchmarks.soak import (
    brokers,
    cameras,
    damage,
    disks,
    endurance,
    loads,
    service,
    streams,
)
from blurvote.benchmarks.soak.setup import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for group in (
        streams.SCENARIOS,
        damage.SCENARIOS,
        brokers.SCENARIOS,
        disks.SCENARIOS,
        loads.SCENARIOS,
        endurance.SCENARIOS,
        cameras.SCENARIOS,
        service.SCENARIOS,
    )
    for scenario in group
}
