"""The noise estimate of a defence in torch: what a frame reads, and what leads past the switch.

The reading is that of `blurvote.runtime.noise`, of the rows and columns that the view kernel takes,
in whole grey levels of the 8-bit frame, so that it is the same number. An attacker who aims at the
switch needs a gradient, too: the estimate is one order statistic of many segments, so its own
gradient would move one segment at a time. `distance` instead sums, over just those segments that
must lie on the other side of the switch for the frame to be read so, how far each is from it; it is
0 exactly where the switch is where it was wanted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from blurvote.benchmarks.robustness.defenses import plain
from blurvote.runtime.defense import Defense
from blurvote.runtime.noise import GAUSSIAN_PER_RESPONSE, SEGMENT, noise_table
from blurvote.runtime.views import ViewBuilder

__all__ = ["NoiseTwin", "Place"]


@dataclass(frozen=True)
class Place:
    """Where the noise of frames of one size is read.

    Attributes:
        rows: middle rows of the masks.
        first: column where the first segment's masks begin.
        segments: in each of these rows; 0 where there is no estimate.
        gain: of the resize, from the level at the frame to that on the backbone's grid.
    """

    rows: tuple[int, ...]
    first: int
    segments: int
    gain: float


class NoiseTwin:
    """Reads the noise of frames as an adaptive defence does.

    Attributes:
        defense: the defence.
    """

    def __init__(self, defense: Defense) -> None:
        self.defense = defense
        self._builder = ViewBuilder(plain(defense, (0,)))
        self._places: dict[tuple[int, int], Place] = {}
        self._readings, self._levels = (np.array(values) for values in noise_table())

    def place(self, height: int, width: int) -> Place:
        """Where frames of `height` x `width` pixels are read.

        Raises:
            DefenseError: frames of that size cannot be served.
        """
        if (height, width) not in self._places:
            rows, first, segments = self._builder.noise_grid(height, width)
            gain = self._builder.noise_gain(height, width)
            self._places[height, width] = Place(tuple(rows.tolist()), first, segments, gain)
        return self._places[height, width]

    def levels(self, frames: torch.Tensor) -> torch.Tensor:
        """Levels `(N,)` float32 on the backbone's grid; NaN where there is no estimate.

        Args:
            frames: `(N, 3, H, W)` RGB in [0, 1], read as the 8-bit frames that they are rounded to.

        Raises:
            DefenseError: frames of that size cannot be served.
        """
        place = self.place(int(frames.shape[2]), int(frames.shape[3]))
        if not place.segments:
            return torch.full((len(frames),), torch.nan, device=frames.device)
        with torch.no_grad():
            readings = [
                float(ordered[len(ordered) // 4]) for ordered in self._ordered(frames, place)
            ]
        levels = np.interp(readings, self._readings, self._levels) * place.gain
        return torch.tensor(levels, dtype=torch.float32, device=frames.device)

    def noisy(self, frames: torch.Tensor) -> torch.Tensor:
        """Whether each frame counts as noisy: `(N,)` bool; one without an estimate does not."""
        return self.levels(frames) >= self.defense.noise_switch[1]

    def distance(self, frames: torch.Tensor, noisy: bool) -> torch.Tensor:
        """How far each frame is from being read as noisy, or as quiet: `(N,)`, with gradients.

        The mean over the segments that decide, those from the quarter's one on (or up to it), of
        the part of the switch's reading that each lacks (or is above it). Rounding to 8 bits is
        looked through.
        """
        place = self.place(int(frames.shape[2]), int(frames.shape[3]))
        if not place.segments:
            return frames.new_full((len(frames),), float(noisy))
        level = self.defense.noise_switch[1] / place.gain
        switch = max(float(np.interp(level, self._levels, self._readings)), 1e-6)
        found = []
        for ordered in self._ordered(frames, place):
            quarter = len(ordered) // 4
            if noisy:
                found.append((1 - ordered[quarter:] / switch).clamp(min=0).mean())
            else:
                # Strictly below: a reading at the switch is noisy.
                found.append((ordered[: quarter + 1] / switch - 0.999).clamp(min=0).mean())
        return torch.stack(found)

    def loudest(self, frames: torch.Tensor) -> torch.Tensor:
        """The pattern of -1 and 1 that the estimate answers most, where it reads, else 0.

        A chessboard, whose response to the mask is the sum of the mask's magnitudes, 16. Signs of
        the gradient alone do not find it: a response's magnitude has a gradient either way.

        Returns:
            `(1, 1, H, W)`, for frames `(N, 3, H, W)`.
        """
        height, width = int(frames.shape[2]), int(frames.shape[3])
        place = self.place(height, width)
        rows = torch.arange(height, device=frames.device)[:, None]
        columns = torch.arange(width, device=frames.device)
        board = 1 - 2 * ((rows + columns) % 2).to(frames)
        middle = torch.tensor(place.rows, device=frames.device)
        read = ((rows - middle).abs() <= 1).any(dim=1)[:, None]
        last = place.first + SEGMENT * place.segments + 2
        return (board * (read & (columns >= place.first) & (columns < last)))[None, None]

    def _ordered(self, frames: torch.Tensor, place: Place) -> list[torch.Tensor]:
        """Of each frame the rising readings of the segments that are kept, in [0, 1] units."""
        values = 255 * frames
        # Exactly the 8-bit frame's numbers; the gradient is that of the frame itself.
        values = values + (values.detach().round() - values.detach())
        first, width = place.first, SEGMENT * place.segments + 2
        middle = torch.tensor(place.rows, device=frames.device)
        part = values[..., first : first + width]
        above, at, below = (part[:, :, middle + shift] for shift in (-1, 0, 1))
        tall = above - 2 * at + below
        response = (tall[..., :-2] - 2 * tall[..., 1:-1] + tall[..., 2:]).abs()
        shape = (len(frames), 3, len(place.rows), place.segments, SEGMENT)
        readings = response.reshape(shape).mean(dim=(1, 4)).flatten(1)
        readings = readings * (GAUSSIAN_PER_RESPONSE / 255)
        centres = at[..., 1:-1].detach()
        saturated = ((centres <= 0) | (centres >= 255)).reshape(shape).sum(dim=(1, 4)).flatten(1)
        kept = 10 * saturated <= 3 * 3 * SEGMENT
        kept[10 * kept.sum(dim=1) < kept.shape[1]] = True
        return [row[keep].sort().values for row, keep in zip(readings, kept, strict=True)]
