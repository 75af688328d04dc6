"""Streams of an adaptive guard: what a frame's noise means depends on the frame before it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Defense, Frame, FrameError, Guard, ViewBuilder
from tests.runtime.adaptive import ADAPTIVE, BETWEEN, grainy, level_on_grid, write_adaptive_guard


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_adaptive_guard(tmp_path / "guard.onnx")


def stream(levels: list[float], source: str = "door") -> list[Frame]:
    return [Frame(grainy(n, sigma), source=source, sequence=n) for n, sigma in enumerate(levels)]


def written_out(defense: Defense, frames: list[Frame]) -> list[bool]:
    """The switch as its definition has it."""
    noisy, found = False, []
    for frame in frames:
        level = level_on_grid(defense, frame.pixels)
        noisy = level >= defense.noise_switch[0 if noisy else 1]
        found.append(noisy)
    return found


@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_a_stream_is_remembered_and_bare_arrays_are_not(path: Path, plan: Any) -> None:
    between, above, below = BETWEEN, 0.06, 0.02
    frames = stream([between, above, between, between, below, between, above, between])
    guard = Guard(path, "cpu", plan, threads=1)
    expected = [False, True, True, True, False, False, True, True]
    assert written_out(ADAPTIVE, frames) == expected
    assert [guard.classify(frame).denoised for frame in frames] == expected
    guard.classify(stream([0.0])[0])
    assert [verdict.denoised for verdict in guard.classify_batch(frames)] == expected
    guard.classify(stream([0.0])[0])
    assert [verdict.denoised for verdict in guard.classify_stream(frames, 1)] == expected
    alone = [False, True, False, False, False, False, True, False]
    assert [guard.classify(frame.pixels).denoised for frame in frames] == alone


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_bare_arrays_of_a_stream_are_remembered_for_that_stream(path: Path, depth: int) -> None:
    between, above, below = BETWEEN, 0.06, 0.02
    frames = stream([between, above, between, between, below, between, above, between])
    guard = Guard(path, "cpu", "batched", threads=1)
    expected = written_out(ADAPTIVE, frames)
    for _ in range(3):  # it ends noisy, and none begins so
        bare = (frame.pixels for frame in frames)
        found = list(guard.classify_stream(bare, depth))
        assert [verdict.denoised for verdict in found] == expected
        assert {verdict.source for verdict in found} == {""}
    assert not guard.classify(frames[0].pixels).denoised


def test_a_stream_judges_frames_in_their_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    between, above, below = BETWEEN, 0.06, 0.02
    frames = stream([above, between, below, between] * 4)
    expected = written_out(ADAPTIVE, frames)
    build = ViewBuilder.build_noise

    def late(self: ViewBuilder, frame: Any, *rest: Any) -> float | None:
        if frame.sequence % 2 == 0:  # each of these is overtaken by the one after it
            time.sleep(0.03)
        return build(self, frame, *rest)

    monkeypatch.setattr(ViewBuilder, "build_noise", late)
    guard = Guard(path, "cpu", "batched", threads=1)
    unnamed = [replace(frame, source="") for frame in frames]
    for given in (frames, unnamed):
        found = guard.classify_stream(given, 3)
        assert [verdict.denoised for verdict in found] == expected


def test_what_comes_after_a_frame_that_fails_changes_nothing_before_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ViewBuilder.build_noise

    def late(self: ViewBuilder, frame: Any, *rest: Any) -> float | None:
        time.sleep({1: 0.2, 2: 0.05}.get(frame.sequence, 0))
        if frame.sequence == 2:
            raise FrameError("torn")
        return build(self, frame, *rest)

    monkeypatch.setattr(ViewBuilder, "build_noise", late)
    guard = Guard(path, "cpu", "batched", threads=1)
    found = guard.classify_stream(stream([0.06, BETWEEN, BETWEEN, 0.02]), 4)
    assert next(found).denoised
    assert next(found).denoised, "judged before the quiet frame"
    with pytest.raises(FrameError):
        next(found)


def test_a_frame_that_fails_before_it_is_judged_holds_up_nobody(path: Path) -> None:
    guard = Guard(path, "cpu", "batched", threads=1)
    good = stream([0.2])[0]
    found = guard.classify_stream([good, np.zeros(3, np.uint8), good, good], 4)
    assert next(found).denoised
    with pytest.raises(FrameError):
        next(found)
