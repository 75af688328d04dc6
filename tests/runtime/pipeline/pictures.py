"""Pictures for scripted cameras."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def picture(channel: int = 2, seed: int = 0, height: int = 48, width: int = 64) -> Pixels:
    """BGR with the given channel strongest, by default red, and textured, so not blank."""
    pixels = np.random.default_rng(seed).integers(0, 60, (height, width, 3), dtype=np.uint8)
    pixels[..., channel] += 180
    return pixels


def stream(every_s: float = 0.005, **kinds: int) -> Iterator[Pixels | float]:
    """A camera without end, whose noise never repeats."""
    seed = 0
    while True:
        seed += 1
        yield picture(seed=seed, **kinds)
        yield every_s


def eventually(true: Callable[[], object], within_s: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
