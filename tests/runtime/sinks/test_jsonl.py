"""JSON lines: whole, valid, in order, and none lost to rotation, logrotate or a full disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime.pipeline.delivery import Delivery, Retry
from blurvote.runtime.sinks import JsonLinesSink, StdoutSink, jsonl, open_sink, to_json
from tests.runtime.sinks.material import context, event, observation, refusal, until


def lines(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert text.endswith("\n") or not text
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def numbers(path: Path) -> list[int]:
    return [line["sequence"] for line in lines(path)]


def test_a_line_for_each_thing(tmp_path: Path) -> None:
    path = tmp_path / "new folder/out.jsonl"
    sink = open_sink(str(path), context())
    sink.write(observation(3, "front"))
    assert numbers(path) == [3]  # nothing waits in a buffer
    sink.tell(event("front", why="x"))
    sink.close()
    sink.close()
    first, second = lines(path)
    assert first["type"] == "verdict"
    assert first["camera"] == "front"
    assert first["time"] == "1970-01-01T00:00:01.500Z"
    assert "frame" not in first
    assert second == {
        "type": "state",
        "camera": "front",
        "time": "1970-01-01T00:00:01.500Z",
        "text": "hello",
        "why": "x",
    }


def test_json_is_valid_whatever_is_in_it(tmp_path: Path) -> None:
    odd = {
        "nan": float("nan"),
        "deep": [1.0, {"inf": float("-inf")}, (float("inf"), 2)],
        "array": np.array([1.0, np.nan]),
        "scalar": np.float32("nan"),
        "path": tmp_path,
        "text": "line\nbreak \u2028 ü",
    }
    line = to_json(odd)
    assert "\n" not in line
    assert json.loads(line, parse_constant=pytest.fail) == {
        "nan": None,
        "deep": [1.0, {"inf": None}, [None, 2]],
        "array": [1.0, None],
        "scalar": None,
        "path": str(tmp_path),
        "text": "line\nbreak \u2028 ü",
    }
    sink = JsonLinesSink(str(tmp_path / "a"))
    sink.write(observation(confidence=float("nan")))
    sink.close()
    assert lines(tmp_path / "a")[0]["confidence"] is None


def test_rotation_loses_no_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"{path}?max_mb=0.002&keep=50", context())
    for number in range(100):
        sink.write(observation(number))
    sink.close()
    names = sorted(tmp_path.iterdir(), key=lambda p: -int(p.suffix[1:]) if p != path else 0)
    assert len(names) > 10
    assert [n for name in names for n in numbers(name)] == list(range(100))
    assert max(name.stat().st_size for name in names) <= 2000


@pytest.mark.parametrize(("options", "files"), [("keep=2", 3), ("keep=0", 1), ("", 6)])
def test_only_so_many_files_are_kept(tmp_path: Path, options: str, files: int) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"{path}?max_mb=0.001&{options}".rstrip("&"), context())
    for number in range(100):
        sink.write(observation(number))
    sink.close()
    assert len([*tmp_path.iterdir()]) == files
    assert numbers(path)[-1] == 99
    assert (len(numbers(path)) == 100) == (options == "keep=0")


def test_a_line_longer_than_a_file_is_written_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(str(path), "max_mb=0.001&keep=3")
    for _ in range(3):
        sink.tell(event(long="x" * 5000))
    sink.close()
    assert [len(lines(name)) for name in sorted(tmp_path.iterdir())] == [1, 1, 1]


@pytest.mark.parametrize("moved", [True, False])
def test_a_file_moved_away_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: bool
) -> None:
    monkeypatch.setattr(jsonl, "LOOK_EVERY_S", 0.0)
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(str(path))
    sink.write(observation(0))
    if moved:
        path.rename(tmp_path / "old")
        path.touch()  # logrotate's "create"
    else:
        path.unlink()
    sink.write(observation(1))
    sink.close()
    assert numbers(path) == [1]
    assert not moved or numbers(tmp_path / "old") == [0]


def test_whether_it_was_moved_is_not_asked_for_every_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []
    stat = Path.stat
    sink = JsonLinesSink(str(tmp_path / "out.jsonl"))
    monkeypatch.setattr(jsonl, "LOOK_EVERY_S", 1000.0)
    monkeypatch.setattr(Path, "stat", lambda self, **how: asked.append(self) or stat(self, **how))
    for number in range(10):
        sink.write(observation(number))
    assert asked == []
    monkeypatch.setattr(jsonl, "LOOK_EVERY_S", 0.0)
    sink.write(observation(10))
    assert len(asked) == 1
    sink.close()


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (b"", b""),
        (b'{"a": 1}\n', b'{"a": 1}\n'),
        (b'{"a": 1}\n{"a": ', b'{"a": 1}\n'),
        (b'{"a": ', b""),
        (b'{"a": 1}\n{"a": 2}', b'{"a": 1}\n{"a": 2}\n'),
        (b"a user's own words", b"a user's own words\n"),
    ],
)
def test_what_a_crash_left_is_mended(tmp_path: Path, before: bytes, expected: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(before)
    sink = JsonLinesSink(str(path))
    sink.write(observation(7))
    sink.close()
    assert path.read_bytes().startswith(expected)
    assert json.loads(path.read_bytes()[len(expected) :])["sequence"] == 7


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for name, reason in (("", "Is a directory"), ("taken/a", "File exists"), ("x" * 300, "")):
        path = tmp_path / name
        said = refusal(lambda path=path: JsonLinesSink(str(path)))
        assert said.startswith(f"{path} cannot be written: {reason}")


def test_things_that_are_no_files() -> None:
    sink = JsonLinesSink("/dev/null", "max_mb=0.0001")
    for number in range(5):
        sink.write(observation(number))
    sink.close()
    full = JsonLinesSink("/dev/full")
    said = refusal(lambda: full.write(observation()))
    full.close()
    assert said == "/dev/full cannot be written: No space left on device"


# ---- a full disk, for real ----


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("only root on Linux can mount a small disk")
    place = tmp_path / "disk"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "blurvote-test"]
    ran = subprocess.run(["mount", *options, str(place)], capture_output=True, text=True)
    if ran.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {ran.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_lines_go_on_after_a_full_disk(small_disk: Path) -> None:
    path = small_disk / "out.jsonl"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(40_000))
    told: list[Any] = []
    sink = JsonLinesSink(str(path))
    delivery = Delivery("out.jsonl", sink, "drop", told.append, retry=Retry(0.01, 0.05))
    for number in range(150):
        delivery.put(observation(number))
    until(lambda: delivery.snapshot()["state"] == "failing")
    stored = numbers(path)  # whole lines only
    assert stored == list(range(len(stored)))
    assert 10 < len(stored) < 150
    assert "No space left on device" in told[0].text
    ballast.unlink()
    until(lambda: delivery.snapshot()["queued"] == 0)
    delivery.close()
    assert numbers(path) == list(range(150))
    assert [happened.data["state"] for happened in told] == ["failing", "ok"]


def test_rotation_on_a_full_disk_keeps_lines_whole(small_disk: Path) -> None:
    path = small_disk / "out.jsonl"
    sink = JsonLinesSink(str(path), "max_mb=0.02&keep=9")
    written = 0
    for number in range(300):
        try:
            sink.write(observation(number))
            written += 1
        except Exception as error:
            assert "No space left on device" in str(error)  # noqa: PT017
    sink.close()
    files = [path, *(small_disk / f"out.jsonl.{n}" for n in range(1, 10))]
    assert sum(len(lines(file)) for file in files if file.exists()) == written
    assert 50 < written < 300


# ---- stdout ----


def test_lines_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("-", context())
    sink.write(observation(1))
    sink.tell(event())
    sink.close()
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert (first["sequence"], second["text"]) == (1, "hello")


def test_stdout_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    said = refusal(lambda: StdoutSink(context()))
    assert said == "- writes JSON lines to stdout, which is closed"


class Stream:
    def __init__(self) -> None:
        self.text, self.waiting, self.error = "", "", None

    def write(self, text: str) -> None:
        self.waiting += text

    def flush(self) -> None:
        if self.error is not None:
            raise self.error
        self.text, self.waiting = self.text + self.waiting, ""


def test_a_line_that_stdout_did_not_take_is_not_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stream()
    monkeypatch.setattr(sys, "stdout", stream)
    sink = StdoutSink(context())
    stream.error = OSError(28, "No space left on device")
    stuck = observation(1)
    for _ in range(3):
        said = refusal(lambda: sink.write(stuck))
        assert said == "stdout cannot be written: No space left on device"
    stream.error = None
    sink.write(stuck)
    sink.write(observation(2))
    assert [json.loads(line)["sequence"] for line in stream.text.splitlines()] == [1, 2]


def test_a_reader_that_leaves_stops_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[bool] = []
    stream = Stream()
    stream.error = BrokenPipeError()
    monkeypatch.setattr(sys, "stdout", stream)
    sink = StdoutSink(context(stop=lambda: stopped.append(True)))
    sink.write(observation(1))
    sink.write(observation(2))
    assert stopped == [True]
