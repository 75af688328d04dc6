"""The demo's figure: what noise does to the undefended classifier and to the guard, at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.demo.experiment import Level, noisy
from blurvote.runtime.demo.palette import (
    AMBER,
    GREEN,
    GREY,
    INK,
    PAPER,
    RED,
    answer_colour,
    fill,
    say,
    sign_name,
    strip,
)
from blurvote.runtime.demo.scenes import ClipFrame
from blurvote.runtime.text import put_text

__all__ = ["draw_figure"]

WIDTH, HEIGHT = 1500, 1010


def draw_figure(clip: Sequence[ClipFrame], levels: Sequence[Level]) -> NDArray[np.uint8]:
    """A `(1010, 1500, 3)` uint8 BGR picture: a stacked bar per level and way, examples below."""
    picture = np.full((HEIGHT, WIDTH, 3), PAPER, np.uint8)
    put_text(picture, "What noise does to a road-sign classifier", (40, 60), 36, INK, bold=True)
    say(
        picture,
        f"{len(clip)} frames of a drawn clip (not camera footage), the whole clip at each level of "
        "noise; one column per frame below, share of frames on the right",
        (40, 92),
        18,
    )
    _legend(picture)
    for k, level in enumerate(levels):
        _bars(picture, level, 150 + 112 * k)
    _examples(picture, clip, levels, 640)
    return picture


def _legend(picture: NDArray[np.uint8]) -> None:
    x = 40
    for colour, text in ((GREEN, "right"), (RED, "wrong, and believed"), (AMBER, "rejected")):
        fill(picture, (x, 112, x + 18, 130), colour)
        put_text(picture, text, (x + 26, 127), 18, INK)
        x += 60 + 9 * len(text)


def _bars(picture: NDArray[np.uint8], level: Level, top: int) -> None:
    """Two strips, one column per frame, with their shares in words."""
    row = level.row()
    name = f"sigma {level.sigma:g}" if level.sigma else "no noise"
    put_text(picture, name, (40, top + 50), 24, INK, bold=True)
    for k, (who, answers, text) in enumerate(
        (
            ("without defence", level.votes[:, 0], _shares(row.clean, 1 - row.clean, 0.0)),
            (
                "with blurvote",
                level.verdicts,
                _shares(row.majority_all, 1 - row.majority_all - row.rejected, row.rejected),
            ),
        )
    ):
        y = top + 44 * k
        put_text(picture, who, (206, y + 26), 18, INK)
        picture[y : y + 38, 356:1136] = strip(answers, level.truth, 780, 38)
        put_text(picture, text, (1150, y + 26), 18, INK)


def _shares(right: float, wrong: float, rejected: float) -> str:
    text = f"{right:.1%} right, {wrong:.1%} wrong"
    return f"{text}, {rejected:.1%} rejected" if rejected else text


def _examples(
    picture: NDArray[np.uint8], clip: Sequence[ClipFrame], levels: Sequence[Level], top: int
) -> None:
    """A frame that the vote saves, one it rejects, and one it gets wrong: where each exists."""
    kinds: tuple[tuple[str, Callable[[Level], NDArray[np.bool_]]], ...] = (
        (
            "saved by the vote",
            lambda level: (level.votes[:, 0] != level.truth) & (level.verdicts == level.truth),
        ),
        (
            "rejected instead of wrong",
            lambda level: (level.votes[:, 0] != level.truth) & (level.verdicts < 0),
        ),
        (
            "wrong all the same",
            lambda level: (level.verdicts >= 0) & (level.verdicts != level.truth),
        ),
        (
            "lost to the defence",
            lambda level: (level.votes[:, 0] == level.truth) & (level.verdicts != level.truth),
        ),
    )
    x = 40
    for title, chosen in kinds:
        for level in (levels[2], levels[1], levels[3], levels[0]):
            found = np.flatnonzero(chosen(level))
            if len(found):
                n = int(found[len(found) // 2])
                _example(picture, clip[n], n, level, title, (x, top))
                break
        x += 362


def _example(
    picture: NDArray[np.uint8],
    frame: ClipFrame,
    n: int,
    level: Level,
    title: str,
    at: tuple[int, int],
) -> None:
    x, y = at
    put_text(picture, title, (x, y - 10), 20, INK, bold=True, max_width=330)
    image = noisy(frame, n, level.sigma)[..., ::-1]
    picture[y : y + 250, x : x + 334] = cv2.resize(image, (334, 250), interpolation=cv2.INTER_CUBIC)
    truth = int(level.truth[n])
    noise = f"sigma {level.sigma:g}" if level.sigma else "no noise"
    say(picture, f"{sign_name(truth)}, {noise}", (x, y + 272), 17)
    for k, (who, label) in enumerate(
        (
            ("clean", level.votes[n, 0]),
            ("single-blur", level.votes[n, 1]),
            ("double-blur", level.votes[n, 2]),
            ("verdict", level.verdicts[n]),
        )
    ):
        line = y + 296 + 22 * k
        put_text(picture, who, (x, line), 17, GREY)
        text = "rejected" if label < 0 else sign_name(int(label))
        put_text(picture, text, (x + 110, line), 17, answer_colour(int(label), truth), bold=k == 3)
