"""The log: levels, formats, and lines that repeat."""

from __future__ import annotations

import io
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from blurvote.runtime import Frame, Verdict
from blurvote.runtime.observation import Event, EventKind, Observation
from blurvote.runtime.service import logs
from blurvote.runtime.service.logs import (
    close_log,
    log_event,
    log_observation,
    set_up_logging,
)
from blurvote.runtime.service.repeats import Repeats
from blurvote.runtime.service.settings import LogSettings
from blurvote.runtime.verdict import StageTimes

AT = 1_800_000_000.0


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    close_log()
    logger = logging.getLogger("blurvote")  # pytest may have handlers of its own there
    assert not [handler for handler in logger.handlers if isinstance(handler, logs._Handler)]
    assert logger.propagate


def event(text: str, kind: EventKind = "service", camera: str | None = None, **data: Any) -> Event:
    return Event(kind, camera, text, AT, data)


def observation(name: str | None = "red") -> Observation:
    verdict = Verdict(
        label=-1 if name is None else 0,
        name=name,
        reason="no_majority" if name is None else None,
        confidence=None if name is None else 0.9,
        count=3,
        view_labels=(0, 0, 0),
        plan="batched",
        stage_ms=StageTimes(1.0, 2.0, 0.0),
        source="x",
        sequence=7,
        age_ms=5.0,
    )
    return Observation("gate", Frame(np.zeros((2, 2, 3), np.uint8)), verdict, AT)


def start(format: Literal["text", "json"] = "text", **settings: Any) -> io.StringIO:
    stream = io.StringIO()
    set_up_logging(LogSettings(format, **settings), stream, {})
    return stream


def written(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


# ---- levels ----

LEVELS: list[tuple[EventKind, dict[str, Any], str]] = [
    ("state", {"state": "lost"}, "warning"),
    ("state", {"state": "frozen"}, "warning"),
    ("state", {"state": "live"}, "info"),
    ("state", {"state": "ended"}, "info"),
    ("size", {"width": 3}, "info"),
    ("error", {}, "warning"),
    ("alarm", {"raised": True}, "error"),
    ("alarm", {"raised": False}, "info"),
    ("sink", {"state": "failing"}, "warning"),
    ("sink", {"state": "failed"}, "warning"),
    ("sink", {"state": "ok"}, "info"),
    ("service", {}, "info"),
    ("service", {"error": "x"}, "error"),
]


@pytest.mark.parametrize(("kind", "data", "level"), LEVELS)
def test_levels(kind: EventKind, data: dict[str, Any], level: str) -> None:
    stream = start("json")
    log_event(event("said", kind, "gate", **data))
    (line,) = map(json.loads, written(stream))
    assert line.pop("time").endswith("Z")
    assert line == {"type": kind, "camera": "gate", "level": level, "text": "said", **data}


def test_what_is_below_the_level_is_left_out() -> None:
    stream = start(level="warning")
    log_event(event("started"))
    log_event(event("gate is lost", "state", "gate", state="lost"))
    assert [line.split(" ", 2)[1:] for line in written(stream)] == [["warning", "gate is lost"]]


# ---- formats ----


def test_text() -> None:
    stream = start()
    log_event(event("started"))
    log_event(event("changed", "size", "gate"))
    log_event(event("gate is live", "state", "gate", state="live"))
    log_observation(observation())
    log_observation(observation(None))
    said = [line.split(" ", 1)[1] for line in written(stream)]
    assert said == [
        "info    started",
        "info    gate: changed",
        "info    gate is live",
        "info    gate: #7 red 0.900",
        "info    gate: #7 rejected, no_majority",
    ]


def test_no_text_can_pass_for_another_line() -> None:
    stream = start()
    log_event(event("bad\nfake\x1b[31m\r", "error", "gate"))
    assert [line.split(" ", 1)[1] for line in written(stream)] == [
        "warning gate: bad",
        "warning fake\\x1b[31m\\x0d",
    ]


def test_json_of_a_verdict() -> None:
    stream = start("json")
    log_observation(observation())
    (line,) = map(json.loads, written(stream))
    assert (line["type"], line["camera"], line["name"], line["sequence"]) == (
        "verdict", "gate", "red", 7
    )  # fmt: skip
    assert (line["level"], line["text"]) == ("info", "#7 red 0.900")


@pytest.mark.parametrize("format", ["text", "json"])
def test_in_the_journal(format: Literal["text", "json"], tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        journal = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        set_up_logging(LogSettings(format), stream, journal)
        log_event(event("one\ntwo", "alarm", "gate", raised=True))
        log_event(event("gate is lost", "state", "gate", state="lost"))
        log_event(event("started"))
        close_log()
    lines = path.read_text().splitlines()
    if format == "text":
        assert lines == ["<3>gate: one", "<3>two", "<4>gate is lost", "<6>started"]
    else:
        assert [line[:4] for line in lines] == ["<3>{", "<4>{", "<6>{"]
        assert json.loads(lines[0][3:])["text"] == "one\ntwo"


def test_stderr_that_was_redirected_is_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("w") as stream:
        set_up_logging(LogSettings(), stream, {"JOURNAL_STREAM": "1:2"})
        log_event(event("started"))
        close_log()
    assert path.read_text().endswith("Z info    started\n")


def test_an_exception_is_logged_with_its_traceback() -> None:
    stream = start()
    try:
        raise ZeroDivisionError("no")
    except ZeroDivisionError:
        logging.getLogger("blurvote").exception("a bug")
    lines = written(stream)
    assert lines[0].endswith("error   a bug")
    assert lines[-1].endswith("error   ZeroDivisionError: no")


def test_a_log_that_cannot_be_written_does_no_harm() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115
    set_up_logging(LogSettings(), full, {})
    log_event(event("started"))
    close_log()
    with pytest.raises(OSError, match="No space left"):  # it has really been tried
        full.close()
    stream = start()
    stream.close()
    log_event(event("started"))


def test_set_up_again() -> None:
    first = start()
    second = start("json")
    log_event(event("started"))
    assert written(first) == []
    assert len(written(second)) == 1


# ---- repeats ----


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def record(text: str, camera: str = "gate", kind: EventKind = "error") -> logging.LogRecord:
    made = logging.LogRecord("blurvote", logging.WARNING, "", 0, "%s", (text,), None)
    made.event = event(text, kind, camera)
    return made


def texts(records: list[logging.LogRecord]) -> list[str]:
    return [each.getMessage() for each in records]


def test_one_in_a_while_comes_through() -> None:
    clock = Clock()
    repeats = Repeats(60, clock)
    out = []
    for second in range(3 * 3600):
        clock.now = float(second)
        out += texts(repeats.admit(record(f"frame {second} is broken")))
    assert len(out) == 180
    assert out[0] == "frame 0 is broken"
    assert out[1] == "frame 59 is broken (and 58 more like this)"
    out += texts(repeats.flush())
    assert out[-1] == "frame 10799 is broken (and 59 more like this)"
    more = [int(text.split("(and ")[1].split()[0]) for text in out[1:]]
    assert len(out) + sum(more) == 3 * 3600


def test_what_differs_comes_through() -> None:
    repeats = Repeats(60, Clock())
    for each in (
        record("lost", kind="state"),
        record("live", kind="state"),
        record("lost", "yard", "state"),
        record("lost"),
    ):
        assert texts(repeats.admit(each)) == [each.getMessage()]


def test_what_was_held_back_comes_with_the_next_of_any_kind() -> None:
    clock = Clock()
    repeats = Repeats(60, clock)
    for _ in range(3):
        repeats.admit(record("lost"))
    clock.now = 61
    assert texts(repeats.admit(record("x", "yard"))) == ["lost (and 1 more like this)", "x"]
    assert texts(repeats.flush()) == []


def test_texts_without_end_are_held_back_too() -> None:
    clock = Clock()
    repeats = Repeats(60, clock)
    out = []
    for second in range(600):
        clock.now = float(second)
        name = "".join(chr(97 + (second >> shift) % 8) for shift in (0, 3, 6, 9))
        out += repeats.admit(record(f"{name} is broken"))
    assert len(out) < 100
    assert sum(len(kinds) for kinds in repeats._seen.values()) <= 9


def test_all_comes_through_where_asked_for() -> None:
    stream = start(every_s=0)
    for _ in range(5):
        log_event(event("again"))
    assert len(written(stream)) == 5


def test_the_end_writes_what_was_held_back() -> None:
    stream = start()
    for _ in range(5):
        log_event(event("again"))
    close_log()
    assert [line.split(" ", 1)[1] for line in written(stream)] == [
        "info    again",
        "info    again (and 3 more like this)",
    ]
