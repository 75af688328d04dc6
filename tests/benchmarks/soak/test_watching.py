"""What watches a pipeline notices what it should."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.sums import sum_checks
from blurvote.benchmarks.soak.tally import Tallies
from blurvote.benchmarks.soak.witness import Witness
from blurvote.runtime import Guard, SourceError, StreamLostError
from blurvote.runtime.pipeline.settings import CameraSettings
from blurvote.runtime.sources import Script, SourceOptions, open_source, registry


@pytest.fixture(autouse=True)
def _own_openers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_OPENERS", dict(registry._OPENERS))


@pytest.fixture
def guard(make_guard: Callable[..., Path]) -> Iterator[Guard]:
    with Guard(make_guard(), "cpu", "batched", threads=1) as loaded:
        yield loaded


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def camera(*opens: Any) -> tuple[list[CameraSettings], Tallies]:
    tallies = Tallies()
    tallies.watch("script", Script(opens).open)
    return [CameraSettings("script:", "gate")], tallies


def steps(count: int, every_s: float = 0.01) -> Iterator[Any]:
    for seed in range(count):
        yield picture(seed)
        yield every_s


def test_tallies_count_what_a_source_delivers() -> None:
    tallies = Tallies()
    seen: list[int] = []
    tallies.look = lambda frame: seen.append(frame.sequence)
    script = Script([SourceError("busy"), [picture(0), SourceError("torn"), picture(1)]])
    tallies.watch("script", script.open)
    with pytest.raises(SourceError, match="busy"):
        open_source("script:", SourceOptions())
    source = open_source("script:")
    assert source.read() is not None
    with pytest.raises(SourceError, match="torn"):
        source.read()
    assert source.read() is not None
    source.close()
    source.close()
    tally = tallies.of("script:")
    assert (tally.asked, tally.opened, tally.closed) == (2, 1, 1)
    assert (tally.frames, tally.errors) == (2, 1)
    assert seen == [0, 1]


def test_a_fault_is_timed_and_sums_are_checked(guard: Guard) -> None:
    lost = StreamLostError("the cable")
    cameras, tallies = camera([*steps(60), lost], SourceError("busy"), steps(10**6))
    with Rig(guard, cameras, tallies=tallies) as rig:
        rig.warm_up(seconds=0.0)
        (fault,) = rig.harm("unplugged", ["gate"], lambda: None, lambda: None, lasts_s=1.0)
        assert fault.told == "gate is lost: the cable"
        assert fault.back_after_s is not None
        assert 0 <= fault.told_after_s <= 60
        assert fault.silent_s >= 0
    outcome = rig.outcome("test", "unplugged")
    assert outcome.status == "passed", [one for one in outcome.checks if not one.passed]
    (counts,) = outcome.cameras
    assert counts["frames"] == counts["verdicts"] + counts["dropped"]
    assert counts["reconnects"] == 1
    assert counts["longest_gap_s"] > 0.1, "the pauses between the tries"
    assert any("gate is lost" in event for event in outcome.events)


def test_verdicts_that_never_come_back_fail(guard: Guard) -> None:
    cameras, tallies = camera([*steps(30)], *[SourceError("gone")] * 100)
    with Rig(guard, cameras, tallies=tallies) as rig:
        rig.warm_up(seconds=0.0)
        (fault,) = rig.harm("gone", ["gate"], lambda: None, lambda: None, 1.0, within_s=0.2)
        assert fault.back_after_s is None
    failed = [check.name for check in rig.outcome("test", "").checks if not check.passed]
    assert failed == ["verdicts flowed again after every fault"]


def _shot(**changes: Any) -> dict[str, Any]:
    counts = {"frames": 10, "verdicts": 7, "dropped": 3, "pending": 0}
    sink = {"name": "s", "put": 7, "delivered": 5, "dropped": 2, "queued": 0}
    sink |= {key: changes.pop(key) for key in ("put",) if key in changes}
    return {"cameras": [{"name": "gate", "live": True, **counts, **changes}], "sinks": [sink]}


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({}, []),
        ({"dropped": 2}, ["frames = verdicts + dropped, none pending"]),
        ({"pending": 1}, ["frames = verdicts + dropped, none pending"]),
        ({"frames": 8, "dropped": 1}, ["sources delivered as many frames as were counted"]),
        ({"frames": 11, "dropped": 4}, ["sources delivered as many frames as were counted"]),
        ({"verdicts": 6, "dropped": 4}, ["a sink received every verdict"]),
        ({"put": 8}, ["of every sink, put = delivered + dropped + queued"]),
    ],
)
def test_sums_that_do_not_add_up(changes: dict[str, Any], failed: list[str]) -> None:
    witness, tallies = Witness(), Tallies()
    witness.verdicts["gate"] = 7
    tally = tallies.of("script:")
    tally.frames, tally.opened, tally.closed = 10, 1, 1
    checks = sum_checks([CameraSettings("script:", "gate")], _shot(**changes), witness, tallies)
    assert [check.name for check in checks if not check.passed] == failed


def test_a_source_that_stays_open_is_found() -> None:
    witness, tallies = Witness(), Tallies()
    witness.verdicts["gate"] = 7
    tally = tallies.of("script:")
    tally.frames, tally.opened = 10, 1
    checks = sum_checks([CameraSettings("script:", "gate")], _shot(), witness, tallies)
    assert [check.name for check in checks if not check.passed] == [
        "every source that was opened is closed"
    ]
