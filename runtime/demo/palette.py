"""Colours (blue, green, red) and small drawings that the demo's video and figure share."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.demo.scenes import CLASSES
from blurvote.runtime.text import put_text

__all__ = [
    "AMBER",
    "GREEN",
    "GREY",
    "INK",
    "PAPER",
    "RED",
    "answer_colour",
    "fill",
    "say",
    "sign_name",
    "strip",
]

PAPER, INK, GREY = (250, 250, 250), (40, 36, 33), (140, 135, 130)
GREEN, RED, AMBER = (87, 139, 46), (57, 53, 211), (0, 160, 255)


def answer_colour(label: int, truth: int) -> tuple[int, int, int]:
    """Green for right, red for wrong, amber for rejected."""
    return AMBER if label < 0 else GREEN if label == truth else RED


def fill(
    picture: NDArray[np.uint8], box: tuple[int, int, int, int], colour: tuple[int, int, int]
) -> None:
    """Fills the half-open box x0, y0, x1, y1."""
    x0, y0, x1, y1 = box
    picture[y0:y1, x0:x1] = colour


def say(picture: NDArray[np.uint8], text: str, at: tuple[int, int], size: int = 16) -> None:
    """A line of small grey text."""
    put_text(picture, text, at, size, GREY)


def strip(
    answers: NDArray[np.int64], truth: NDArray[np.int64], width: int, height: int
) -> NDArray[np.uint8]:
    """A `(height, width, 3)` bar with one coloured column for each frame."""
    colours = np.array([answer_colour(a, t) for a, t in zip(answers, truth, strict=True)], np.uint8)
    return cv2.resize(colours[None], (width, height), interpolation=cv2.INTER_NEAREST).astype(
        np.uint8, copy=False
    )


def sign_name(label: int) -> str:
    """The class name for people."""
    return CLASSES[label].replace("_", " ")
