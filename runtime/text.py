"""Writes text onto pictures."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["put_text", "text_width"]

Bgr = tuple[int, int, int]

# OpenCV 5 carries a real font; OpenCV 4 (as on a Jetson) has Hershey's plotter strokes, ASCII only.
_FACE: Any = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None
_REGULAR, _BOLD = 400, 700
_HERSHEY_PX = 30  # height of Hershey text of scale 1, on the same measure as a font's size


def text_width(text: str, size: int, bold: bool = False) -> int:
    """Width in pixels of `text` set at `size` pixels."""
    if _FACE is not None:
        box: Any = cv2.getTextSize((10_000, 1_000), text, (0, 0), _FACE, size, _weight(bold))
        return int(box[2])
    (width, _), _ = cv2.getTextSize(
        _ascii(text), cv2.FONT_HERSHEY_SIMPLEX, size / _HERSHEY_PX, 1 + bold
    )
    return int(width)


def put_text(
    picture: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    size: int,
    colour: Bgr,
    bold: bool = False,
    max_width: int | None = None,
) -> None:
    """Writes `text` onto a `(H, W, 3)` uint8 BGR picture.

    Args:
        picture: changed in place.
        text: one line.
        at: where its baseline begins, `(x, y)` in pixels.
        size: height of the type in pixels.
        colour: blue, green, red.
        bold: a heavier weight.
        max_width: the type shrinks until the text is no wider than this; None takes what is left
            of the picture.
    """
    room = picture.shape[1] - at[0] if max_width is None else max_width
    while size > 7 and text_width(text, size, bold) > room:
        size -= 1
    if _FACE is not None:
        cv2.putText(picture, text, at, colour, _FACE, size, _weight(bold))
    else:
        cv2.putText(
            picture,
            _ascii(text),
            at,
            cv2.FONT_HERSHEY_SIMPLEX,
            size / _HERSHEY_PX,
            colour,
            1 + bold,
            cv2.LINE_AA,
        )


def _weight(bold: bool) -> int:
    return _BOLD if bold else _REGULAR


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
