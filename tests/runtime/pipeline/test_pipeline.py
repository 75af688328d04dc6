"""Sources through one guard: order, consumers, sinks, ends, cameras that come and go."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest

from blurvote.runtime import (
    Guard,
    GuardError,
    SettingsError,
    SinkError,
    SourceError,
)
from blurvote.runtime.pipeline import (
    AlarmOptions,
    CameraSettings,
    Flow,
    Observation,
    Pipeline,
    Smoothing,
)
from tests.runtime.pipeline.pictures import eventually, picture, stream
from tests.runtime.pipeline.scripted import camera, only, only_of, scripts


def test_every_frame_of_a_file_in_order(guard: Guard) -> None:
    steps = [picture(n % 3, seed=n) for n in range(40)]
    pipeline = Pipeline(guard, [camera("clip", steps, live=False)])
    seen = []
    for one in pipeline:
        seen.append(one)
        time.sleep(0.002)  # a consumer slower than the guard loses nothing either
    assert [one.frame.sequence for one in seen] == [*range(40)]
    assert [one.verdict.label for one in seen] == [2 - n % 3 for n in range(40)]
    assert {one.camera for one in seen} == {"clip"}
    counts = only(pipeline)
    assert (counts["frames"], counts["verdicts"], counts["dropped"]) == (40, 40, 0)
    assert counts["state"] == "ended"


@pytest.mark.parametrize("given", ["missing.mp4", "rtps://x/y"])
def test_iterating_over_nothing_says_why(guard: Guard, given: str) -> None:
    with pytest.raises(SourceError, match="no source could be read: "):
        list(Pipeline(guard, [given]))


def test_the_only_camera_may_be_replaced(guard: Guard) -> None:
    first = camera("gate", *(lambda: stream() for _ in range(30)))
    with Pipeline(guard, [first]) as pipeline:
        for _ in range(10):
            before = scripts["gate"].opened
            pipeline.replace_cameras(["gate"], [first])
            assert eventually(lambda before=before: scripts["gate"].opened > before)
            assert eventually(lambda: only(pipeline)["verdicts"] > 0)
        assert pipeline.running
        totals = pipeline.snapshot()["totals"]
        assert totals["frames"] == totals["verdicts"] + totals["dropped"] + totals["pending"]


def test_a_closed_guard_ends_the_run(guard: Guard) -> None:
    pipeline = Pipeline(guard, [camera("gate", stream())]).start()
    assert eventually(lambda: only(pipeline)["verdicts"] > 3)
    guard.close()
    assert eventually(lambda: not pipeline.running)
    with pytest.raises(GuardError, match="was closed"):
        pipeline.stop()


def test_what_two_sinks_would_write_over_each_other_is_refused(
    guard: Guard, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    with pytest.raises(SinkError, match="two sinks write to"):
        Pipeline(guard, [], [str(path), f"jsonl:{path}?keep=3&max_mb=1"])
    assert not path.exists()


@pytest.mark.parametrize(
    ("cameras", "said"),
    [("synthetic:", "expected a list"), ([None], "a camera is None"), ([1.5], "a camera is 1.5")],
)
def test_cameras_of_the_wrong_type(guard: Guard, cameras: Any, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Pipeline(guard, cameras)


def test_cameras_by_path_and_number(guard: Guard, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), picture())
    assert len(list(Pipeline(guard, [tmp_path / "a.png"]))) == 1


def test_smoothing(guard: Guard) -> None:
    colours = [2, 2, 0, 2, 2, 0, 0, 0, 0]
    clip = camera("clip", [picture(c) for c in colours], live=False, smoothing=Smoothing(3, 5))
    assert [one.smoothed for one in Pipeline(guard, [clip])] == [-1, -1, -1, 0, 0, 0, 2, 2, 2]


def test_an_alarm_is_told_with_its_evidence(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    classify = guard.classify_batch

    def attacked(frames: Any, *args: Any) -> Any:
        """Half of the frames between the 400th and the 700th have no majority."""
        return [
            replace(one, label=-1, reason="no_majority")
            if 400 <= one.sequence < 700 and one.sequence % 2
            else one
            for one in classify(frames, *args)
        ]

    monkeypatch.setattr(guard, "classify_batch", attacked)
    options = AlarmOptions(learn_s=4.0, block_s=0.2, hold_s=0.1, recent_s=2.0, clear_s=1.0)
    steps = (picture(seed=n) for n in range(1000))
    pipeline = Pipeline(guard, [camera("clip", steps, live=False, alarm=options)])
    raised = [one.frame.sequence for one in pipeline if one.alarm]
    assert 400 < min(raised) < 700 < max(raised) < 999
    up, down = [event for event in pipeline.events() if event.kind == "alarm"]
    assert up.text.startswith("clip: stream looks manipulated: ")
    assert up.to_dict()["raised"] is True
    assert up.data["statistics"]["rejection"]["hits"] > 5
    assert up.data["since"] == pytest.approx(40, abs=2), "seconds into the file"
    assert down.text.startswith("clip: alarm cleared: ")
    pipeline.relearn("clip")
    assert only(pipeline)["alarm"]["phase"] == "learning"


# ---- sinks and consumers ----


def test_a_callback_sees_every_observation_of_a_file(guard: Guard) -> None:
    seen: list[Observation] = []
    clip = camera("clip", [picture(seed=n) for n in range(30)], live=False)
    Pipeline(guard, [clip], [seen.append]).run()
    assert [one.frame.sequence for one in seen] == [*range(30)]
    assert seen[0].to_dict()["camera"] == "clip"


def test_a_slow_sink_stalls_nobody(guard: Guard) -> None:
    def slow(one: Observation) -> None:
        time.sleep(0.3)

    with Pipeline(guard, [camera("gate", stream())], [slow]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] > 200)
        (sink,) = pipeline.snapshot()["sinks"]
        assert sink["delivered"] < 50
        assert only(pipeline)["age_ms"]["p50"] < 100
        pipeline.stop(timeout_s=0.5)
    (sink,) = pipeline.snapshot()["sinks"]
    assert sink["put"] == sink["delivered"] + sink["dropped"] == only(pipeline)["verdicts"]


def test_a_failing_sink_of_files_ends_the_run(guard: Guard) -> None:
    def full(one: Observation) -> None:
        raise SinkError("the disk is full")

    clip = camera("clip", [picture(seed=n) for n in range(30)], live=False)
    with pytest.raises(SinkError, match="the disk is full"):
        Pipeline(guard, [clip], [full]).run()


def test_a_failing_sink_of_cameras_does_not(guard: Guard) -> None:
    def full(one: Observation) -> None:
        raise SinkError("the disk is full")

    with Pipeline(guard, [camera("gate", stream())], [full]) as pipeline:
        assert eventually(lambda: any(event.kind == "sink" for event in pipeline.events()))
        before = only(pipeline)["verdicts"]
        assert eventually(lambda: only(pipeline)["verdicts"] > before + 20)
        pipeline.stop(timeout_s=0.5)


def test_asyncio(guard: Guard) -> None:
    async def collect() -> list[int]:
        seen = []
        async for one in Pipeline(guard, [camera("gate", stream())]):
            seen.append(one.frame.sequence)
            if len(seen) == 10:
                break
        return seen

    async def both() -> tuple[list[int], list[int]]:
        ticks: list[int] = []

        async def tick() -> None:
            while True:
                ticks.append(1)
                await asyncio.sleep(0.001)

        ticking = asyncio.create_task(tick())
        seen = await collect()
        ticking.cancel()
        return seen, ticks

    seen, ticks = asyncio.run(both())
    assert len(seen) == 10
    assert seen == sorted(set(seen))
    assert len(ticks) > 5, "the loop went on meanwhile"


def test_asyncio_to_the_end_of_a_file(guard: Guard) -> None:
    async def collect() -> list[int]:
        clip = camera("clip", [picture(seed=n) for n in range(25)], live=False)
        return [one.frame.sequence async for one in Pipeline(guard, [clip])]

    assert asyncio.run(collect()) == [*range(25)]


# ---- running ----


def test_sources_in_turn_are_opened_one_after_the_other(guard: Guard) -> None:
    made = [camera(f"c{n}", [picture(seed=k) for k in range(4)], live=False) for n in range(3)]
    opened = []
    seen = []
    for one in Pipeline(guard, made, flow=Flow(in_turn=True)):
        seen.append((one.camera, one.frame.sequence))
        opened.append(sum(scripts[f"c{n}"].opened for n in range(3)))
    assert seen == [(f"c{n}", k) for n in range(3) for k in range(4)]
    assert opened[0] == 1


def test_the_same_source_may_have_two_turns(guard: Guard, tmp_path: Path) -> None:
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, picture())
    pipeline = Pipeline(guard, [CameraSettings(path)] * 2, flow=Flow(in_turn=True))
    assert len([*pipeline]) == 2
    assert pipeline.snapshot()["totals"]["verdicts"] == 2
    with pytest.raises(SettingsError, match="two cameras are called"):
        Pipeline(guard, [path, path])


def test_max_frames(guard: Guard) -> None:
    made = [camera(f"c{n}", [picture(seed=k) for k in range(4)], live=False) for n in range(3)]
    seen = [*Pipeline(guard, made, flow=Flow(in_turn=True, max_frames=6))]
    assert [one.camera for one in seen] == ["c0"] * 4 + ["c1"] * 2
    assert scripts["c2"].opened == 0


def test_cameras_come_and_go_while_it_runs(guard: Guard) -> None:
    with Pipeline(guard, [camera("cam-a", stream())]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] > 3)
        pipeline.add_camera(camera("cam-b", stream()))
        assert eventually(lambda: only_of(pipeline, "cam-b")["verdicts"] > 3)
        with pytest.raises(SettingsError, match="two cameras are called 'cam-b'"):
            pipeline.add_camera(CameraSettings("cam-b:", "cam-b"))
        pipeline.remove_camera("cam-a")
        assert pipeline.cameras == ("cam-b",)
        assert scripts["cam-a"].closed == 1
        assert pipeline.latest("cam-a") is None
        before = only(pipeline)["verdicts"]
        assert eventually(lambda: only(pipeline)["verdicts"] > before + 5)
        with pytest.raises(SettingsError, match="there is no camera 'cam-a'"):
            pipeline.remove_camera("cam-a")
        pipeline.add_camera(camera("cam-a", stream()))
        assert eventually(lambda: only_of(pipeline, "cam-a")["verdicts"] > 3)


def test_a_reader_that_comes_back_late_disturbs_no_successor(guard: Guard) -> None:
    stuck = camera("gate", [picture(), 2.0, picture(seed=1)], stream())
    with Pipeline(guard, [stuck]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] == 1)
        pipeline.remove_camera("gate", timeout_s=0.0)
        pipeline.add_camera(stuck)
        assert eventually(lambda: only(pipeline)["verdicts"] > 5)
        assert eventually(lambda: scripts["gate"].closed == 1)
        before = only(pipeline)["verdicts"]
        assert eventually(lambda: only(pipeline)["verdicts"] > before + 20)
        assert pipeline.snapshot()["totals"]["verdicts"] > before + 20


def test_a_guard_that_breaks_ends_the_run(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(frames: Any, *args: Any) -> Any:
        raise RuntimeError("out of device memory")

    monkeypatch.setattr(guard, "classify_batch", broken)
    with pytest.raises(RuntimeError, match="out of device memory"):
        Pipeline(guard, [camera("gate", stream())]).run()


def test_no_thread_is_left(guard: Guard) -> None:
    before = threading.active_count()
    for _ in range(3):
        for _ in itertools.islice(Pipeline(guard, [camera("gate", stream())]), 5):
            pass
    assert eventually(lambda: threading.active_count() == before)


def test_the_snapshot_is_json(guard: Guard) -> None:

    with Pipeline(guard, [camera("gate", stream())], [lambda one: None]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] > 3)
        shot = json.loads(json.dumps(pipeline.snapshot()))
    assert len(shot["guard"]["views"]) == 3
    assert set(shot["stage_ms"]) == {"wait", "views", "denoise", "inference", "vote", "total"}
    assert shot["process"]["threads"] > 0
