"""Notices live streams that still deliver frames but no longer show the world.

A grid of some thousand pixels of each frame is looked at, which takes some ten microseconds:

- **blank**: every channel is uniform (a capped lens, no signal, a grey picture of a decoder that
  lost its reference). Such frames are rejected as `bad_frame`.
- **frozen**: the grid has not changed by a single grey level for a while. A sensor's noise never
  repeats, so the camera or something behind it hangs; frames are rejected as `stale_frame`.

A recording that is played in a loop shows the world of another day and is not noticed.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.conversion import some_pixels
from blurvote.runtime.frame import Frame

__all__ = ["Health", "HealthWatch"]

Health = Literal["live", "blank", "frozen"]

GRID = 48  # rows and columns of the grid, about
UNIFORM = 3.0  # grey levels of standard deviation, below which a picture counts as uniform


class HealthWatch:
    """Judges the frames of one camera, in their order.

    Args:
        frozen_s: seconds without any change after which a stream is frozen; 0 never.
        check_blank: whether uniform pictures are blank.
    """

    def __init__(self, frozen_s: float, check_blank: bool) -> None:
        self._frozen_s = frozen_s
        self._check_blank = check_blank
        self._grid: NDArray[np.uint8] | None = None
        self._changed_at = 0.0

    def judge(self, frame: Frame) -> Health:
        """What the newest frame says about the stream."""
        grid = some_pixels(frame, GRID)
        if self._grid is None or not np.array_equal(grid, self._grid):
            self._grid = grid.copy()
            self._changed_at = frame.captured_at
        if self._check_blank and float(grid.std(axis=(0, 1)).max()) < UNIFORM:
            return "blank"
        if self._frozen_s and frame.captured_at - self._changed_at >= self._frozen_s:
            return "frozen"
        return "live"

    def reset(self) -> None:
        """Forgets the last picture, as after a reconnect."""
        self._grid = None
