"""The demo's video: the camera's picture, the three views and their votes, the score so far."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.annotate import view_pixels
from blurvote.runtime.defense import Defense
from blurvote.runtime.demo.experiment import Level, noisy
from blurvote.runtime.demo.palette import (
    GREY,
    INK,
    PAPER,
    answer_colour,
    fill,
    say,
    sign_name,
    strip,
)
from blurvote.runtime.demo.scenes import ClipFrame
from blurvote.runtime.sinks.writers import VideoFileWriter
from blurvote.runtime.text import put_text
from blurvote.runtime.views import ViewBuilder

__all__ = ["schedule", "write_video"]

WIDTH, HEIGHT = 880, 512
CAMERA = (10, 44, 490, 404)  # box of the camera's picture: x0, y0, x1, y1
PANEL_X = 508
THUMB = 108


def schedule(frames: int, levels: Sequence[Level]) -> list[int]:
    """Which level of noise each frame of the video shows: the clip's parts get noisier in turn."""
    return [n * len(levels) // frames for n in range(frames)]


def write_video(
    path: str,
    clip: Sequence[ClipFrame],
    levels: Sequence[Level],
    defense: Defense,
    frames_per_second: float = 15.0,
) -> None:
    """Writes the clip once, its noise rising from part to part.

    Raises:
        SinkError: the file cannot be written.
    """
    shown = schedule(len(clip), levels)
    at = np.arange(len(clip))
    truth = levels[0].truth
    clean = np.array([level.votes for level in levels])[shown, at, 0]
    guarded = np.array([level.verdicts for level in levels])[shown, at]
    builder = ViewBuilder(defense)
    sink = VideoFileWriter(path, lambda: frames_per_second)
    for n, frame in enumerate(clip):
        level = levels[shown[n]]
        pixels = noisy(frame, n, level.sigma)
        picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
        _camera(picture, pixels, level.sigma)
        _panel(picture, builder.build(pixels), defense, level, n)
        _timeline(picture, clean, guarded, truth, shown, levels, n)
        sink.write(picture, "demo")
    sink.close()


def _camera(picture: NDArray[np.uint8], pixels: NDArray[np.uint8], sigma: float) -> None:
    put_text(picture, "blurvote demo", (10, 30), 24, INK, bold=True)
    say(picture, "a drawn clip, not camera footage", (202, 30))
    noise = f"noise sigma {sigma:g}" if sigma else "no noise"
    put_text(picture, noise, (PANEL_X, 30), 20, INK, bold=bool(sigma))
    x0, y0, x1, y1 = CAMERA
    large = cv2.resize(pixels[..., ::-1], (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
    picture[y0:y1, x0:x1] = large


def _panel(
    picture: NDArray[np.uint8],
    views: NDArray[np.float32],
    defense: Defense,
    level: Level,
    n: int,
) -> None:
    """Truth, the undefended answer, the three views with their votes, the verdict."""
    truth = int(level.truth[n])
    say(picture, "the sign is", (PANEL_X, 58))
    put_text(picture, sign_name(truth), (PANEL_X, 86), 24, INK, bold=True)
    _answer(picture, "without defence", int(level.votes[n, 0]), truth, 94)
    say(picture, "the three views and their votes", (PANEL_X, 190))
    for k, view in enumerate(views):
        x = PANEL_X + k * (THUMB + 14)
        pixels = view_pixels(view, defense.mean, defense.std)
        thumb = cv2.resize(pixels, (THUMB, THUMB), interpolation=cv2.INTER_AREA)
        vote = int(level.votes[n, k])
        fill(picture, (x - 3, 197, x + THUMB + 3, 203 + THUMB), answer_colour(vote, truth))
        picture[200 : 200 + THUMB, x : x + THUMB] = thumb
        say(picture, defense.view_name(k), (x, 220 + THUMB), 14)
        put_text(picture, sign_name(vote), (x, 236 + THUMB), 15, INK, max_width=THUMB)
    _answer(picture, "with blurvote", int(level.verdicts[n]), truth, 348)


def _answer(picture: NDArray[np.uint8], who: str, label: int, truth: int, top: int) -> None:
    say(picture, who, (PANEL_X, top + 14))
    fill(picture, (PANEL_X, top + 22, WIDTH - 14, top + 68), answer_colour(label, truth))
    text = "rejected: no majority" if label < 0 else sign_name(label)
    put_text(
        picture,
        text,
        (PANEL_X + 14, top + 53),
        24,
        (255, 255, 255),
        bold=True,
        max_width=WIDTH - PANEL_X - 40,
    )


def _timeline(
    picture: NDArray[np.uint8],
    clean: NDArray[np.int64],
    guarded: NDArray[np.int64],
    truth: NDArray[np.int64],
    shown: Sequence[int],
    levels: Sequence[Level],
    n: int,
) -> None:
    """Two bars that fill as the clip plays: right green, wrong red, rejected amber."""
    x0, width = 150, WIDTH - 164
    for row, (who, answers) in enumerate((("without defence", clean), ("with blurvote", guarded))):
        y = 432 + 26 * row
        say(picture, who, (10, y + 16), 15)
        fill(picture, (x0, y, x0 + width, y + 20), (228, 228, 228))
        done = strip(answers[: n + 1], truth[: n + 1], width, 20)
        end = width * (n + 1) // len(truth)
        picture[y : y + 20, x0 : x0 + end] = cv2.resize(
            done, (end, 20), interpolation=cv2.INTER_NEAREST
        )
    for k, level in enumerate(levels):
        x = x0 + width * shown.index(k) // len(truth)
        cv2.line(picture, (x, 428), (x, 482), GREY, 1)
        say(picture, f"sigma {level.sigma:g}" if level.sigma else "no noise", (x + 4, 500), 14)
