"""Draws a verdict onto its frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.defense import Defense
from blurvote.runtime.frame import Frame
from blurvote.runtime.verdict import Verdict

__all__ = ["annotate", "draw_text", "label_name"]

GREEN, RED, GREY, WHITE = (80, 175, 76), (54, 67, 244), (150, 150, 150), (255, 255, 255)  # BGR
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def annotate(
    frame: Frame, verdict: Verdict, defense: Defense, labels: tuple[str, ...]
) -> NDArray[np.uint8]:
    """The frame with a bar below it that tells the verdict and each view's vote.

    Returns:
        `(H + bar, W, 3)` uint8 BGR; the bar grows with the frame's width.
    """
    pixels = frame.pixels
    if frame.colour == "rgb":
        pixels = np.ascontiguousarray(pixels[..., ::-1])
    height, width = pixels.shape[:2]
    line = max(14, width // 26)
    views = defense.views
    picture = np.zeros((height + line * (len(views) + 2), width, 3), np.uint8)
    picture[:height] = pixels
    colour = GREEN if verdict.accepted else RED
    cv2.rectangle(picture, (0, height), (width, height + int(1.6 * line)), colour, cv2.FILLED)
    if verdict.accepted:
        title = label_name(verdict.label, labels)
        if verdict.confidence is not None:
            title += f"  {verdict.confidence:.0%}"
    else:
        title = f"REJECTED: {(verdict.reason or '').replace('_', ' ')}"
    draw_text(picture, title, (line // 2, height + int(1.15 * line)), line, WHITE)
    for row, (view, vote) in enumerate(zip(views, verdict.view_labels, strict=True)):
        y = height + int((row + 2.4) * line)
        text = "not run" if vote is None else "no vote" if vote < 0 else label_name(vote, labels)
        agrees = vote is not None and vote >= 0 and vote == verdict.label
        draw_text(picture, defense.view_name(view), (line // 2, y), line, GREY)
        draw_text(picture, text, (width * 2 // 5, y), line, GREEN if agrees else GREY)
    return picture


def label_name(label: int, labels: tuple[str, ...]) -> str:
    """The class name, or `class N` where the guard has none."""
    return labels[label] if 0 <= label < len(labels) else f"class {label}"


def draw_text(
    picture: NDArray[np.uint8],
    text: str,
    at: tuple[int, int],
    line_px: int,
    colour: tuple[int, int, int],
) -> None:
    """Writes `text` with its baseline at `at`, about 0.7 `line_px` high, shrunk to fit."""
    # OpenCV's fonts have no accents or umlauts; a question mark would look like a mistake of ours.
    plain = text.encode("ascii", "replace").decode()
    scale = line_px / 32
    thickness = max(1, line_px // 16)
    (wide, _), _ = cv2.getTextSize(plain, _FONT, scale, thickness)
    room = picture.shape[1] - at[0] - 2
    scale *= min(1.0, room / max(wide, 1))
    cv2.putText(picture, plain, at, _FONT, max(scale, 0.2), colour, thickness, cv2.LINE_AA)
