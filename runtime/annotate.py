"""Draws a verdict onto its frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.defense import Defense
from blurvote.runtime.frame import Frame
from blurvote.runtime.text import put_text
from blurvote.runtime.verdict import Verdict

__all__ = ["annotate", "label_name", "view_pixels"]

GREEN, RED, GREY, WHITE = (80, 175, 76), (54, 67, 244), (150, 150, 150), (255, 255, 255)  # BGR


def annotate(
    frame: Frame, verdict: Verdict, defense: Defense, labels: tuple[str, ...]
) -> NDArray[np.uint8]:
    """The frame with a bar below it that tells the verdict and each view's vote.

    Returns:
        `(H + bar, W, 3)` uint8 BGR; the bar grows with the frame's width.
    """
    pixels = frame.as_bgr()
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
    size = int(0.85 * line)
    put_text(picture, title, (line // 2, height + int(1.15 * line)), size, WHITE, bold=True)
    for row, (view, vote) in enumerate(zip(views, verdict.view_labels, strict=True)):
        y = height + int((row + 2.4) * line)
        text = "not run" if vote is None else "no vote" if vote < 0 else label_name(vote, labels)
        agrees = vote is not None and vote >= 0 and vote == verdict.label
        name = defense.view_name(view, verdict.denoised)
        put_text(picture, name, (line // 2, y), size, GREY, max_width=width * 2 // 5 - line)
        put_text(picture, text, (width * 2 // 5, y), size, GREEN if agrees else GREY)
    return picture


def label_name(label: int, labels: tuple[str, ...]) -> str:
    """The class name, or `class N` where the guard has none."""
    return labels[label] if 0 <= label < len(labels) else f"class {label}"


def view_pixels(
    view: NDArray[np.float32], mean: tuple[float, ...], std: tuple[float, ...]
) -> NDArray[np.uint8]:
    """A normalised `(3, H, W)` RGB view as `(H, W, 3)` uint8 BGR."""
    rgb = view.transpose(1, 2, 0) * np.asarray(std, np.float32) + np.asarray(mean, np.float32)
    pixels: NDArray[np.uint8] = (rgb[..., ::-1] * 255).round().clip(0, 255).astype(np.uint8)
    return pixels
