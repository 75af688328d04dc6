"""The denoiser's network: a small U-Net on a pixel-unshuffled image, told the noise level.

Two levels, at a half and a quarter of the image's sides, because at high noise a pixel is found by
its surroundings and these cost least where there are fewest pixels. It predicts the noise in units
of its level, so that what it removes vanishes with the noise (FFDNet, Zhang et al. 2018, for the
unshuffling and the level as an input; U-Net, Ronneberger et al. 2015, for the levels).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["MULTIPLE", "DenoisingNetwork"]

MULTIPLE = 4  # sides must be multiples of it


class DenoisingNetwork(nn.Module):
    """`(B, 3, h, w)` noisy RGB in [0, 1] and `(B, 1)` noise levels to `(B, 3, h, w)` without noise.

    Args:
        fine: channels at half the image's sides.
        coarse: channels at a quarter.
        blocks: residual blocks of two convolutions at a quarter.
    """

    def __init__(self, fine: int = 32, coarse: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.head = nn.Conv2d(12, fine, 3, padding=1)
        self.head_level = nn.Linear(1, fine)
        self.enter = nn.Conv2d(fine, fine, 3, padding=1)
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.down_level = nn.Linear(1, coarse)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(coarse, coarse, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(coarse, coarse, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.leave = nn.Conv2d(fine, fine, 3, padding=1)
        self.tail = nn.Conv2d(fine, 12, 3, padding=1)

    def forward(self, images: torch.Tensor, levels: torch.Tensor) -> torch.Tensor:
        """See the class; `levels` is the standard deviation of the noise in [0, 1] RGB units."""
        pixels = functional.pixel_unshuffle(images, 2)
        fine = functional.relu(self.head(pixels) + self.head_level(levels)[:, :, None, None])
        fine = functional.relu(self.enter(fine))
        coarse = functional.relu(self.down(fine) + self.down_level(levels)[:, :, None, None])
        for block in self.blocks:
            coarse = coarse + block(coarse)
        fine = fine + functional.pixel_shuffle(self.up(coarse), 2)
        noise = self.tail(functional.relu(self.leave(fine)))
        return images - levels[:, :, None, None] * functional.pixel_shuffle(noise, 2)
