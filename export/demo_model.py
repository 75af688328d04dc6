"""The small sign classifier behind ``blurvote demo``, and how a frame becomes its input.

It ends in the plain average pool of most image classifiers, and that choice is part of what the
demo shows: with the maximum beside the average (same data, same training) the undefended network
kept 0.96 at sigma 0.25 and 0.73 at 0.375, where this one keeps about 0.4 and 0.1. The defence
helps most where the classifier is weak; the demo is an illustration, not a benchmark.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional

from blurvote.runtime.demo.scenes import CLASSES

__all__ = ["CLASSES", "CROP", "MEAN", "RESIZE", "STD", "build_model", "prepare"]

RESIZE = 144
"""The frame's short side is resized to this many pixels (antialiased bilinear)."""
CROP = 128
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

# Channels and stride of each 3x3 convolution.
_LAYERS = ((16, 2), (24, 2), (32, 1), (48, 2), (64, 1), (96, 2))


def build_model() -> nn.Module:
    """Build the untrained network: (N, 3, CROP, CROP) normalised float32 -> (N, C) logits."""
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    width = 3
    for number, (channels, stride) in enumerate(_LAYERS, start=1):
        blocks[f"conv{number}"] = nn.Conv2d(width, channels, 3, stride, 1, bias=False)
        blocks[f"norm{number}"] = nn.BatchNorm2d(channels)
        blocks[f"relu{number}"] = nn.ReLU()
        width = channels
    blocks["pool"] = nn.AdaptiveAvgPool2d(1)
    blocks["flatten"] = nn.Flatten()
    blocks["classify"] = nn.Linear(width, len(CLASSES))
    return nn.Sequential(blocks)


def shrink(frames: torch.Tensor, resize: int = RESIZE) -> torch.Tensor:
    """Resize the short side, antialiased: (N, H, W, 3) uint8 -> (N, 3, h, w) float32, 0 to 255."""
    planes = frames.permute(0, 3, 1, 2).float()
    height, width = planes.shape[2:]
    short = min(height, width)
    size = [int(resize * side / short) for side in (height, width)]
    return functional.interpolate(
        planes, size=size, mode="bilinear", align_corners=False, antialias=True
    )


def normalised(planes: torch.Tensor) -> torch.Tensor:
    """Normalise (N, 3, h, w) float32 from 0..255 as the model expects."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return (planes / 255 - mean) / std


def prepare(frames: torch.Tensor) -> torch.Tensor:
    """Resize, crop the centre, normalise: (N, H, W, 3) uint8 -> (N, 3, CROP, CROP) float32."""
    planes = shrink(frames)
    top, left = (round((side - CROP) / 2) for side in planes.shape[2:])
    return normalised(planes[:, :, top : top + CROP, left : left + CROP])
