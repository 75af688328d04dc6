"""The frames that stand for "nothing to see", which attributions are counted from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import read_image

__all__ = ["NAMES", "baseline"]

_LEVELS = {"black": 0.0, "grey": 0.5, "white": 1.0}
NAMES = (*_LEVELS, "blur")
_BLUR = 0.1  # standard deviation as a share of the short side: colours remain, shapes do not


def baseline(name: str, frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """A baseline for a frame.

    Args:
        name: `black`, `grey` or `white`; `blur`, the frame itself under a heavy Gaussian blur; or
            the path of a picture, which is stretched to the frame's size.
        frame: `(3, H, W)` float32 RGB in [0, 1].

    Returns:
        `(3, H, W)` float32 in [0, 1].

    Raises:
        SourceError: `name` is none of these.
    """
    if name in _LEVELS:
        return np.full_like(frame, _LEVELS[name])
    height, width = frame.shape[1:]
    if name == "blur":
        sigma = _BLUR * min(height, width)
        # A border of the edge's own colour: a mirror image would return shapes near the edge.
        planes = [
            cv2.GaussianBlur(plane, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
            for plane in frame
        ]
        blurred: NDArray[np.float32] = np.stack(planes).clip(0, 1).astype(np.float32)
        return blurred
    if not Path(name).is_file():
        raise SourceError(
            f"the baseline {name!r} is neither {', '.join(NAMES)} nor a picture that exists"
        )
    pixels = read_image(name)[..., ::-1]
    stretched = cv2.resize(
        np.ascontiguousarray(pixels), (width, height), interpolation=cv2.INTER_AREA
    )
    turned: Any = np.ascontiguousarray(stretched.transpose(2, 0, 1), np.float32)
    return np.asarray(turned / np.float32(255), np.float32)
