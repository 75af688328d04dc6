"""The alarm: learning, watching, raising, clearing, and what it must not be fooled by."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import StageTimes, Verdict
from blurvote.runtime.errors import SettingsError
from blurvote.runtime.pipeline.alarm import Alarm, AlarmChange, AlarmOptions
from blurvote.runtime.pipeline.baseline import Baseline, learn_baseline, rate_bounds
from blurvote.runtime.pipeline.settings import CameraSettings

FPS = 16.0  # a power of two: frame times are exact
SMALL = AlarmOptions(learn_s=60, hold_s=0)


def verdict(differ: bool | None = False, reason: Any = None) -> Verdict:
    labels = (1, None, None) if differ is None else (1, 2 if differ else 1, None)
    return Verdict(
        -1 if reason else 1, None, reason, None, None, labels, "cascade",
        StageTimes(0, 0, 0), "", 0, 0.0,
    )  # fmt: skip


KINDS = [[verdict(d, r) for r in (None, "no_majority")] for d in (False, True)]


class Camera:
    """Feeds an alarm with frames drawn at given rates."""

    def __init__(self, options: AlarmOptions, seed: int = 0, fps: float = FPS) -> None:
        self.alarm = Alarm(options)
        self.random = np.random.default_rng(seed)
        self.fps, self.at_s = fps, 1000.0

    def see(self, seconds: float, differ: float, rejected: float = 0.01) -> list[AlarmChange]:
        count = round(seconds * self.fps)
        draws = self.random.random((count, 2)) < (differ, rejected)
        return self.feed(KINDS[d][r] for d, r in draws.tolist())

    def feed(self, verdicts: Iterable[Verdict]) -> list[AlarmChange]:
        return list(self._changes(verdicts))

    def _changes(self, verdicts: Iterable[Verdict]) -> Iterator[AlarmChange]:
        for one in verdicts:
            change = self.alarm.update(one, self.at_s)
            self.at_s += 1 / self.fps
            if change:
                yield change

    @property
    def state(self) -> dict[str, Any]:
        return self.alarm.state()


def reference(
    blocks: np.ndarray, learned: list[Baseline], options: AlarmOptions
) -> tuple[int, np.ndarray]:
    """The first block that raises, and the values before it: cumulated sums minus their minimum.

    `blocks` is `(T, 2, 2)`: frames and hits of each statistic.
    """
    values = []
    for k, base in enumerate(learned):
        for odds in (options.odds**p for p in (1, 2, 4)):
            changed = odds * base.high / (1 - base.high + odds * base.high)
            n, x = blocks[:, k, 0], blocks[:, k, 1]
            weight = np.minimum(1, base.per_block / n) / base.inflation
            step = weight * (
                x * np.log(changed / base.high) + (n - x) * np.log((1 - changed) / (1 - base.high))
            )
            walk = np.concatenate([[0], np.cumsum(step)])
            values.append((walk - np.minimum.accumulate(walk))[1:])
    peak = np.max(values, axis=0)
    crossed = np.flatnonzero(peak >= options.threshold)
    return int(crossed[0]), peak


def test_it_is_the_cumulated_likelihood_ratio() -> None:
    camera = Camera(SMALL)
    assert not camera.see(60, 0.2, 0.03)
    size = round(2 * FPS)
    draws = camera.random.random((400 * size, 2)) < (0.2, 0.03)
    draws[200 * size :, 0] = camera.random.random(200 * size) < 0.45
    verdicts = [KINDS[d][r] for d, r in draws.tolist()]
    # The first block's end is seen with the first frame of the next.
    camera.feed(verdicts[:1])
    learned = [
        Baseline(**{k: v for k, v in base.items() if not k.startswith("notices")})
        for base in camera.state["baseline"].values()
    ]
    hits = draws.reshape(-1, size, 2).sum(axis=1)
    blocks = np.stack([np.full_like(hits, size), hits], axis=2)
    at, peak = reference(blocks, learned, SMALL)
    assert 200 < at < 260
    seen = []
    for index, one in enumerate(verdicts[1:], 1):
        change = camera.feed([one])
        if index % size == 0:
            seen.append(max(camera.state["statistics"].values()))
        if change:
            assert index == (at + 1) * size
            break
    np.testing.assert_allclose(seen, peak[: at + 1], atol=1e-9)


def test_it_raises_with_evidence_and_clears() -> None:
    camera = Camera(AlarmOptions(learn_s=120))
    assert camera.state["phase"] == "learning"
    assert not camera.see(130, 0.1, 0.06)
    assert camera.state["phase"] == "watching"
    assert camera.state["since"] == 1120.0
    assert not camera.see(300, 0.1, 0.06)
    begun = camera.at_s
    (change,) = camera.see(120, 0.1, 0.6)
    assert change.raised
    assert camera.alarm.raised
    assert camera.state["text"] == change.text
    assert change.text.startswith("stream looks manipulated: ")
    assert " % of frames rejected in the last " in change.text
    assert change.text.endswith(" before (alarm set for one false alarm in 30 days)")
    assert "differ" not in change.text
    evidence = change.evidence
    assert list(evidence["statistics"]) == ["rejection"]
    assert abs(evidence["since"] - begun) <= 10
    found = evidence["statistics"]["rejection"]
    assert found["value"] >= evidence["threshold"] == pytest.approx(SMALL.threshold)
    assert found["rate"] == found["hits"] / found["frames"]
    assert 0.4 < found["rate"] < 0.75
    assert found["baseline"]["rate"] < found["baseline"]["high"] < found["rate"]
    assert found["recent"]["frames"] == 60 * FPS
    json.dumps([change.to_dict(), camera.state], allow_nan=False)

    ended = camera.at_s
    (clear,) = camera.see(200, 0.1, 0.06)
    assert not clear.raised
    assert clear.evidence["since"] == change.at_s
    assert 30 <= clear.at_s - ended <= 120
    assert clear.text.startswith("alarm cleared")
    assert not camera.alarm.raised
    assert max(camera.state["statistics"].values()) < camera.state["threshold"] / 2
    (again,) = camera.see(120, 0.1, 0.6)
    assert again.raised
    json.dumps(clear.to_dict(), allow_nan=False)


def test_both_rates_are_named_when_both_crossed() -> None:
    camera = Camera(SMALL)
    camera.see(61, 0.1, 0.1)
    (change,) = camera.see(60, 1.0, 1.0)
    assert set(change.evidence["statistics"]) == {"disagreement", "rejection"}
    assert "the first two views differ on " in change.text
    assert " % of frames rejected in the last " in change.text


def test_nothing_is_raised_while_learning_and_a_bad_baseline_is_warned_of() -> None:
    camera = Camera(SMALL)
    assert not camera.see(30, 0.0)
    assert not camera.see(31, 1.0)
    assert camera.state["phase"] in ("learning", "watching")
    bad = Camera(SMALL)
    assert not bad.see(250, 0.2, 0.7)
    assert "warning: that 69 %" in bad.state["text"]
    assert "no quiet baseline" in bad.state["text"]
    good = Camera(SMALL)
    good.see(250, 0.2, 0.05)
    assert "warning" not in good.state["text"]


def test_learning_goes_on_where_clumps_are_long() -> None:
    """Ten seconds of hits in a row, ten without: 60 s are three clumps."""
    camera = Camera(SMALL)
    clump = [verdict(True)] * 160 + [verdict(False)] * 160
    camera.feed(clump * 4)
    assert camera.state["phase"] == "learning"
    assert camera.state["text"].endswith("of 120 s, as hits come in long clumps")
    assert 0 < camera.state["learned"] < 1
    camera.feed(clump * 9)
    assert camera.state["phase"] == "watching"
    assert camera.state["since"] == 1240.0
    assert camera.state["baseline"]["disagreement"]["inflation"] > 50


def test_a_camera_without_hits_has_room_for_some() -> None:
    camera = Camera(AlarmOptions())
    assert not camera.see(1210, 0.0, 0.0)
    base = camera.state["baseline"]["disagreement"]
    assert base["rate"] == 0
    assert 0.005 < base["high"] < 0.1
    assert not camera.feed([verdict(True)] * 64 + [verdict(False)] * 6400)  # one object, 4 s
    (change,) = camera.see(150, 1.0, 0.0)
    assert ", 0 % before" in change.text


def test_frames_without_a_second_view_count_for_rejections_only() -> None:
    camera = Camera(SMALL)
    none = [verdict(None, r) for r in (None, "low_confidence")]
    draws = camera.random.random(2000) < 0.1
    camera.feed(none[int(draw)] for draw in draws)
    assert camera.state["baseline"]["disagreement"] is None
    assert camera.state["baseline"]["rejection"]["frames"] == 60 * FPS
    assert camera.state["recent"]["disagreement"] == {"frames": 0, "hits": 0, "rate": None}
    assert not camera.see(60, 1.0, 0.1)  # nothing was learned of it
    (change,) = camera.feed([none[1]] * 1600)
    assert list(change.evidence["statistics"]) == ["rejection"]
    json.dumps(camera.state, allow_nan=False)


@pytest.mark.parametrize("reason", ["bad_frame", "stale_frame", "bad_box"])
def test_the_health_of_the_stream_is_no_evidence(reason: Any) -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.1)
    before = camera.state
    assert not camera.feed([verdict(True, reason)] * 5000)
    assert camera.state == before


def test_invalid_views_are_evidence() -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.1)
    assert camera.feed([verdict(False, "invalid_views")] * 1600)


def test_a_gap_in_time_is_no_evidence_and_keeps_the_baseline() -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.1)
    base = camera.state["baseline"]
    camera.at_s += 8 * 3600
    assert not camera.see(300, 0.1)
    assert camera.state["baseline"] == base
    camera.at_s += 600
    assert not camera.see(2.5, 0.1)
    # Of the minutes before the gap nothing is recent.
    assert camera.state["recent"]["rejection"]["frames"] <= 3 * FPS


def test_an_alarm_that_a_gap_follows_clears_after_it() -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.1)
    (raised,) = camera.see(100, 1.0)
    camera.at_s += 3600
    (cleared,) = camera.see(60, 0.1)
    assert (raised.raised, cleared.raised) == (True, False)


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    camera = Camera(SMALL)
    for _ in range(100):
        assert not camera.see(3, 0.1)
        camera.at_s -= 5
    assert camera.state["phase"] == "watching"
    changes: list[AlarmChange] = []
    for _ in range(20):
        changes += camera.see(3, 1.0)
        camera.at_s -= 5
    assert [change.raised for change in changes] == [True]
    (found, *_) = changes[0].evidence["statistics"].values()
    assert 4 <= found["seconds"] <= 30


@pytest.mark.parametrize("fps", [4.0, 64.0, 0.25])
def test_another_frame_rate_is_no_evidence(fps: float) -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.2)
    camera.fps = fps
    assert not camera.see(2000, 0.2)


def test_a_burst_of_frames_weighs_no_more_than_a_usual_block() -> None:
    usual, burst = Camera(SMALL), Camera(SMALL)
    for camera in (usual, burst):
        camera.see(62, 0.2)
    burst.fps = 1024.0
    hits = [verdict(True)]
    usual.feed(hits * round(4 * FPS))
    burst.feed(hits * 4 * 1024)
    one, other = (c.state["statistics"]["disagreement"] for c in (usual, burst))
    assert one > 0
    assert other == pytest.approx(one, rel=0.5)


def test_relearning_starts_over() -> None:
    camera = Camera(SMALL)
    camera.see(62, 0.1)
    assert camera.alarm.relearn() is None
    assert camera.state["phase"] == "learning"
    assert camera.state["baseline"] == {"disagreement": None, "rejection": None}
    camera.see(62, 0.1)
    camera.see(60, 1.0)
    assert camera.alarm.raised
    change = camera.alarm.relearn()
    assert change is not None
    assert not change.raised
    assert not camera.alarm.raised
    camera.see(62, 0.9)
    assert not camera.see(300, 0.9)


def test_too_few_hits_are_noticed_where_asked_for() -> None:
    for fewer in (False, True):
        camera = Camera(replace(SMALL, fewer=fewer))
        camera.see(62, 0.4)
        changes = camera.see(120, 0.02)
        assert [change.raised for change in changes] == [True] * fewer
        if fewer:
            assert "differ on 3 % of frames" in changes[0].text
            assert changes[0].evidence["statistics"]["disagreement"]["odds"] < 1
            assert camera.state["baseline"]["disagreement"]["notices_below"] < 0.4
            assert [change.raised for change in camera.see(120, 0.4)] == [False]


def test_an_adapting_baseline_follows_a_slow_change_and_stops_at_its_bound() -> None:
    changes = {}
    for adapt_s in (0.0, 600.0):
        camera = Camera(AlarmOptions(learn_s=300, hold_s=0, adapt_s=adapt_s, adapt_odds=3))
        camera.see(302, 0.1)
        changes[adapt_s] = [
            change.raised for k in range(60) for change in camera.see(120, 0.1 + 0.12 * k / 60)
        ]
    assert changes[0.0][:1] == [True]
    assert changes[600.0] == []
    assert camera.state["baseline"]["disagreement"]["rate"] > 0.18
    # Odds of 1/9 times 3 are a rate of 0.25: an attack that grows for hours is noticed there.
    grown = [c.raised for k in range(120) for c in camera.see(120, 0.22 + 0.6 * k / 120)]
    assert grown[:1] == [True]
    assert camera.state["baseline"]["disagreement"]["rate"] < 0.27


def test_false_alarms_are_rarer_than_stated() -> None:
    """Two stated per hour, hits of 1 s correlation: eight cameras of two hours could have 32."""
    options = AlarmOptions(learn_s=300, false_alarm_days=1 / 48)
    count = 0
    stay = math.exp(-1 / FPS)
    for seed in range(8):
        camera = Camera(options, seed)
        total = round((1200 + 7200) * FPS)
        anew = camera.random.random(total) > stay
        states = camera.random.random(total) < 0.15
        states = states[np.maximum.accumulate(np.where(anew, np.arange(total), 0))]
        changes = camera.feed(KINDS[int(state)][0] for state in states)
        count += sum(change.raised for change in changes)
    assert count <= 16


def test_memory_is_constant() -> None:
    camera = Camera(SMALL)
    camera.see(100, 0.2)
    verdicts = [KINDS[d][0] for d in (camera.random.random(1000) < 0.2).astype(int).tolist()]
    for _ in range(10):
        camera.feed(verdicts)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(100):
            camera.feed(verdicts)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 4096


def test_the_bounds_hold_the_rate_as_often_as_stated() -> None:
    random = np.random.default_rng(1)
    for rate in (0.002, 0.05, 0.4):
        seen = random.binomial(500, rate, 2000) / 500
        bounds = np.array([rate_bounds(float(share), 500) for share in seen])
        assert (bounds[:, 1] < rate).mean() < 0.05
        assert (bounds[:, 0] > rate).mean() < 0.05
    assert rate_bounds(0.0, 100)[1] == pytest.approx(1 - 0.05 ** (1 / 100), rel=1e-6)


def test_the_inflation_of_a_chain_is_found() -> None:
    """A two-state chain that keeps its state with probability r inflates by (1 + r) / (1 - r)."""
    random = np.random.default_rng(2)
    stay, size, count = 0.9, 32, 3000
    anew = random.random(size * count) > stay
    states = random.random(size * count) < 0.3
    states = states[np.maximum.accumulate(np.where(anew, np.arange(size * count), 0))]
    blocks = [(size, int(hits)) for hits in states.reshape(count, size).sum(axis=1)]
    clumps = int((states[1:] & ~states[:-1]).sum())
    found = learn_baseline(blocks, clumps, 1.0)
    assert found is not None
    assert 19 < found.inflation < 24
    assert learn_baseline([(0, 0)] * 30, 0, 1.0) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learn_s", 10.0),
        ("learn_s", math.nan),
        ("learn_s", 1e9),
        ("false_alarm_days", 0.0),
        ("block_s", 0.0),
        ("block_s", -1.0),
        ("recent_s", 1.0),
        ("clear_s", -1.0),
        ("hold_s", -1.0),
        ("odds", 1.0),
        ("odds", "2"),
        ("fewer", 1),
        ("adapt_s", 10.0),
        ("adapt_odds", 0.5),
        ("ceiling", 0.0),
        ("ceiling", True),
    ],
)
def test_settings_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=f"the alarm's {name} is "):
        replace(AlarmOptions(), **{name: value})


def test_settings_of_a_camera_take_it() -> None:
    assert CameraSettings("0", alarm=AlarmOptions()).alarm == AlarmOptions()
