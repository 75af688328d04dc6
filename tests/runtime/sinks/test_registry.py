"""URIs of sinks: each names what it should, and a mistake is told before the run starts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from blurvote.runtime import SinkError
from blurvote.runtime.sinks import (
    AnnotatedSink,
    CallbackSink,
    JsonLinesSink,
    PerCameraSink,
    StdoutSink,
    open_sink,
    register_sink,
)
from blurvote.runtime.sinks import registry as registry_module
from tests.runtime.sinks.material import context, event, frames_of, observation, picture, refusal


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("-", StdoutSink),
        ("jsonl:-", StdoutSink),
        ("out.jsonl", JsonLinesSink),
        ("OUT.JSONL?max_mb=1&keep=2", JsonLinesSink),
        ("jsonl:lines.txt", JsonLinesSink),
        ("JsonL:lines.txt", JsonLinesSink),
        ("what?.jsonl", JsonLinesSink),
        ("out.mp4", AnnotatedSink),
        ("out.MP4?segment_s=60", AnnotatedSink),
        ("folder", AnnotatedSink),
        ("folder/?keep=5", AnnotatedSink),
        ("odd:name", AnnotatedSink),
        ("{camera}.avi", PerCameraSink),
        ("all/{camera}?keep=5", PerCameraSink),
    ],
)
def test_what_a_uri_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, kind: type
) -> None:
    monkeypatch.chdir(tmp_path)
    sink = open_sink(uri, context())
    sink.close()
    assert type(sink) is kind
    assert sink.holds_pictures == (kind in (AnnotatedSink, PerCameraSink))
    assert not any("=" in path.name for path in tmp_path.rglob("*"))


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (
            "foo://x",
            "there is no sink for foo://; known are gst:, jsonl:, mqtt:, mqtts:, window:, - (JSON "
            "lines to stdout), files (.jsonl, .mp4, .mov, .m4v, .avi, .mkv) and folders",
        ),
        (
            "out.webm",
            "out.webm is a .webm video, which cannot be written; use .mp4, .mov, .m4v, .avi, .mkv "
            "or a folder",
        ),
        ("out.mp4?segments=5", "out.mp4 has no option 'segments'; its options: segment_s, keep"),
        ("out.mp4?keep=5", "out.mp4: keep needs segment_s, the length of a video in seconds"),
        (
            "out.mp4?segment_s=-1",
            "out.mp4: segment_s is '-1'; expected a number above 0",
        ),
        ("folder?keep=x", "folder: keep is 'x'; expected an integer from 0 to 1000000000"),
        ("folder?keep=1&keep=2", "folder: the option 'keep' is given twice"),
        ("out.jsonl?keep=5", "out.jsonl: keep needs max_mb, the size at which the file is moved"),
        ("out.jsonl?max_mb=nan", "out.jsonl: max_mb is 'nan'; expected a number above 0"),
        ("out.jsonl?max_mb=1&keep=-1", "out.jsonl: keep is '-1'; expected an integer from 0 to"),
        ("-?max_mb=5", "- has no option 'max_mb'; its options: none"),
        ("jsonl:", "jsonl: needs a file's name, or - for stdout"),
    ],
)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uri: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(lambda: open_sink(uri, context())).startswith(message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["paho", "gi"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    for name in [*sys.modules]:
        if name.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    uri, extra = {"paho": ("mqtt://h", "mqtt"), "gi": ("gst:appsrc ! fakesink", "gst")}[module]
    assert f"pip install 'blurvote[{extra}]'" in refusal(lambda: open_sink(uri, context()))


def test_users_register_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "_OPENERS", {})
    given: list[Any] = []

    def opener(uri: str, of: Any) -> CallbackSink:
        given.extend([uri, of])
        return CallbackSink(print)

    register_sink("Kafka", opener)
    run = context()
    assert isinstance(open_sink("kafka://x?y=z", run), CallbackSink)
    assert given == ["kafka://x?y=z", run]
    with pytest.raises(SinkError, match="is not a URI scheme"):
        register_sink("a b", opener)


def test_callbacks() -> None:
    seen: list[Any] = []
    sink = CallbackSink(seen.append)
    assert sink.holds_pictures
    one, happened = observation(), event()
    sink.write(one)
    sink.tell(happened)
    assert seen == [one]
    both = CallbackSink(seen.append, seen.append, pictures=False)
    assert not both.holds_pictures
    both.tell(happened)
    both.close()
    sink.close()
    assert seen == [one, happened]


def test_each_camera_gets_its_own_video(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/{{camera}}/out.avi", context())
    cameras = {"rtsp://h/a": 1, "rtsp:h_a": 2, "../..": 3, "front door": 4}
    for camera, count in cameras.items():
        for number in range(count):
            sink.write(observation(number, camera))
    sink.tell(event())
    sink.close()
    found = {str(p.relative_to(tmp_path)): len(frames_of(p)) for p in tmp_path.rglob("*.avi")}
    assert found == {
        "rtsp_h_a/out.avi": 1,
        "rtsp_h_a_2/out.avi": 2,
        "camera/out.avi": 3,
        "front_door/out.avi": 4,
    }


def test_one_incomplete_video_does_not_cost_the_others(tmp_path: Path) -> None:
    sink = open_sink(f"{tmp_path}/{{camera}}.avi", context())
    (tmp_path / "a.avi").mkdir()
    for camera in "abc":
        sink.write(observation(0, camera, picture(20, 300)))
    said = refusal(sink.close)
    assert said.startswith(f"{tmp_path}/a.avi cannot be written: ")
    assert [len(frames_of(tmp_path / f"{camera}.avi")) for camera in "bc"] == [1, 1]
    sink.close()
