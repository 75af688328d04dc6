"""`blurvote alarm`: streams like the video's, the same alarms as the runtime's, honest figures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.alarm import measure as measuring
from blurvote.benchmarks.robustness.alarm.chains import CHAINS
from blurvote.benchmarks.robustness.alarm.cli import COMMAND
from blurvote.benchmarks.robustness.alarm.indicators import Video, measure
from blurvote.benchmarks.robustness.alarm.measure import detection, false_alarms
from blurvote.benchmarks.robustness.alarm.simulate import Runs, learn, watch
from blurvote.benchmarks.robustness.alarm.streams import (
    Chain,
    Resampled,
    autocorrelation,
    inflation,
    mean_block,
)
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.runtime import Guard, StageTimes, Verdict
from blurvote.runtime.errors import BlurvoteError, SettingsError, SourceError
from blurvote.runtime.pipeline.alarm import Alarm, AlarmOptions

SIZE, FPS = 32, 16.0


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def verdicts(rows: np.ndarray) -> Iterator[Verdict]:
    for differ, rejected in rows.T.tolist():
        yield Verdict(
            -1 if rejected else 1, None, "no_majority" if rejected else None, None, None,
            (1, 2 if differ else 1, None), "cascade", StageTimes(0, 0, 0), "", 0, 0.0,
        )  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        AlarmOptions(learn_s=60),
        AlarmOptions(learn_s=60, fewer=True, false_alarm_days=0.01, clear_s=0),
        AlarmOptions(learn_s=60, adapt_s=120, odds=1.5, recent_s=20),
    ],
)
def test_the_vectorised_alarm_is_the_alarm(options: AlarmOptions) -> None:
    """Quiet, disturbed, quiet, disturbed; blocks of 2 s of 16 frames a second."""
    quiet = Chain((0.15, 0.03), 8.0)
    parts = [(quiet, 60), (Chain((0.7, 0.3), 8.0), 90), (quiet, 150)] * 2
    learned, streams, found = [], [], []
    for seed in range(6):
        draw = random(seed)
        frames = quiet.frames(options.stages[-1] * SIZE, draw)
        pair, length = learn(frames, SIZE, options, FPS)
        learned.append(pair)
        streams.append(np.concatenate([c.frames(n * SIZE, draw) for c, n in parts], axis=1))
        alarm = Alarm(options)
        rows = np.concatenate([frames[:, : length * SIZE], streams[-1], [[0], [0]]], axis=1)
        for index, verdict in enumerate(verdicts(rows)):
            change = alarm.update(verdict, index / FPS)
            if change:
                found.append((seed, index // SIZE - length - 1, change.raised))
    hits = np.stack([s.reshape(2, -1, SIZE).sum(axis=2).T for s in streams], axis=2)
    runs = watch(learned, hits, SIZE, options)
    expected = [(int(s), int(b), True) for s, b in runs.raised]
    expected += [(int(s), int(b), False) for s, b in runs.cleared]
    assert sorted(found) == sorted(expected)
    assert len(runs.raised) >= 8
    assert len(runs.cleared) >= 8


def test_events_of_streams() -> None:
    runs = Runs(np.array([[1, 3], [0, 5], [1, 9]]), np.array([[1, 6]]))
    assert runs.first(runs.raised, 3).tolist() == [5, 3, math.inf]
    assert runs.first(runs.raised, 3, 4).tolist() == [5, 9, math.inf]
    assert runs.on(3, 4).tolist() == [False, True, False]
    assert runs.on(3, 7).tolist() == [True, False, False]


@pytest.mark.parametrize(
    "source",
    [
        Resampled(random().random((2, 300)) < 0.3, 20.0),
        Chain((0.2, 0.7, 0.01), 5.0),
        Chain((0.2, 0.7), 5.0, 1.0, 2000.0),
        Chain((0.5, 0.5), 0.0),
    ],
)
def test_counts_are_those_of_the_frames(source: Any) -> None:
    frames = source.frames(400 * SIZE, random(1))
    counts = source.counts(400, SIZE, random(1))
    np.testing.assert_array_equal(frames.reshape(len(frames), -1, SIZE).sum(axis=2), counts)


def test_long_streams_are_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blurvote.benchmarks.robustness.alarm.streams._AT_ONCE", 10 * SIZE)
    counts = Chain((0.2, 0.02), 3.0).counts(5005, SIZE, random(2))
    assert counts.shape == (2, 5005)
    np.testing.assert_allclose(counts.mean(axis=1) / SIZE, [0.2, 0.02], rtol=0.1)


def test_the_bootstrap_keeps_rates_pairs_and_neighbours() -> None:
    video = Chain((0.3,), 6.0).frames(400, random(3))[0]
    rows = np.stack([video, ~video])
    drawn = Resampled(rows, 40.0).frames(200_000, random(4))
    np.testing.assert_array_equal(drawn[0], ~drawn[1])
    assert drawn[0].mean() == pytest.approx(video.mean(), abs=0.02)
    lags = np.arange(6)
    # The video goes round, and a neighbour is kept with probability 1 - 1/40.
    round_ = np.array([np.corrcoef(video, np.roll(video, lag))[0, 1] for lag in lags])
    np.testing.assert_allclose(
        autocorrelation(drawn[0], 5), round_ * (1 - 1 / 40) ** lags, atol=0.04
    )


def test_a_chain_has_its_rate_and_correlation() -> None:
    (states,) = Chain((0.2,), 10.0).frames(400_000, random(5))
    assert states.mean() == pytest.approx(0.2, abs=0.01)
    expected = np.exp(-np.arange(31) / 10.0)
    np.testing.assert_allclose(autocorrelation(states, 30), expected, atol=0.04)
    stay = math.exp(-1 / 10)
    assert inflation(states[:100_000]) == pytest.approx((1 + stay) / (1 - stay), rel=0.3)


def test_a_swinging_chain_swings() -> None:
    (states,) = Chain((0.2,), 2.0, math.log(3), 400_000.0).frames(400_000, random(6))
    quarters = states.reshape(8, -1).mean(axis=1)
    assert quarters[1:3].mean() == pytest.approx(0.75 / 1.75, abs=0.04)
    assert quarters[5:7].mean() == pytest.approx(1 / 13, abs=0.02)


def test_stretches_grow_with_the_correlation_up_to_a_quarter_of_the_video() -> None:
    assert mean_block(random(7).random((2, 400)) < 0.5) < 40
    assert mean_block(np.repeat(random(7).random((2, 20)) < 0.5, 20, axis=1)) == 100
    assert mean_block(np.zeros((2, 400), bool)) == 10


def test_clumps_raise_no_false_alarms_but_would_without_corrections() -> None:
    chain, options = Chain((0.2, 0.04), FPS), AlarmOptions()
    told: list[int] = []
    found = false_alarms(chain, 12, SIZE, options, (1.0, 30.0), 0, told.append)
    assert told == list(range(1, 13))
    for rate in found.rates:
        assert rate.low <= rate.measured <= rate.high
        # A dozen days cannot tell less than one in a month from none.
        assert rate.measured <= max(rate.stated, 1 / 12)
    assert found.learned_s >= 300
    plain = false_alarms(chain, 3, SIZE, options, (30.0,), 0, told.append, corrected=False)
    assert plain.rates[0].low > 30 * plain.rates[0].stated


def test_strong_disturbances_are_noticed_sooner_than_weak_ones() -> None:
    quiet, options = Chain((0.1, 0.02), 4.0), AlarmOptions()
    found = [
        detection(quiet, Chain((rate, 0.02), 4.0), 20, SIZE, options, 0) for rate in (0.9, 0.4, 0.1)
    ]
    strong, weak, none = found
    assert strong.alarmed == weak.alarmed == 1
    assert strong.p50_s <= strong.p90_s < weak.p50_s <= weak.p90_s
    assert strong.rates == pytest.approx((0.9, 0.02), abs=0.02)
    assert strong.cleared_p90_s < 200
    assert none.alarmed == 0
    assert none.p50_s == none.cleared_p50_s == math.inf


MakeGuard = Callable[..., Path]


def write_video(path: Path, count: int, seed: int = 0) -> str:
    """Frames whose red and green are about as strong, in flat colours with much noise."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 16.0, (64, 48))
    assert writer.isOpened()
    draw = random(seed)
    for _ in range(count):
        writer.write(draw.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    writer.release()
    return str(path)


def test_what_the_guard_said_is_kept(make_guard: MakeGuard, tmp_path: Path) -> None:
    guard, video = make_guard(), Video(write_video(tmp_path / "clean.avi", 60))
    other = Video(write_video(tmp_path / "attacked.avi", 60, seed=1))
    opened: list[Guard] = []

    def open_guard() -> Guard:
        opened.append(Guard(guard))
        return opened[-1]

    def found(*disturbances: Any, seed: int = 0) -> dict[str, np.ndarray]:
        return measure(
            guard, video, list(disturbances), seed, tmp_path / "kept.json", open_guard,
            lambda done: None,
        ).rows  # fmt: skip

    noise = Degradation("gaussian", 0.5)
    first = found(noise, other)
    assert list(first) == ["clean", "gaussian:0.5", "attacked.avi"]
    assert all(rows.shape == (2, 60) for rows in first.values())
    assert len(opened) == 1
    again = found(noise)
    assert len(opened) == 1
    np.testing.assert_array_equal(first["gaussian:0.5"], again["gaussian:0.5"])
    found(noise, seed=1)
    assert len(opened) == 2


def test_videos_that_cannot_serve(make_guard: MakeGuard, tmp_path: Path) -> None:
    guard, clean = make_guard(), Video(write_video(tmp_path / "clean.avi", 60))

    def found(video: Video, *others: Video) -> None:
        measure(
            guard, video, list(others), 0, tmp_path / "kept.json", lambda: Guard(guard),
            lambda done: None,
        )  # fmt: skip

    with pytest.raises(SourceError, match="40 frames; expected at least 50"):
        found(replace(clean, limit=40))
    short = Video(write_video(tmp_path / "short.avi", 55))
    with pytest.raises(SourceError, match=r"short.avi has 55 frames and the clean video 60"):
        found(clean, short)


def run(*args: str) -> int:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args(list(args)))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of a quarter of an hour."""
    monkeypatch.setattr(measuring, "_DAY_S", 900.0)
    monkeypatch.setattr(measuring, "_WATCHED_S", 300.0)


def test_the_command(
    make_guard: MakeGuard, tmp_path: Path, short: None, capsys: pytest.CaptureFixture[str]
) -> None:
    guard, video = str(make_guard()), write_video(tmp_path / "clean.avi", 80)
    small = ("--camera-days", "3", "--streams", "3", "--chain-days", "1", "-o", str(tmp_path))
    what = ("--degradations", "defocus:5 gaussian:0.125", "--fractions", "0.5,1")
    assert run(guard, video, *what, *small) == 0
    printed = capsys.readouterr()
    folder = tmp_path / "guard" / "alarm"
    assert (folder / "alarm.md").read_text().strip() == printed.out.strip()
    for heading in ("False alarms", "Disturbances", "Chains of known correlation"):
        assert f"## {heading}" in printed.out
    assert "80 frames, 5 s" in printed.out
    document = json.loads((folder / "alarm.json").read_text())
    assert document["schema"] == "blurvote.alarm/1"
    assert [(r["disturbance"], r["fraction"]) for r in document["detection"]] == [
        ("defocus:5", 0.5), ("defocus:5", 1.0), ("gaussian:0.125", 0.5), ("gaussian:0.125", 1.0)
    ]  # fmt: skip
    assert len(document["chains"]) == len(CHAINS)
    assert document["false_alarms"]["streams"] == 3
    assert cv2.imread(str(folder / "alarm.png")).shape[1] == 1600

    alone = ("--degradations", "", "--chain-days", "0", "--fewer", "--json", "--fresh")
    assert run(guard, video, *small, *alone) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["detection"] == document["chains"] == []
    assert document["options"]["fewer"] is True
    assert "Disturbances" not in (folder / "alarm.md").read_text()


@pytest.mark.parametrize(
    ("extra", "error", "words"),
    [
        (("--false-alarm-days", "0"), SettingsError, "false_alarm_days is 0"),
        (("--mean-block", "0"), SettingsError, "--mean-block is 0; expected 1 to the video's 60"),
        (("--fps", "-1"), SourceError, "give it with --fps"),
        (("--fps", "1e6"), SettingsError, "a block has 2000000 frames"),
        (("--degradations", "fog"), BlurvoteError, "fog"),
        (("--attacked", "missing.avi"), SourceError, "missing.avi"),
    ],
)
def test_mistakes_are_one_line(
    make_guard: MakeGuard, tmp_path: Path, extra: tuple[str, ...], error: Any, words: str
) -> None:
    video = write_video(tmp_path / "clean.avi", 60)
    with pytest.raises(error, match=words):
        run(str(make_guard()), video, "--degradations", "", "-o", str(tmp_path), *extra)


@pytest.mark.parametrize("text", ["0", "2", "a", ""])
def test_fractions_are_shares(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("guard.onnx", "video.avi", "--fractions", text)
    assert "is no list of shares" in capsys.readouterr().err
