"""The summary: counts, rates and percentiles, against NumPy on the whole list."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blurvote.runtime import StageTimes, Verdict
from blurvote.runtime.summary import _KEPT, Summary

MS = st.floats(0, 1e4)


def verdict(label: int, votes: tuple[int | None, ...], ms: tuple[float, float, float]) -> Verdict:
    reason: Any = None if label >= 0 else "no_majority"
    return Verdict(label, None, reason, None, None, votes, "cascade", StageTimes(*ms), "", 0, 0.0)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    votes = draw(
        st.sampled_from([(0, 0, None), (0, 1, 0), (0, 1, 2), (-1, 0, 0), (1,), (None, 1, 1)])
    )
    return verdict(draw(st.integers(-1, 2)), votes, draw(st.tuples(MS, MS, MS)))


@settings(deadline=None)
@given(seen=st.lists(verdicts(), max_size=30), broken=st.integers(0, 3))
def test_the_numbers_are_those_of_the_list(seen: list[Verdict], broken: int) -> None:
    summary = Summary()
    for one in seen:
        summary.add(one)
    summary.broken = broken
    said = json.loads(json.dumps(summary.to_dict()))
    assert said["frames"] == len(seen)
    assert said["accepted"] == sum(one.label >= 0 for one in seen)
    assert said["accepted"] + said["rejected"] == len(seen)
    assert said["broken"] == broken
    compared = [one.disagreement for one in seen if one.disagreement is not None]
    if compared:
        assert said["disagreement_rate"] == pytest.approx(np.mean(compared))
    else:
        assert said["disagreement_rate"] is None
    assert (said["frames_per_second"] > 0) == bool(seen)
    if not seen:
        assert said["stage_ms"] == {}
    for stage in ("views", "inference", "vote", "total") if seen else ():
        times = [getattr(one.stage_ms, stage) for one in seen]
        assert list(said["stage_ms"][stage]) == ["p50", "p90", "p99"]
        np.testing.assert_allclose(
            list(said["stage_ms"][stage].values()), np.percentile(times, (50, 90, 99))
        )


def test_percentiles_are_of_the_most_recent_frames() -> None:
    summary = Summary()
    held = summary._times.nbytes
    slow, fast = verdict(0, (0, 0), (9, 9, 9)), verdict(0, (0, 0), (1, 2, 3))
    for one in [slow] * 500 + [fast] * _KEPT:
        summary.add(one)
    said = summary.to_dict()
    assert said["frames"] == _KEPT + 500
    assert said["stage_ms"]["total"] == {"p50": 6, "p90": 6, "p99": 6}
    assert summary._times.nbytes == held


def test_lines_for_people() -> None:
    summary = Summary()
    assert summary.lines() == ["0 frames: 0 accepted, 0 rejected"]
    summary.add(verdict(0, (0, 1, 0), (1, 2, 3)))
    summary.add(verdict(-1, (0, 0, None), (1, 2, 3)))
    summary.broken = 2
    first, *stages, last = summary.lines()
    assert first == (
        "2 frames: 1 accepted, 1 rejected; first two views disagree on 50.0%; "
        "2 inputs could not be read"
    )
    assert stages == [
        f"  {name:<10} p50     {ms}.00 ms   p90     {ms}.00 ms   p99     {ms}.00 ms"
        for name, ms in (("views", 1), ("inference", 2), ("vote", 3), ("total", 6))
    ]
    assert last.endswith(" frames per second, decoding included")


def test_noisy_frames_are_counted_and_their_denoising_timed() -> None:
    summary = Summary()
    summary.add(verdict(0, (0, 0, 0), (1, 2, 3)))
    assert not any("denoise" in line for line in summary.lines())
    noisy = verdict(0, (0, 0, 0), (1, 2, 3))
    summary.add(replace(noisy, denoised=True, stage_ms=StageTimes(1, 2, 3, 10)))
    said = summary.to_dict()
    assert said["denoised"] == 1
    assert said["stage_ms"]["denoise"] == {"p50": 5, "p90": 9, "p99": pytest.approx(9.9)}
    assert said["stage_ms"]["total"]["p50"] == 11
    first, *stages, _ = summary.lines()
    assert first.endswith("; 1 were noisy and denoised")
    assert [line.split()[0] for line in stages] == [
        "views", "denoise", "inference", "vote", "total"
    ]  # fmt: skip
