"""The scripted source: it does what its script says, and counts."""

from __future__ import annotations

import itertools
import threading
import time

import numpy as np
import pytest

from blurvote.runtime import Frame, SourceError, StreamLostError
from blurvote.runtime.sources import SourceOptions
from blurvote.runtime.sources.fake import Script, ScriptedSource

PICTURE = np.zeros((4, 6, 3), np.uint8)


def test_frames_errors_and_the_end_in_the_order_of_the_script() -> None:
    small = np.ones((2, 2, 3), np.uint8)
    given = Frame(PICTURE, "rgb", "elsewhere", 7, captured_at=1.5)
    source = ScriptedSource([PICTURE, SourceError("smudged"), 0.001, small, given, None, PICTURE])
    first = source.read()
    assert first is not None
    assert (first.source, first.sequence, first.colour) == ("fake", 0, "bgr")
    assert first.pixels is PICTURE
    with pytest.raises(SourceError, match=r"^smudged$"):
        source.read()
    second = source.read()
    assert second is not None
    assert (second.sequence, second.pixels.shape) == (1, (2, 2, 3))
    assert source.read() is given
    assert source.read() is None
    assert source.read() is None, "an end is the end"


def test_a_script_may_be_endless() -> None:
    lost = StreamLostError("lost")
    source = ScriptedSource(itertools.cycle([PICTURE, lost]))
    for sequence in range(50):
        got = source.read()
        assert got is not None
        assert got.sequence == sequence
        with pytest.raises(StreamLostError) as caught:
            source.read()
        assert caught.value is lost
    depth, trace = 0, lost.__traceback__
    while trace is not None:
        depth, trace = depth + 1, trace.tb_next
    assert depth < 10, "tracebacks pile up"


def test_a_pause_takes_its_time_and_close_ends_it() -> None:
    source = ScriptedSource([0.05, PICTURE, 600.0, PICTURE])
    began = time.monotonic()
    got = source.read()
    assert got is not None
    assert got.captured_at - began >= 0.05
    late: list[Frame | None] = []
    reader = threading.Thread(target=lambda: late.append(source.read()))
    reader.start()
    source.close()
    reader.join(timeout=30)
    assert not reader.is_alive()
    assert late == [None]


def test_a_live_source_that_pauses_too_long_is_lost_and_a_file_is_not() -> None:
    live = ScriptedSource([0.1, PICTURE], name="cam", timeout_s=0.02)
    with pytest.raises(StreamLostError, match=r"^cam delivered nothing for 0\.02 s$"):
        live.read()
    file = ScriptedSource([0.1, PICTURE], live=False, timeout_s=0.02)
    assert file.read() is not None


def test_a_camera_that_opens_at_the_third_try_and_comes_back_once() -> None:
    away = SourceError("unplugged")
    script = Script([away, away, [PICTURE, StreamLostError("gone")], lambda: iter([PICTURE])])
    options = SourceOptions(fps=30, timeout_s=1)
    for _ in range(2):
        with pytest.raises(SourceError, match="unplugged"):
            script.open("fake:0", options)
    source = script.open("fake:0", options)
    assert (script.asked, script.opened, script.closed) == (3, 1, 0)
    assert script.options is options
    assert (source.live, source.frames_per_second) == (True, 30)
    got = source.read()
    assert got is not None
    assert got.source == "fake:0"
    source.close()
    source.close()
    assert script.closed == 1
    again = script.open("fake:0", options)
    assert again.read() is not None
    with pytest.raises(SourceError, match=r"^fake:0 cannot be opened: its script has no more"):
        script.open("fake:0", options)
    assert (script.asked, script.opened, script.closed) == (5, 2, 1)
