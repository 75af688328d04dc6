"""The Adversarial Robustness Toolbox in place of the Gaussian: `SpatialSmoothing`, a median filter.

Its views are not the guard's. It stands beside them because it is the preprocessing defence that
its users would reach for, and because of what it costs: SciPy's n-dimensional median filter, on
one thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.peers.peer import Frame, Views
from blurvote.benchmarks.latency.peers.views_opencv import ROUNDING, shrink, to_blob
from blurvote.benchmarks.optional import require
from blurvote.runtime.defense import Defense
from blurvote.runtime.views import ViewBuilder

__all__ = ["ways"]

_PACKAGES = "adversarial-robustness-toolbox"
_WINDOW = 3  # ART's default


def ways(defense: Defense) -> list[Views]:
    """One way: each Gaussian pass is a median instead; resize and the rest as OpenCV's fastest.

    Raises:
        ProviderError: ART is missing.
    """
    (module,) = require("ART's SpatialSmoothing", ("art.defences.preprocessor",), _PACKAGES)
    smooth = module.SpatialSmoothing(window_size=_WINDOW)
    one = ViewBuilder(replace(defense, passes=(0,), antialias=False))

    def make(frame: Frame) -> Any:
        blurred = _blurred(defense, frame, lambda image: smooth(image[None])[0][0])
        return to_blob(defense, [shrink(defense, image, cv2.INTER_LINEAR) for image in blurred])

    def promise(frame: Frame) -> NDArray[np.float32]:
        # SciPy's "reflect" repeats the edge pixel, which for a radius of 1 is cv2's border.
        blurred = _blurred(defense, frame, lambda image: cv2.medianBlur(image, _WINDOW))
        return np.concatenate([one.build(np.ascontiguousarray(image)) for image in blurred])

    return [
        Views(
            "ART SpatialSmoothing",
            f"uint8 NHWC, {_WINDOW}x{_WINDOW} median (not a Gaussian; slow), then OpenCV fastest",
            "SciPy 1",
            make,
            ROUNDING,
            promise,
        )
    ]


def _blurred(defense: Defense, frame: Frame, blur: Any) -> list[Frame]:
    images, done = [], 0
    for passes in defense.passes:
        for _ in range(passes - done):
            frame = blur(frame)
        done = passes
        images.append(frame)
    return images
