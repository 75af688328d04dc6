"""What a `frames` guard's graph says of noise reaches the ballots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import Frame, GuardError, GuardMetadata, ViewBuilder
from blurvote.runtime.times import Times
from blurvote.runtime.whole_graph import WholeGraphRunner
from tests.runtime.adaptive import ADAPTIVE

VOTES = ["logits", "label", "count", "view_labels"]


class Engine:
    """A graph of three views, whose noise levels are given."""

    def __init__(self, levels: list[float] | None) -> None:
        self.levels = levels
        self.output_names = [*VOTES, *(() if levels is None else ("noise",))]

    def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def run(self, batch: np.ndarray, outputs: Any) -> list[np.ndarray]:
        assert list(outputs) == self.output_names
        count = len(batch)
        results: list[Any] = [
            np.zeros((count, 3, 2), np.float32),
            np.zeros(count, np.int64),
            np.full(count, 3),
            np.zeros((count, 3), np.int64),
        ]
        if self.levels is not None:
            results.append(np.array(self.levels, np.float32))
        return results


def ballots(defense: Any, levels: list[float] | None, count: int) -> Any:
    engine: Any = Engine(levels)
    runner = WholeGraphRunner(engine, GuardMetadata("frames", defense))
    return runner.batched([Frame(np.zeros((96, 128, 3), np.uint8))] * count, Times())


def test_the_level_and_which_views_voted() -> None:
    gain = np.float32(ViewBuilder(ADAPTIVE).noise_gain(96, 128))
    high = np.float32(ADAPTIVE.noise_switch[1])
    at = high / gain
    while at * gain < high:  # the first level that is noisy in float32
        at = np.nextafter(at, np.float32(1), dtype=np.float32)
    while np.nextafter(at, np.float32(0), dtype=np.float32) * gain >= high:
        at = np.nextafter(at, np.float32(0), dtype=np.float32)
    below = np.nextafter(at, np.float32(0), dtype=np.float32)
    levels = [float("nan"), 0.0, float(below), float(at), 0.25]
    found = ballots(ADAPTIVE, levels, 5)
    assert [ballot.noise for ballot in found] == [None, *levels[1:]]
    assert [ballot.denoised for ballot in found] == [False, False, False, True, True]


def test_without_noisy_views_a_level_is_only_told() -> None:
    plain = replace(ADAPTIVE, noisy_views=())
    (ballot,) = ballots(plain, [0.25], 1)
    assert (ballot.noise, ballot.denoised) == (0.25, False)
    (ballot,) = ballots(plain, None, 1)
    assert (ballot.noise, ballot.denoised) == (None, False)


def test_an_adaptive_graph_must_tell() -> None:
    with pytest.raises(GuardError, match="but no output 'noise'; export it again"):
        ballots(ADAPTIVE, None, 1)
