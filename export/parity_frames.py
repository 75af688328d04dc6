"""Frames drawn for the parity report: reproducible, of many sizes, with content at all scales."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blurvote.export.reference import view_axes
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError

__all__ = ["draw_frame", "draw_frames"]

# Landscape, portrait, odd, square, far too small, far larger; the near-crop one is added below.
_SIZES = (
    (375, 500),
    (500, 375),
    (333, 257),
    (256, 256),
    (97, 131),
    (480, 640),
    (721, 1279),
    (1080, 1920),
)


def draw_frames(defense: Defense, frame_size: tuple[int, int] | None) -> list[NDArray[np.uint8]]:
    """Nine frames, `(H, W, 3)` uint8: of `frame_size`, or of nine sizes that the defence can serve.

    Raises:
        DefenseError: no such frame can be served, whatever its size; or `frame_size` cannot.
    """
    near_crop = (defense.crop[0] + 1, defense.crop[1] + 3)
    sizes = (
        [frame_size] * 9
        if frame_size
        else [_servable(defense, *size) for size in (*_SIZES, near_crop)]
    )
    if frame_size:
        view_axes(defense, *frame_size)
    return [draw_frame(*size, seed) for seed, size in enumerate(sizes)]


def draw_frame(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """One frame: a colour gradient, rectangles with hard edges, waves and a little noise."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = x / max(width - 1, 1), y / max(height - 1, 1)
    corners = generator.uniform(0, 255, (3, 3)).astype(np.float32)
    frame = corners[0] * (1 - u)[..., None] + corners[1] * (u * v)[..., None]
    frame += corners[2] * (u * (1 - v))[..., None]
    for _ in range(12):
        top, left = generator.integers(0, height), generator.integers(0, width)
        tall, wide = (int(generator.integers(1, max(side // 3, 2))) for side in (height, width))
        frame[top : top + tall, left : left + wide] = generator.uniform(0, 255, 3)
    angle, period = generator.uniform(0, np.pi), generator.uniform(3, 20)
    wave = np.sin(2 * np.pi / period * (np.cos(angle) * x + np.sin(angle) * y))
    frame += 25 * wave[..., None] + generator.normal(0, 6, frame.shape).astype(np.float32)
    return np.asarray(np.clip(frame.round(), 0, 255), np.uint8)


def _servable(defense: Defense, height: int, width: int) -> tuple[int, int]:
    """The size itself, or the nearest larger one that the defence can serve.

    A crop that is longer than the resized short side needs frames of at least its own shape.
    """
    for _ in range(64):
        try:
            view_axes(defense, height, width)
        except DefenseError:
            crop_height, crop_width = defense.crop
            smallest = defense.kernel_size // 2 + 1
            if min(height, width) < smallest:
                height, width = max(height, smallest), max(width, smallest)
            elif crop_height > crop_width:
                height += max(height // 8, 1)
            else:
                width += max(width // 8, 1)
        else:
            return height, width
    view_axes(defense, height, width)
    return height, width
