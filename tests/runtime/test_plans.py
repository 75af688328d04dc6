"""A cascade decides as a batch does: the same label, rejection, reason and confidence."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from blurvote.runtime import Defense, Frame, ViewBuilder
from blurvote.runtime.decision import decide_majority
from blurvote.runtime.denoising import Denoiser
from blurvote.runtime.plans import AutoPlan, ViewRunner
from blurvote.runtime.times import Times


class Scripted:
    """Stands in for builder and engine: view k of frame n has the logits of a table.

    The "views" carry their own address (frame, view), so the engine can look them up; what was
    built and run is recorded.
    """

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits
        self.defense = Defense(passes=tuple(range(logits.shape[1])), resize=8, crop=(5, 5))
        self.built: list[tuple[int, int]] = []
        self.batches: list[int] = []

    def build(self, frame: Frame, out: np.ndarray, views: range) -> None:
        for row, view in zip(out, views, strict=True):
            row[0, 0, :2] = frame.pixels[0, 0, 0], view
            self.built.append((int(frame.pixels[0, 0, 0]), view))

    def build_noise(self, frame: Frame, out: np.ndarray, views: range) -> None:
        self.build(frame, out, views)

    def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def run(self, batch: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        self.batches.append(len(batch))
        address = batch[:, 0, 0, :2].astype(int)
        return [self.logits[address[:, 0], address[:, 1]]]

    def ballots(self, plan: str) -> Any:
        frames = [Frame(np.full((1, 1, 3), n, np.uint8)) for n in range(len(self.logits))]
        runner = ViewRunner(self, self, range(self.logits.shape[1]))  # type: ignore[arg-type]
        return getattr(runner, plan)(frames, Times())


tables = st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 4)).flatmap(
    lambda shape: st_numpy.arrays(
        np.float32, shape, elements=st.sampled_from([0, 1, 2, np.nan, -np.inf, np.inf])
    )
)


@settings(max_examples=500, deadline=None)
@given(tables)
def test_cascade_decides_as_batched(logits: np.ndarray) -> None:
    batched = Scripted(logits).ballots("batched")
    scripted = Scripted(logits)
    cascade = scripted.ballots("cascade")
    for whole, part in zip(batched, cascade, strict=True):
        assert decide_majority(part) == decide_majority(whole)
        assert part.view_labels == whole.view_labels[: len(part.view_labels)]
        assert part.views == whole.views
    assert len(scripted.built) == len(set(scripted.built)), "a view was built twice"


class ScriptedAdaptive(Scripted):
    """The same for an adaptive defence: a frame's views are its V plain ones and K denoised ones.

    Args:
        logits: `(N, V + K, C)`, the plain views first.
        noisy: which frames are.
        noisy_views: V names.
    """

    input_name, output_names = "noisy", ("views",)

    def __init__(self, logits: np.ndarray, noisy: list[bool], noisy_views: tuple[str, ...]) -> None:
        super().__init__(logits[:, : len(noisy_views)])
        self.defense = replace(self.defense, noisy_views=noisy_views)
        self.logits, self.noisy = logits, noisy
        self.denoised: list[int] = []

    def build_noise(self, frame: Frame, out: np.ndarray, views: range) -> float:
        self.build(frame, out, views)
        return 0.2 if self.noisy[int(frame.pixels[0, 0, 0])] else 0.001

    def noise_gain(self, height: int, width: int) -> float:
        return 1.0

    def run(self, batch: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        if outputs == ["logits"]:
            return super().run(batch, outputs)
        self.denoised.append(len(batch))
        count = len(self.defense.denoised_kinds)
        views = np.zeros((len(batch), count, 3, 5, 5), np.float32)
        for row, out in zip(batch, views, strict=True):
            assert row[0, 0, 1] == 0, "not the clean view"
            out[:, 0, 0, 0] = row[0, 0, 0]
            out[:, 0, 0, 1] = len(self.defense.passes) + np.arange(count)
        return [views]

    def ballots(self, plan: str) -> Any:
        frames = [Frame(np.full((1, 1, 3), n, np.uint8)) for n in range(len(self.logits))]
        views = range(len(self.defense.passes))
        denoiser = Denoiser(self, self.defense)  # type: ignore[arg-type]
        runner = ViewRunner(self, self, views, denoiser)  # type: ignore[arg-type]
        return getattr(runner, plan)(frames, Times())


PLAIN = ("clean", "single-blur", "double-blur", "3-blur", "4-blur")
SETS = [
    ("90%-denoised", "denoised", "50%-denoised"),
    ("denoised", "denoised-single-blur", "double-blur"),
    ("double-blur", "denoised", "clean"),
    ("denoised-single-blur", "3-blur", "denoised", "70%-denoised-double-blur", "clean"),
]


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_quiet_and_noisy_frames_share_a_batch(data: st.DataObject) -> None:
    names = data.draw(st.sampled_from(SETS))
    frames, denoised = data.draw(st.integers(1, 5)), sum("denoised" in name for name in names)
    shape = (frames, len(names) + denoised, data.draw(st.integers(1, 4)))
    values = st.sampled_from([0, 1, 2, np.nan, -np.inf, np.inf])
    logits = data.draw(st_numpy.arrays(np.float32, shape, elements=values))
    noisy = data.draw(st.lists(st.booleans(), min_size=frames, max_size=frames))
    scripted = {plan: ScriptedAdaptive(logits, noisy, names) for plan in ("batched", "cascade")}
    whole, part = (scripted[plan].ballots(plan) for plan in scripted)
    plain = PLAIN[: len(names)]
    made = [name for name in names if "denoised" in name]
    contents = {name: k for k, name in enumerate((*plain, *made))}
    for n in range(frames):
        used = [contents[name] for name in (names if noisy[n] else plain)]
        np.testing.assert_array_equal(whole[n].logits, logits[n, used])
        np.testing.assert_array_equal(part[n].logits, logits[n, used][: len(part[n].logits)])
        assert whole[n].denoised is part[n].denoised is noisy[n]
        assert whole[n].noise == part[n].noise == (0.2 if noisy[n] else 0.001)
        assert decide_majority(part[n]) == decide_majority(whole[n])
    for one in scripted.values():
        assert one.denoised == ([sum(noisy)] if any(noisy) else []), "once a frame, all at once"


def test_cascade_neither_builds_nor_runs_what_it_does_not_need() -> None:
    agree, differ = [[1, 0], [1, 0], [0, 1]], [[1, 0], [0, 1], [0, 1]]
    scripted = Scripted(np.array([agree, differ, agree], np.float32))
    ballots = scripted.ballots("cascade")
    assert scripted.built == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (1, 2)]
    assert scripted.batches == [6, 1]
    assert [ballot.label for ballot in ballots] == [0, 1, 0]
    assert [ballot.complete for ballot in ballots] == [False, True, False]


def test_cascade_of_five_stops_when_no_label_can_win() -> None:
    distinct = np.eye(5, dtype=np.float32)[None]
    scripted = Scripted(distinct)
    (ballot,) = scripted.ballots("cascade")
    assert ballot.label == -1
    assert len(ballot.view_labels) == 4


def test_one_buffer_serves_growing_and_shrinking_batches() -> None:
    defense = Defense(resize=20, crop=(16, 16))
    builder = ViewBuilder(defense)
    seen = []

    class Echo:
        def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
            return np.empty(shape, dtype)

        def run(self, batch: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
            seen.append(batch)
            return [batch.mean(axis=(2, 3))]

    runner = ViewRunner(builder, Echo(), range(3))  # type: ignore[arg-type]
    frames = [Frame(np.full((30, 30, 3), 40 * n, np.uint8)) for n in range(5)]
    for count in (1, 5, 2, 1):
        ballots = runner.batched(frames[:count], Times())
        for frame, ballot in zip(frames, ballots, strict=False):
            expected = builder.build(frame.pixels).mean(axis=(2, 3))
            np.testing.assert_allclose(ballot.logits, expected, atol=1e-6)
    assert all(np.shares_memory(batch, seen[1]) for batch in seen[1:])


class Timed:
    """An engine that takes `cost(batch)` milliseconds, and far longer when a size is new to it."""

    def __init__(self, cost: Callable[[int], float], new: dict[int, float]) -> None:
        self.cost, self.new = cost, new
        self.runs: list[int] = []

    def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def run(self, batch: np.ndarray, outputs: list[str]) -> list[np.ndarray]:
        assert batch.std() > 0.5, "zeros are no fair input"
        count = len(batch)
        extra = self.new.get(count, 0) if count not in self.runs else 0
        self.runs.append(count)
        time.sleep((self.cost(count) + extra) / 1e3)
        return [np.zeros((count, 2), np.float32)]


@pytest.mark.parametrize(
    ("cost", "new", "choice"),
    [
        (lambda count: 4 * count, {2: 60, 1: 60}, "cascade"),  # a processor
        (lambda count: 8 + 0.1 * count, {3: 60}, "batched"),  # a GPU
    ],
)
def test_the_measurement_is_not_fooled_by_the_first_run_of_a_size(
    cost: Callable[[int], float], new: dict[int, float], choice: str
) -> None:
    engine: Any = Timed(cost, new)
    plan = AutoPlan.measured(engine, Defense(resize=8, crop=(5, 5)))
    assert plan.choice == choice
    assert plan.facts["choice"] == choice
    assert plan.facts["cascade_ms"] == plan.cascade_ms
    assert plan.rest == 1
    assert set(engine.runs) == {1, 2, 3}
    assert engine.runs.count(1) >= 5, "two to warm up, three to measure"


def test_five_views() -> None:
    engine: Any = Timed(lambda count: 0.1, {})
    plan = AutoPlan.measured(engine, Defense(passes=(0, 1, 2, 3, 4), resize=8, crop=(5, 5)))
    assert set(engine.runs) == {1, 3, 5}
    assert plan.rest == 2


def test_auto_follows_costs_and_rate() -> None:
    cheap_batches = AutoPlan(first_ms=1.8, one_ms=1.5, all_ms=2.0, rest=1)
    assert cheap_batches.choice == "batched"
    plan = AutoPlan(first_ms=2.0, one_ms=1.0, all_ms=2.9, rest=1)
    assert plan.choice == "cascade"
    assert plan.cascade_ms == pytest.approx(2.2)
    for _ in range(2000):
        plan.learn(undecided=True)
    assert plan.rate == pytest.approx(1, abs=0.01)
    assert plan.choice == "batched"
    for _ in range(2000):
        plan.learn(undecided=False)
    assert plan.choice == "cascade"
