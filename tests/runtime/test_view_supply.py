"""Each slot of a batch holds the view it should, of quiet and of noisy frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.runtime import Defense, Frame, GuardError, ViewBuilder
from blurvote.runtime.denoising import Denoiser
from blurvote.runtime.noise_switch import Judge, alone, by_source
from blurvote.runtime.times import Times
from blurvote.runtime.view_supply import ViewSupply
from tests.runtime.adaptive import ADAPTIVE, marked

GAIN = 0.1
QUIET, BETWEEN, NOISY = (
    0.01,
    0.05,
    0.2,
)  # at the frame; the switch is at 0.004 and 0.006 on the grid


class Levels(ViewBuilder):
    """The kernel, with noise levels that a table gives for each frame's sequence number."""

    def __init__(self, defense: Defense, levels: list[float | None]) -> None:
        super().__init__(defense)
        self.levels = levels
        self.built: list[tuple[int, range]] = []

    def build(self, frame: Any, out: Any = None, colour: Any = "rgb", views: Any = None) -> Any:
        self.built.append((frame.sequence, views))
        return super().build(frame, out, colour, views)

    def build_noise(self, frame: Any, out: Any = None, views: Any = None) -> float | None:
        self.build(frame, out, views=views)
        return self.levels[frame.sequence]

    def noise_gain(self, height: int, width: int) -> float:
        assert (height, width) == (40, 30)
        return GAIN


class Engine:
    """Marks clean views as the test's denoiser does."""

    input_name, output_names = "noisy", ("views",)

    def __init__(self, defense: Defense) -> None:
        self.count = len(defense.denoised_kinds)
        self.batches: list[NDArray[np.float32]] = []

    def host_buffer(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        return np.full(shape, np.nan, dtype)

    def run(self, batch: NDArray[np.float32], outputs: Any) -> list[NDArray[np.float32]]:
        assert list(outputs) == ["views"]
        self.batches.append(batch.copy())
        views = [[marked(row[:3], row[3, 0, 0], k) for k in range(self.count)] for row in batch]
        return [np.array(views, np.float32)]


def frames(count: int) -> list[Frame]:
    random = np.random.default_rng(3)
    return [
        Frame(random.integers(0, 256, (40, 30, 3), dtype=np.uint8), sequence=n)
        for n in range(count)
    ]


def expected(defense: Defense, frame: Frame, level: float | None, view: int) -> NDArray[Any]:
    """View `view` of a frame that is judged by itself, from the definition."""
    on_grid = (level or 0) * GAIN
    noisy = level is not None and on_grid >= defense.noise_switch[1]
    kind = defense.kinds(noisy)[view]
    plain = replace(defense, passes=tuple(sorted({0, kind.passes})), noisy_views=())
    views = ViewBuilder(plain).build(frame)
    if kind.denoised:
        names = [name for name in defense.noisy_views if "denoised" in name]
        return marked(views[0], on_grid, names.index(kind.name))
    return views[-1 if kind.passes else 0]


def supply(defense: Defense, levels: list[float | None]) -> tuple[ViewSupply, Levels, Engine]:
    builder, engine = Levels(defense, levels), Engine(defense)
    made = ViewSupply(builder, engine, Denoiser(engine, defense))  # type: ignore[arg-type]
    return made, builder, engine


LEVELS: list[list[float | None]] = [
    [QUIET],
    [NOISY],
    [None],
    [QUIET, NOISY, BETWEEN, None, 0.3, 0.065],
    [NOISY, NOISY],
]
NOISY_VIEWS = [
    ("denoised", "denoised-single-blur", "double-blur"),
    ("clean", "denoised-double-blur", "single-blur"),  # the same views, in other slots
    ("single-blur", "clean", "denoised"),
    ("90%-denoised", "denoised", "50%-denoised-single-blur"),
]


@pytest.mark.parametrize("blur_at", ["frame", "model"])
@pytest.mark.parametrize("noisy_views", NOISY_VIEWS)
@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("split", [3, 2, 1])
def test_every_slot(
    noisy_views: tuple[str, ...], levels: list[float | None], split: int, blur_at: Any
) -> None:
    defense = replace(ADAPTIVE, noisy_views=noisy_views, blur_at=blur_at)
    made, _, engine = supply(defense, levels)
    given = frames(len(levels))
    seen, batch = made.first(given, range(split), Times())
    parts = [batch.reshape(len(given), split, 3, 16, 16).copy()]
    for view in range(split, 3):
        batch = made.more(seen, range(view, view + 1), Times())
        parts.append(batch.reshape(len(given), 1, 3, 16, 16).copy())
    got = np.concatenate(parts, axis=1)
    for n, (frame, level) in enumerate(zip(given, levels, strict=True)):
        assert seen[n].noise == level
        assert seen[n].noisy is (level is not None and level * GAIN >= 0.006)
        for view in range(3):
            np.testing.assert_allclose(
                got[n, view], expected(defense, frame, level, view), atol=1e-5, rtol=0
            )
    noisy = sum(one.noisy for one in seen)
    assert [len(batch) for batch in engine.batches] == ([noisy] if noisy else [])


def test_the_denoiser_s_level_is_that_of_the_grid_at_every_pixel() -> None:
    made, _, engine = supply(ADAPTIVE, [QUIET, NOISY, 0.3])
    made.first(frames(3), range(3), Times())
    (batch,) = engine.batches
    np.testing.assert_array_equal(batch[0, 3], np.full((16, 16), np.float32(NOISY * GAIN)))
    np.testing.assert_array_equal(batch[1, 3], np.full((16, 16), np.float32(0.3 * GAIN)))


def test_single_builds_the_clean_view_of_noisy_frames_alone() -> None:
    defense = replace(ADAPTIVE, decision="single")
    levels: list[float | None] = [QUIET, NOISY, QUIET]
    made, builder, _ = supply(defense, levels)
    given = frames(3)
    seen, batch = made.first(given, defense.views, Times())
    one = range(1, 2)
    assert builder.built == [(0, one), (1, one), (2, one), (1, range(1))]
    for n, frame in enumerate(given):
        want = expected(defense, frame, levels[n], 1)
        np.testing.assert_allclose(batch[n], want, atol=1e-5, rtol=0)
    assert [one.noisy for one in seen] == [False, True, False]


def test_no_view_is_built_that_is_not_needed() -> None:
    made, builder, _ = supply(ADAPTIVE, [QUIET, NOISY])
    seen, _ = made.first(frames(2), range(2), Times())
    assert builder.built == [(0, range(2)), (1, range(2))]
    made.more(seen, range(2, 3), Times())
    assert builder.built[2:] == [(0, range(2, 3)), (1, range(2, 3))]
    builder.built.clear()
    made.first(frames(2), range(3), Times())
    assert builder.built == [(0, range(3)), (1, range(3))], "the double blur is in both sets"


@pytest.mark.parametrize("judge", [by_source, alone])
def test_a_stream_s_frames_are_remembered(judge: Judge) -> None:
    levels: list[float | None] = [BETWEEN, NOISY, BETWEEN, QUIET, BETWEEN]
    made, _, _ = supply(ADAPTIVE, levels)
    given = [replace(frame, source="door") for frame in frames(5)]
    seen, _ = made.first(given, range(2), Times(), judge)
    assert [one.noisy for one in seen] == [False, True, judge is by_source, False, False]
    unnamed = [replace(frame, source="") for frame in given]
    seen, _ = made.first(unnamed, range(2), Times(), judge)
    assert [one.noisy for one in seen] == [False, True, False, False, False]


def test_time_goes_where_it_was_spent() -> None:
    made, _, _ = supply(ADAPTIVE, [QUIET, NOISY])
    quiet, noisy = Times(), Times()
    made.first(frames(1), range(2), quiet)
    assert quiet.views > 0
    assert quiet.denoise == 0
    made.first(frames(2), range(2), noisy)
    assert noisy.views > 0
    assert noisy.denoise > 0
    assert noisy.stages.total == noisy.views + noisy.denoise


def test_a_guard_that_is_not_adaptive_needs_no_denoiser_but_tells_the_noise() -> None:
    plain = replace(ADAPTIVE, noisy_views=())
    builder, engine = Levels(plain, [NOISY, None]), Engine(ADAPTIVE)
    seen, batch = ViewSupply(builder, engine).first(frames(2), range(3), Times())  # type: ignore[arg-type]
    assert [(one.noise, one.noisy) for one in seen] == [(NOISY, False), (None, False)]
    np.testing.assert_array_equal(batch[:3], ViewBuilder(plain).build(frames(1)[0]))


def test_an_adaptive_one_does() -> None:
    with pytest.raises(GuardError, match="denoised-single-blur, double-blur need a denoiser"):
        ViewSupply(Levels(ADAPTIVE, []), Engine(ADAPTIVE))  # type: ignore[arg-type]


def test_a_denoiser_of_another_defence_is_told_apart() -> None:
    engine = Engine(ADAPTIVE)
    engine.count = 3
    denoiser = Denoiser(engine, ADAPTIVE)  # type: ignore[arg-type]
    with pytest.raises(GuardError, match=r"shape \(1, 3, 3, 16, 16\); .* \(1, 2, 3, 16, 16\)"):
        denoiser.run(np.zeros((1, 4, 16, 16), np.float32))


def test_without_a_clean_view_there_is_no_estimate() -> None:
    plain = replace(ADAPTIVE, noisy_views=(), passes=(1, 2))
    builder = ViewBuilder(plain)
    seen, batch = ViewSupply(builder, Engine(ADAPTIVE)).first(frames(1), range(2), Times())  # type: ignore[arg-type]
    assert seen[0].noise is None
    np.testing.assert_array_equal(batch, builder.build(frames(1)[0]))
