"""Live streams: drops, reconnects, states, fairness."""

from __future__ import annotations

import itertools
import threading
import time
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import (
    Frame,
    Guard,
    SourceError,
    StreamLostError,
)
from blurvote.runtime.pipeline import (
    CameraSettings,
    Flow,
    Pipeline,
    reader,
    stream_watch,
)
from blurvote.runtime.sources import SourceOptions, register_source
from tests.runtime.pipeline.pictures import eventually, picture, stream
from tests.runtime.pipeline.scripted import camera, only, only_of, scripts, states


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


def test_a_camera_that_is_unplugged_at_the_start_is_waited_for(guard: Guard) -> None:
    unplugged = SourceError("camera 0 cannot be opened")
    with Pipeline(guard, [camera("late", unplugged, unplugged, stream())]) as pipeline:
        assert eventually(lambda: pipeline.ready)


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


def test_a_live_source_drops_what_is_too_fast(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = guard.classify_batch

    def slowly(frames: Any, *args: Any) -> Any:
        time.sleep(0.02)
        return classify(frames, *args)

    monkeypatch.setattr(guard, "classify_batch", slowly)
    pipeline = Pipeline(guard, [camera("fast", stream(every_s=0.001))])
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
