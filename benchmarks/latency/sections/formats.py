"""Frames as cameras give them: the views of NV12, YUYV and GRAY8 frames, read as they are, beside
OpenCV's conversion followed by the views of its RGB.

Both sides have the same threads, OpenCV through `cv2.setNumThreads`, and convert into a buffer that
is kept. Beside the times it says how far the views of both lie apart: OpenCV rounds and clips every
pixel, the kernel does neither, so they differ by rounding, which averages out, and where the frame
has colours that R, G, B in 0..255 cannot hold. `clipped` is their share of the frame.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.conversion import unclipped_rgb
from blurvote.runtime.frame import Colour, Frame
from blurvote.runtime.machine import usable_cores
from blurvote.runtime.views import ViewBuilder

__all__ = ["encode", "measure"]

COMPARED = 20  # frames whose views are compared
FORMATS: tuple[Colour, ...] = ("nv12", "yuyv", "gray")
RGB = "rgb, nothing to convert"


def measure(bench: Bench) -> None:
    """Adds the rows of section `formats` and the facts `formats`."""
    found: dict[str, Any] = {}
    for size in bench.sizes:
        rgb = bench.pictures.frames(*size, count=COMPARED)
        found[size_name(size)] = {
            colour: _apart(bench, [encode(picture, colour) for picture in rgb])
            for colour in FORMATS
        }
        for threads in sorted({1, usable_cores()}):
            _time(bench, size, rgb[0], threads)
    bench.results.facts["formats"] = found


def encode(rgb: NDArray[np.uint8], colour: Colour) -> Frame:
    """The frame as a camera of that format delivers it, without a last odd row or column."""
    even = np.ascontiguousarray(rgb[: len(rgb) // 2 * 2, : rgb.shape[1] // 2 * 2])
    height, width = even.shape[:2]
    if colour == "nv12":
        planar = cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420)
        chroma = planar[height:].reshape(2, -1).T.reshape(height // 2, width)
        return Frame(np.concatenate([planar[:height], chroma]), "nv12")
    code = {"yuyv": cv2.COLOR_RGB2YUV_YUY2, "gray": cv2.COLOR_RGB2GRAY}[colour]
    return Frame(np.asarray(cv2.cvtColor(even, code), np.uint8), colour)


def _time(bench: Bench, size: tuple[int, int], rgb: NDArray[np.uint8], threads: int) -> None:
    defense = bench.metadata.defense
    builder = ViewBuilder(defense, threads=threads)
    out = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
    plural = "s" if threads > 1 else ""
    ways: dict[str, Callable[[], Any]] = {RGB: partial(builder.build, rgb, out)}
    for colour in FORMATS:
        frame = encode(rgb, colour)
        kept = np.empty((frame.height, frame.width, 3), np.uint8)
        ways[colour] = partial(builder.build, frame, out)
        ways[f"{colour}, OpenCV's conversion first"] = partial(
            _converted_first, builder, frame, kept, out
        )
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        case = f"{size_name(size)}, {threads} thread{plural}"
        measured = bench.measure(f"formats, {case}", ways)
    finally:
        cv2.setNumThreads(before)
    bench.results.rows += rows_of("formats", case, measured, "nv12")


def _converted_first(
    builder: ViewBuilder, frame: Frame, rgb: NDArray[np.uint8], out: NDArray[np.float32]
) -> None:
    cv2.cvtColor(frame.pixels, _CODES[frame.colour], dst=rgb)
    builder.build(rgb, out)


_CODES = {
    "nv12": cv2.COLOR_YUV2RGB_NV12,
    "yuyv": cv2.COLOR_YUV2RGB_YUY2,
    "gray": cv2.COLOR_GRAY2RGB,
}


def _apart(bench: Bench, frames: list[Frame]) -> dict[str, float]:
    """Differences of views in levels of 0..255, over all frames."""
    defense = bench.metadata.defense
    builder = ViewBuilder(defense)
    level = 255 * np.asarray(defense.std, np.float32)[:, None, None]
    mean, largest, clipped = [], 0.0, []
    for frame in frames:
        apart = np.abs(builder.build(frame) - builder.build(frame.as_rgb())) * level
        mean.append(float(apart.mean()))
        largest = max(largest, float(apart.max()))
        exact = unclipped_rgb(frame)
        clipped.append(float(((exact < -0.5) | (exact > 255.5)).any(axis=2).mean()))
    return {
        "mean_levels": float(np.mean(mean)),
        "largest_levels": largest,
        "clipped": float(np.mean(clipped)),
    }
