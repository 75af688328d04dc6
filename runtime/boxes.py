"""Boxes of a detector: parts of a frame that are classified each on its own.

A box is a window of the frame, so no pixel is copied before the kernel reads it, and the blur is
reflected at the box as it would be at a frame of that size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from blurvote.runtime.errors import DefenseError, FrameError
from blurvote.runtime.frame import Box, Frame
from blurvote.runtime.views import ViewBuilder

__all__ = ["Border", "Box", "Crop", "cut"]

Border = Literal["refuse", "clip"]


@dataclass(frozen=True, eq=False)
class Crop:
    """One box of a frame.

    Attributes:
        box: x0, y0, x1, y1 in pixels, half open; clipped to the frame where that was asked for and
            something is left, else as given.
        frame: the frame with the box as its window; None where the box cannot be classified.
    """

    box: Box
    frame: Frame | None


def cut(frame: Frame, boxes: Any, border: Border, builder: ViewBuilder) -> list[Crop]:
    """The boxes of a frame, in their order.

    Args:
        frame: the whole frame.
        boxes: `(K, 4)` integers x0, y0, x1, y1 in pixels, half open; K may be 0.
        border: `"refuse"` raises for a box that is empty, reaches beyond the frame, or is smaller
            than the blur and the resize can serve; `"clip"` cuts boxes at the frame's border and
            gives those a `Crop` without a frame.
        builder: knows which sizes can be served.

    Raises:
        FrameError: boxes of another shape or dtype, or an unknown border; and with `"refuse"` a box
            that is empty or reaches beyond the frame.
        DefenseError: with `"refuse"`, a box too small to serve.
    """
    if border not in ("refuse", "clip"):
        raise FrameError(f"border is {border!r}; expected 'refuse' or 'clip'")
    height, width = frame.height, frame.width
    crops = []
    for n, (x0, y0, x1, y1) in enumerate(_as_boxes(boxes)):
        inside = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        empty = inside[0] >= inside[2] or inside[1] >= inside[3]
        if border == "refuse" and (empty or inside != (x0, y0, x1, y1)):
            raise FrameError(
                f"box {n} is {(x0, y0, x1, y1)}; expected x0, y0, x1, y1 with "
                f"0 <= x0 < x1 <= {width} and 0 <= y0 < y1 <= {height}. "
                "border='clip' cuts boxes at the frame's border"
            )
        if empty:
            crops.append(Crop((x0, y0, x1, y1), None))
        else:
            crops.append(Crop(inside, _cut(frame, inside, n, border, builder)))
    return crops


def _cut(frame: Frame, box: Box, n: int, border: Border, builder: ViewBuilder) -> Frame | None:
    x0, y0, x1, y1 = box
    try:
        builder.plan(y1 - y0, x1 - x0)
    except DefenseError as error:
        if border == "clip":
            return None
        raise DefenseError(
            f"box {n} is {box}: {error}. border='clip' rejects such boxes one by one"
        ) from None
    left, top = frame.window[:2] if frame.window else (0, 0)
    return replace(frame, window=(left + x0, top + y0, left + x1, top + y1))


def _as_boxes(boxes: Any) -> list[Box]:
    try:
        array = np.asarray(boxes)
    except ValueError:  # rows of differing lengths
        array = np.asarray(boxes, object)
    if array.size == 0 and array.shape in ((0,), (0, 4)):
        return []
    if array.ndim != 2 or array.shape[1] != 4 or array.dtype.kind not in "iu":
        raise FrameError(
            f"boxes have shape {array.shape} and dtype {array.dtype}; expected (K, 4) integers x0, "
            "y0, x1, y1 in pixels. Round a detector's floats: boxes.round().astype(int)"
        )
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in array.tolist()]
