"""The drawn clip as a source."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from blurvote.runtime import SourceError
from blurvote.runtime.sources import SourceOptions, open_source


def first(uri: str, **options: object) -> np.ndarray:
    source = open_source(uri, SourceOptions(**options))  # type: ignore[arg-type]
    got = source.read()
    source.close()
    assert got is not None
    assert got.colour == "rgb"
    return got.pixels


def test_the_seed_chooses_and_the_size_is_as_asked() -> None:
    assert first("synthetic:").shape == (240, 320, 3)
    assert first("synthetic:", width=64, height=36).shape == (36, 64, 3)
    assert first("synthetic:?width=64&height=36", width=9, height=9).shape == (36, 64, 3)
    np.testing.assert_array_equal(first("synthetic:?seed=1"), first("synthetic:?seed=1"))
    assert not np.array_equal(first("synthetic:?seed=1"), first("synthetic:?seed=2"))


def test_noise() -> None:
    clean, noisy = first("synthetic:").astype(int), first("synthetic:?noise=0.05").astype(int)
    assert 0.03 * 255 < np.std(noisy - clean) < 0.06 * 255


def test_it_ends_after_a_round_or_as_many_frames_as_asked_for() -> None:
    source = open_source("synthetic:?frames=5")
    assert source.total == 5
    assert [f.sequence for f in iter(source.read, None)] == [0, 1, 2, 3, 4]
    once = open_source("synthetic:")
    assert once.total == sum(1 for _ in iter(once.read, None))
    endless = open_source("synthetic:", SourceOptions(loop=True))
    assert endless.total is None


def test_it_replays_without_drawing_again() -> None:
    source = open_source("synthetic:", SourceOptions(loop=True, width=64, height=48))
    length = open_source("synthetic:").total
    assert length is not None
    drawn = [source.read() for _ in range(length)]
    again = source.read()
    assert again is not None
    assert drawn[0] is not None
    assert again.pixels is drawn[0].pixels
    assert not again.pixels.flags.writeable


def test_live_frames_come_in_time_and_the_unread_are_gone() -> None:
    source = open_source("synthetic:?live=1&fps=100")
    assert source.live
    assert source.frames_per_second == 100
    frames = []
    for k in range(6):
        got = source.read()
        assert got is not None
        assert time.monotonic() - got.captured_at >= 0
        frames.append(got)
        if k == 2:
            time.sleep(0.1)
    steps = np.diff([f.captured_at for f in frames])
    # Each is a whole number of intervals after the one before; the sleep cost several.
    np.testing.assert_allclose(steps * 100, np.round(steps * 100), atol=1e-3)
    assert steps[2] >= 0.08
    source.close()
    assert source.read() is None


def test_close_wakes_a_reader() -> None:
    source = open_source("synthetic:?live=1&fps=0.01")
    assert source.read() is not None
    reader = threading.Thread(target=source.read)
    reader.start()
    source.close()
    reader.join(30)
    assert not reader.is_alive()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("synthetic:?speed=3", "sets 'speed'; expected width, height"),
        ("synthetic:?noise=2", "sets noise to '2'; expected a standard deviation from 0 to 1"),
        ("synthetic:?frames=x", "sets frames to 'x'; expected a number of frames"),
        ("synthetic:?seed=", "sets 'seed' to nothing"),
        ("synthetic:?width=5", "sets height to nothing; expected pixels"),
        ("synthetic://host", "is not known"),
    ],
)
def test_settings_that_cannot_be(uri: str, said: str) -> None:
    with pytest.raises(SourceError) as caught:
        open_source(uri)
    assert said in str(caught.value)
