"""Sources through one guard: order, drops, reconnects, fairness, ends."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.runtime import (
    Frame,
    Guard,
    GuardError,
    SettingsError,
    SinkError,
    SourceError,
    StreamLostError,
)
from blurvote.runtime.observation import Observation
from blurvote.runtime.pipeline import reader, stream_watch
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.pipeline.pipeline import Pipeline
from blurvote.runtime.pipeline.settings import CameraSettings, Flow, Smoothing
from blurvote.runtime.sources import SourceOptions, register_source
from blurvote.runtime.sources.fake import Script
from tests.runtime.pipeline.pictures import eventually, picture, stream


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(reader, "LONGEST_PAUSE_S", 0.05)
    monkeypatch.setattr(stream_watch, "CLEAR_AFTER_S", 0.05)


def camera(name: str, *opens: Any, live: bool = True, **settings: Any) -> CameraSettings:
    """A camera that plays a script, registered under its name."""
    script = Script(opens, live=live)
    register_source(name, script.open)
    made = CameraSettings(f"{name}:", name, **settings)
    scripts[name] = script
    return made


scripts: dict[str, Script] = {}


def states(pipeline: Pipeline, name: str) -> list[str]:
    return [e.data["state"] for e in pipeline.events() if e.kind == "state" and e.camera == name]


def only(pipeline: Pipeline) -> dict[str, Any]:
    (one,) = pipeline.snapshot()["cameras"]
    return one


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


def test_a_live_source_drops_what_is_too_fast(guard: Guard) -> None:
    pipeline = Pipeline(guard, [camera("fast", stream(every_s=0.0))])
    seen = []
    for one in pipeline:
        seen.append(one.frame.sequence)
        time.sleep(0.01)
        if len(seen) == 20:
            break
    assert seen == sorted(set(seen))
    counts = only(pipeline)
    assert counts["dropped"] > 0
    assert counts["frames"] == counts["verdicts"] + counts["dropped"]
    assert counts["pending"] == 0
    assert scripts["fast"].closed == scripts["fast"].opened == 1


def test_a_lost_stream_is_opened_again(guard: Guard) -> None:
    frames = [picture(seed=n) for n in range(3)]
    lost = camera(
        "gate", [*frames, StreamLostError("cable")], SourceError("busy"), [*frames], stream()
    )
    with Pipeline(guard, [lost]) as pipeline:
        assert eventually(lambda: only(pipeline)["reconnects"] == 2 and pipeline.ready)
        assert eventually(lambda: only(pipeline)["verdict"]["sequence"] >= 6), "numbers go on"
        assert states(pipeline, "gate") == ["live", "lost", "live", "lost", "live"]
        said = [event.text for event in pipeline.events() if event.kind == "state"]
        assert said[1] == "gate is lost: cable"
        assert said[2].startswith("gate is live (was lost for ")
    assert scripts["gate"].opened == scripts["gate"].closed == 3


def test_a_camera_that_is_not_there_yet(guard: Guard) -> None:
    late = camera("late", StreamLostError("no route"), StreamLostError("no route"), stream())
    with Pipeline(guard, [late]) as pipeline:
        assert eventually(lambda: pipeline.ready)
        assert states(pipeline, "late") == ["lost", "live"]


def test_a_source_that_can_never_be_opened_fails_alone(guard: Guard) -> None:
    wrong = camera("wrong", SourceError("no such thing"), patient=False)
    right = camera("right", stream())
    with Pipeline(guard, [wrong, right]) as pipeline:
        assert eventually(lambda: pipeline.ready)
        first, second = pipeline.snapshot()["cameras"]
        assert (first["state"], first["why"], first["errors"]) == ("failed", "no such thing", 1)
        assert second["state"] == "live"
        assert eventually(lambda: only_of(pipeline, "right")["verdicts"] > 5)


def only_of(pipeline: Pipeline, name: str) -> dict[str, Any]:
    (one,) = [one for one in pipeline.snapshot()["cameras"] if one["name"] == name]
    return one


def test_a_camera_that_is_unplugged_at_the_start_is_waited_for(guard: Guard) -> None:
    unplugged = SourceError("camera 0 cannot be opened")
    with Pipeline(guard, [camera("late", unplugged, unplugged, stream())]) as pipeline:
        assert eventually(lambda: pipeline.ready)


@pytest.mark.parametrize("given", ["missing.mp4", "rtps://x/y"])
def test_iterating_over_nothing_says_why(guard: Guard, given: str) -> None:
    with pytest.raises(SourceError, match="no source could be read: "):
        list(Pipeline(guard, [given]))


def test_a_source_of_somebody_elses_making(guard: Guard) -> None:
    class Odd:
        total = frames_per_second = None
        live = True

        def __init__(self) -> None:
            self.seeds = iter(range(5))

        def read(self) -> Any:
            return Frame(picture(seed=next(self.seeds)))  # StopIteration in the end

        def close(self) -> None:
            raise OSError("the device is gone")

    register_source("odd", lambda uri, options: Odd())
    with Pipeline(guard, ["odd:"]) as pipeline:
        assert eventually(lambda: only(pipeline)["reconnects"] > 1)
        texts = [event.text for event in pipeline.events()]
    assert any("odd: could not be closed: OSError: the device is gone" in text for text in texts)
    assert any("odd: is lost: StopIteration" in text for text in texts)


def test_what_delivers_nothing_is_not_proven(guard: Guard) -> None:
    silent = [[0.01, StreamLostError("silence")]] * 9
    pipeline = Pipeline(guard, [camera("gate", *silent, reconnect=2)])
    pipeline.run()
    assert scripts["gate"].asked == 3
    assert only(pipeline)["reconnects"] == 0


def test_damaged_frames_now_and_then_do_not_flap(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_watch, "CLEAR_AFTER_S", 60.0)
    some = [step for n in range(60) for step in (picture(seed=n), SourceError("x"), 0.05)]
    with Pipeline(guard, [camera("gate", some, stream())]) as pipeline:
        assert eventually(lambda: only(pipeline)["reconnects"] == 1)
        assert states(pipeline, "gate")[:3] == ["live", "corrupt", "lost"]


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


@pytest.mark.parametrize(("tries", "asked"), [(0, 1), (3, 4)])
def test_reconnecting_may_be_limited(guard: Guard, tries: int, asked: int) -> None:
    gone = itertools.repeat(StreamLostError("gone"))
    pipeline = Pipeline(guard, [camera("gate", *itertools.islice(gone, 9), reconnect=tries)])
    pipeline.run()
    assert only(pipeline)["state"] == "failed"
    assert scripts["gate"].asked == asked


def test_the_pause_between_tries_doubles_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for failures, expected in ((1, 0.25), (2, 0.5), (5, 4.0), (6, 8.0), (7, 10.0), (10**6, 10.0)):
        assert 0.8 * expected <= reader.backoff_s(failures) <= 1.2 * expected


def test_a_slow_or_dead_camera_holds_nobody_up(guard: Guard) -> None:
    cameras = [
        camera("dead", StreamLostError("x"), *itertools.repeat(StreamLostError("x"), 10_000)),
        camera("slow", stream(every_s=0.2)),
        camera("stuck", [picture(), 3600.0], options=SourceOptions(timeout_s=600)),
        camera("good", stream(every_s=0.005)),
    ]
    with Pipeline(guard, cameras) as pipeline:
        assert eventually(lambda: only_of(pipeline, "slow")["verdicts"] > 3)
        good, slow = only_of(pipeline, "good"), only_of(pipeline, "slow")
        assert good["verdicts"] > 5 * slow["verdicts"]
        assert good["age_ms"]["p50"] < 100
        assert only_of(pipeline, "stuck")["verdicts"] == 1
        pipeline.stop(timeout_s=1.0)


def test_cameras_share_the_guard_fairly(guard: Guard) -> None:
    cameras = [camera(f"c{n}", stream(every_s=0.0)) for n in range(4)]
    with Pipeline(guard, cameras, flow=Flow(max_batch=2)) as pipeline:
        assert eventually(lambda: pipeline.snapshot()["totals"]["verdicts"] > 400)
        counts = [one["verdicts"] for one in pipeline.snapshot()["cameras"]]
    assert min(counts) > 0.7 * max(counts)


def test_frames_of_several_cameras_are_one_batch(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    classify = guard.classify_batch

    def counting(frames: Any, *args: Any) -> Any:
        sizes.append(len(frames))
        time.sleep(0.02)
        return classify(frames, *args)

    monkeypatch.setattr(guard, "classify_batch", counting)
    cameras = [camera(f"c{n}", stream(), max_age_s=0.0) for n in range(4)]
    with Pipeline(guard, cameras, flow=Flow(max_batch=3, batch_wait_ms=50)) as pipeline:
        assert eventually(lambda: pipeline.snapshot()["totals"]["verdicts"] > 60)
    assert max(sizes) == 3
    assert sum(size == 3 for size in sizes) > len(sizes) / 2


def test_a_frame_that_cannot_be_served_costs_the_others_nothing(guard: Guard) -> None:
    tiny = np.random.default_rng(0).integers(0, 255, (2, 2, 3), dtype=np.uint8)
    cameras = [
        camera("tiny", itertools.chain.from_iterable(itertools.repeat((tiny, 0.005)))),
        camera("good", stream()),
    ]
    with Pipeline(guard, cameras, flow=Flow(max_batch=8, batch_wait_ms=20)) as pipeline:
        assert eventually(lambda: only_of(pipeline, "good")["accepted"] > 20)
        bad = only_of(pipeline, "tiny")
        assert bad["accepted"] == 0
        assert bad["reasons"]["bad_frame"] > 5
        errors = [event for event in pipeline.events() if event.kind == "error"]
    assert len(errors) == 1, "told once, not thirty times a second"
    assert "frames of 2x2 px" in errors[0].text


def test_blank_and_frozen_streams_are_rejected_and_told(guard: Guard) -> None:
    blank = np.full((48, 64, 3), 128, np.uint8)
    steps = itertools.chain(
        itertools.islice(stream(), 20),
        itertools.chain.from_iterable(itertools.repeat((blank, 0.01), 130)),
        itertools.islice(stream(), 20),
        itertools.chain.from_iterable(itertools.repeat((picture(), 0.01))),
    )
    with Pipeline(guard, [camera("gate", steps, frozen_s=0.5)]) as pipeline:
        assert eventually(lambda: "frozen" in states(pipeline, "gate"))
        assert eventually(lambda: "stale_frame" in only(pipeline)["reasons"])
        assert states(pipeline, "gate") == ["live", "blank", "live", "frozen"]
        assert only(pipeline)["reasons"]["bad_frame"] > 50


def test_a_stream_of_damaged_frames_is_corrupt(guard: Guard) -> None:
    damaged = itertools.islice(itertools.cycle([SourceError("broken JPEG"), 0.01]), 60)
    steps = itertools.chain(itertools.islice(stream(), 20), damaged, stream())
    with Pipeline(guard, [camera("gate", steps)]) as pipeline:
        assert eventually(lambda: states(pipeline, "gate") == ["live", "corrupt", "live"])
        assert only(pipeline)["errors"] == 30
        told = [event for event in pipeline.events() if event.kind == "error"]
        assert len(told) == 1


def test_a_stream_without_a_readable_frame_is_opened_again(guard: Guard) -> None:
    broken = camera("gate", itertools.repeat(SourceError("broken JPEG")), stream())
    with Pipeline(guard, [broken]) as pipeline:
        assert eventually(lambda: pipeline.ready)
        assert only(pipeline)["errors"] == reader.MOST_ERRORS


def test_a_source_that_blocks_for_ever_is_stalled(guard: Guard) -> None:
    class Stuck:
        total = frames_per_second = None
        live = True

        def __init__(self) -> None:
            self.frames = [Frame(picture())]
            self.freed = threading.Event()

        def read(self) -> Frame | None:
            if self.frames:
                return self.frames.pop()
            self.freed.wait(60)
            return None

        def close(self) -> None: ...

    stuck = Stuck()
    register_source("stuck", lambda uri, options: stuck)
    settings = CameraSettings("stuck:", "gate", options=SourceOptions(timeout_s=0.2))
    with Pipeline(guard, [settings]) as pipeline:
        assert eventually(lambda: states(pipeline, "gate") == ["live", "stalled"])
        assert not pipeline.ready
        stuck.freed.set()


def test_a_changed_size_is_told_and_served(guard: Guard) -> None:
    steps = [picture(seed=1), 0.05, picture(seed=2, height=96, width=128), 0.05, None]
    with Pipeline(guard, [camera("gate", steps, stream())]) as pipeline:
        assert eventually(lambda: any(event.kind == "size" for event in pipeline.events()))
        (event, *_) = [event for event in pipeline.events() if event.kind == "size"]
        assert event.text == "gate changed from 64x48 to 128x96 px"


def test_frames_that_waited_too_long_are_stale(guard: Guard) -> None:
    def late() -> Any:
        while True:
            yield Frame(picture(), "bgr", "x", captured_at=time.monotonic() - 3)
            yield 0.01

    with Pipeline(guard, [camera("gate", late())]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] > 3)
        counts = only(pipeline)
    assert set(counts["reasons"]) == {"stale_frame"}
    assert counts["age_ms"]["p50"] >= 3000
    assert counts["disagreement_rate"] is None


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
    import json

    with Pipeline(guard, [camera("gate", stream())], [lambda one: None]) as pipeline:
        assert eventually(lambda: only(pipeline)["verdicts"] > 3)
        shot = json.loads(json.dumps(pipeline.snapshot()))
    assert len(shot["guard"]["views"]) == 3
    assert set(shot["stage_ms"]) == {"wait", "views", "inference", "vote", "total"}
    assert shot["process"]["threads"] > 0
