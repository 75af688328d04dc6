"""The frames that are measured: real pictures where a folder is given, drawn ones elsewhere."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import open_source

__all__ = ["Pictures", "at_size", "natural_frame", "noisy"]

Pixels = NDArray[np.uint8]
DRAWN = 24  # frames where no folder is given
_SIZES = ((375, 500), (500, 375), (480, 640), (333, 500))


def natural_frame(height: int, width: int, seed: int = 0) -> Pixels:
    """A frame with the spectrum of a photograph: smooth shapes, edges and some noise."""
    random = np.random.default_rng(seed)
    shape = (max(2, height // 40), max(2, width // 40), 3)
    coarse = random.integers(0, 256, shape, dtype=np.uint8)
    frame = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    frame += random.integers(-12, 13, frame.shape, dtype=np.int16)
    return frame.clip(0, 255).astype(np.uint8)


def at_size(image: Pixels, height: int, width: int) -> Pixels:
    """The image stretched to a frame size, antialiased where it shrinks."""
    shrinks = height < image.shape[0] and width < image.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def noisy(image: Pixels, sigma: float, seed: int = 0) -> Pixels:
    """The image as a noisy 8-bit camera would deliver it; sigma on the scale of [0, 1]."""
    return add_noise(image, sigma, np.random.default_rng(seed))


class Pictures:
    """RGB images to make frames of.

    Args:
        folder: a folder or glob of pictures; None draws frames.
        limit: images to take, spread evenly over the folder.

    Attributes:
        images: `(H, W, 3)` uint8 RGB, contiguous, each of its own size.
        described: what they are, for the report.

    Raises:
        SourceError: the folder has no readable picture.
    """

    def __init__(self, folder: str | None, limit: int) -> None:
        if folder is None:
            self.images = [natural_frame(*_SIZES[k % len(_SIZES)], seed=k) for k in range(DRAWN)]
            self.described = f"{DRAWN} drawn frames (no --images)"
            return
        self.images = _read(folder, limit)
        self.described = f"{len(self.images)} pictures of {folder}"

    def frames(self, height: int, width: int, count: int) -> list[Pixels]:
        """`count` frames of one size, from images whose orientation fits where there are any."""
        landscape = width > height
        fitting = [image for image in self.images if (image.shape[1] > image.shape[0]) == landscape]
        chosen = fitting or self.images
        return [at_size(chosen[k % len(chosen)], height, width) for k in range(count)]


def _read(folder: str, limit: int) -> list[Pixels]:
    source = open_source(folder)
    total = source.total or limit
    step = max(1, total // limit)
    images: list[Pixels] = []
    seen = 0
    try:
        while len(images) < limit:
            try:
                frame = source.read()
            except SourceError:  # one broken picture does not end a folder
                continue
            if frame is None:
                break
            if seen % step == 0:
                images.append(np.ascontiguousarray(frame.pixels[..., ::-1]))
            seen += 1
    finally:
        source.close()
    if not images:
        raise SourceError(f"{folder} holds no pictures to measure with")
    return images
