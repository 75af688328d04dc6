"""Blank and frozen pictures."""

from __future__ import annotations

import numpy as np
import pytest

from blurvote.runtime import Frame
from blurvote.runtime.pipeline.health import HealthWatch
from tests.runtime.pipeline.pictures import picture


def at(seconds: float, pixels: np.ndarray) -> Frame:
    return Frame(pixels, "bgr", captured_at=seconds)


@pytest.mark.parametrize("level", [0, 16, 128, 255])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (48, 64), (1080, 1920)])
def test_uniform_pictures_are_blank(level: int, size: tuple[int, int]) -> None:
    watch = HealthWatch(10, check_blank=True)
    pixels = np.full((*size, 3), level, np.uint8)
    assert watch.judge(at(0, pixels)) == "blank"
    assert HealthWatch(10, check_blank=False).judge(at(0, pixels)) == "live"


def test_the_green_of_a_lost_decoder_is_blank_and_a_dark_night_is_not() -> None:
    watch = HealthWatch(10, check_blank=True)
    green = np.zeros((480, 640, 3), np.uint8)
    green[..., 1] = 135
    assert watch.judge(at(0, green)) == "blank"
    rng = np.random.default_rng(0)
    night = rng.normal(12, 2, (480, 640, 3)).clip(0, 255).astype(np.uint8)
    night[200:260, 300:420] += 60  # one lit window
    assert watch.judge(at(1, night)) == "live"


def test_a_picture_that_stands_still_is_frozen_after_a_while() -> None:
    watch = HealthWatch(10, check_blank=True)
    pixels = picture()
    said = [watch.judge(at(second, pixels.copy())) for second in range(14)]
    assert said == ["live"] * 10 + ["frozen"] * 4
    changed = pixels.copy()
    changed[0, 0, 0] ^= 1
    assert watch.judge(at(15, changed)) == "live"
    assert watch.judge(at(26, changed)) == "frozen"
    watch.reset()
    assert watch.judge(at(27, changed)) == "live"


def test_nothing_freezes_where_that_is_switched_off() -> None:
    watch = HealthWatch(0, check_blank=True)
    assert {watch.judge(at(second, picture())) for second in (0, 1e6)} == {"live"}


def test_a_new_size_is_a_change() -> None:
    watch = HealthWatch(10, check_blank=True)
    assert watch.judge(at(0, picture())) == "live"
    assert watch.judge(at(20, picture(height=96, width=128))) == "live"
