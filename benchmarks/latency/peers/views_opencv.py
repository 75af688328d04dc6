"""The views by OpenCV, 8 bits in between: the fastest way, and the antialiased one."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.peers.peer import Frame, Tolerance, Views
from blurvote.runtime.defense import Defense
from blurvote.runtime.views import ViewBuilder

__all__ = [
    "ROUNDING",
    "area_views",
    "fastest",
    "fastest_views",
    "shrink",
    "to_blob",
    "ways",
]

# What 8 bits cost against the same in float32: half a grey level (0.009 standard deviations) after
# every blur and after the resize, and the fixed-point weights of both.
ROUNDING = Tolerance(largest=0.06, mean=0.01)


def fastest(defense: Defense) -> Views:
    """GaussianBlur, INTER_LINEAR, one blob."""
    plain = ViewBuilder(replace(defense, antialias=False))
    return Views(
        "OpenCV fastest",
        "uint8 HWC, GaussianBlur, INTER_LINEAR (aliases), blobFromImagesWithParams",
        _threads(),
        partial(fastest_views, defense),
        ROUNDING,
        plain.build,
    )


def _area(defense: Defense) -> Views:
    """GaussianBlur, INTER_AREA, one blob."""
    return Views(
        "OpenCV INTER_AREA",
        "uint8 HWC, GaussianBlur, INTER_AREA (antialiased), blobFromImagesWithParams",
        _threads(),
        partial(area_views, defense),
        ROUNDING,
        partial(_area_promise, defense),
    )


def ways(defense: Defense) -> list[Views]:
    """What an OpenCV user would choose from; INTER_AREA only where the guard antialiases."""
    return [fastest(defense), _area(defense)] if defense.antialias else [fastest(defense)]


def fastest_views(defense: Defense, frame: Frame) -> Any:
    """`(V, 3, h, w)` float32 views of an `(H, W, 3)` uint8 RGB frame, aliased where it shrinks."""
    return _views(defense, frame, cv2.INTER_LINEAR)


def area_views(defense: Defense, frame: Frame) -> Any:
    """`(V, 3, h, w)` float32 views of an `(H, W, 3)` uint8 RGB frame, antialiased."""
    # INTER_AREA repeats pixels where it enlarges; its users know to interpolate there.
    return _views(defense, frame, cv2.INTER_AREA if _shrinks(defense, frame) else cv2.INTER_LINEAR)


def _views(defense: Defense, frame: Frame, interpolation: int) -> Any:
    kernel = (defense.kernel_size, defense.kernel_size)
    crops, done = [], 0
    for passes in defense.passes:
        for _ in range(passes - done):
            frame = np.asarray(cv2.GaussianBlur(frame, kernel, defense.sigma), np.uint8)
        done = passes
        crops.append(shrink(defense, frame, interpolation))
    return to_blob(defense, crops)


def shrink(defense: Defense, frame: Frame, interpolation: int) -> NDArray[np.uint8]:
    """The `(h, w, 3)` uint8 centre crop of the resized frame."""
    height, width = frame.shape[:2]
    longer = int(defense.resize * max(height, width) / min(height, width))
    size = (defense.resize, longer) if width <= height else (longer, defense.resize)
    small = np.asarray(cv2.resize(frame, size, interpolation=interpolation), np.uint8)
    crop_h, crop_w = defense.crop
    top, left = round((size[1] - crop_h) / 2), round((size[0] - crop_w) / 2)
    return small[top : top + crop_h, left : left + crop_w]


def _shrinks(defense: Defense, frame: Frame) -> bool:
    return bool(min(frame.shape[:2]) > defense.resize)


def to_blob(defense: Defense, crops: list[NDArray[np.uint8]]) -> Any:
    """`(V, 3, h, w)` float32: the crops normalised and transposed in one call."""
    parameters = cv2.dnn.Image2BlobParams()
    parameters.scalefactor = tuple(1 / (255 * s) for s in defense.std)
    parameters.mean = tuple(255 * m for m in defense.mean)
    return cv2.dnn.blobFromImagesWithParams(crops, parameters)


def _area_promise(defense: Defense, frame: Frame) -> NDArray[np.float32]:
    """What INTER_AREA means, in float32: every output pixel is the mean of the box it covers."""
    if not _shrinks(defense, frame):
        return ViewBuilder(replace(defense, antialias=False)).build(frame)
    height, width = frame.shape[:2]
    resized_h, resized_w, top, left = ViewBuilder(defense).plan(height, width)
    crop_h, crop_w = defense.crop
    rows = _boxes(height, resized_h)[top : top + crop_h]
    cols = _boxes(width, resized_w)[left : left + crop_w]
    taps = np.array(defense.gaussian_taps(), np.float32)
    planes = cv2.split(frame.astype(np.float32) / 255)
    views = np.empty((len(defense.passes), 3, crop_h, crop_w), np.float32)
    done = 0
    for view, passes in enumerate(defense.passes):
        for _ in range(passes - done):
            planes = [cv2.sepFilter2D(plane, -1, taps, taps) for plane in planes]
        done = passes
        for channel, plane in enumerate(planes):
            small = rows @ np.asarray(plane) @ cols.T
            views[view, channel] = (small - defense.mean[channel]) / defense.std[channel]
    return views


def _boxes(size: int, resized: int) -> NDArray[np.float32]:
    """`(resized, size)` weights: the share of each pixel in each box, one box an output pixel."""
    edges = np.arange(resized + 1) * (size / resized)
    pixels = np.arange(size)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return np.asarray(covered.clip(0) * (resized / size), np.float32)


def _threads() -> str:
    return f"OpenCV {cv2.getNumThreads()}"
