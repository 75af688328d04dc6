"""JPEG pictures of what cameras show, made only when asked for and once for all viewers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.annotate import annotate, label_name, view_pixels
from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Observation

__all__ = ["WIDTHS", "Kind", "Picture", "Pictures"]

Kind = Literal["annotated", "views", "sheet"]
"""The frame with its verdict below it; the views side by side; or the frame with them below."""

Pixels = NDArray[np.uint8]

WIDTHS = (320, 480, 640, 960, 1280)
"""Widths in pixels that frames are shrunk to, so that viewers share pictures."""

_QUALITY = 82
_VIEW_SIDE = 256  # pixels; larger views are shrunk


@dataclass(frozen=True)
class Picture:
    """One encoded picture.

    Attributes:
        jpeg: the bytes.
        tag: changes with the frame that it shows.
        about: one line of ASCII JSON: the verdict, and where in the picture what is, as boxes x, y,
            width, height in pixels.
    """

    jpeg: bytes
    tag: str
    about: str


@dataclass
class _Slot:
    """The newest picture of one camera and kind, or the one being made."""

    tag: str = ""
    picture: asyncio.Future[Picture] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Pictures:
    """Makes pictures on threads of its own and keeps the newest of each camera, kind and width.

    Its methods belong to one event loop.

    Args:
        guard: for the views, their names and the labels.
        latest: the newest observation of a camera.
        executor: where frames are drawn and encoded.
    """

    def __init__(
        self, guard: Guard, latest: Callable[[str], Observation | None], executor: Executor
    ) -> None:
        self._guard = guard
        self._latest = latest
        self._executor = executor
        self._slots: dict[tuple[str, Kind, int], _Slot] = {}
        self.encoded = 0

    def forget_all_but(self, cameras: set[str]) -> None:
        """Drops the pictures of cameras that are no more."""
        for key in [key for key in self._slots if key[0] not in cameras]:
            del self._slots[key]

    async def get(self, camera: str, kind: Kind, width: int) -> Picture | None:
        """The picture of the camera's newest frame; None before the first.

        Raises:
            BlurvoteError: the views cannot be built from frames of that size (kind `views`).
        """
        slot = self._slots.setdefault((camera, kind, width), _Slot())
        async with slot.lock:
            seen = self._latest(camera)
            if seen is None:
                return None
            tag = f"{seen.frame.sequence:x}-{int(seen.frame.captured_at * 1e6):x}"
            if slot.picture is None or slot.tag != tag:
                loop = asyncio.get_running_loop()
                slot.picture = loop.run_in_executor(
                    self._executor, self._make, seen, kind, width, tag
                )
                slot.tag = tag
                self.encoded += 1
            return await asyncio.shield(slot.picture)  # others may wait for it, too

    def _make(self, seen: Observation, kind: Kind, width: int, tag: str) -> Picture:
        about = self._about(seen)
        if kind == "annotated":
            small = replace(seen.frame, pixels=_bgr(seen, width), colour="bgr", window=None)
            picture = annotate(small, seen.verdict, self._guard.defense, self._guard.labels)
        elif kind == "views":
            picture, about["views"] = _row(self._views(seen))
        else:
            picture = _bgr(seen, width)
            try:
                picture, about["picture"], about["views"] = _below(picture, self._views(seen))
            except BlurvoteError as error:  # a blank or tiny frame still has a picture
                about["picture"], about["views"] = [0, 0, *picture.shape[1::-1]], []
                about["why"] = str(error)
        _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return Picture(jpeg.tobytes(), tag, json.dumps(about))

    def _about(self, seen: Observation) -> dict[str, Any]:
        """The verdict and the names of what it speaks of."""
        defense, labels = self._guard.defense, self._guard.labels
        spoken = {seen.verdict.label, seen.smoothed, *seen.verdict.view_labels} - {None, -1}
        return {
            "verdict": seen.to_dict(),
            "view_names": [
                defense.view_name(view, seen.verdict.denoised) for view in defense.views
            ],
            "labels": {label: label_name(label, labels) for label in spoken if label is not None},
        }

    def _views(self, seen: Observation) -> list[Pixels]:
        defense = self._guard.defense
        built = self._guard.views_of(seen.frame, seen.verdict.denoised)
        views = [view_pixels(view, defense.mean, defense.std) for view in built]
        return [
            _shrunk(view, max(1, view.shape[1] * _VIEW_SIDE // max(view.shape))) for view in views
        ]


def _shrunk(picture: Pixels, width: int) -> Pixels:
    """The picture at most `width` pixels wide."""
    if picture.shape[1] <= width:
        return picture
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    small: Any = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _bgr(seen: Observation, width: int) -> Pixels:
    return _shrunk(seen.frame.as_bgr(), width)


def _row(views: list[Pixels]) -> tuple[Pixels, list[list[int]]]:
    """Views side by side, and their boxes."""
    height, width = views[0].shape[:2]
    boxes = [[n * width, 0, width, height] for n in range(len(views))]
    return np.concatenate(views, axis=1), boxes


def _below(picture: Pixels, views: list[Pixels]) -> tuple[Pixels, list[int], list[list[int]]]:
    """The picture with the row of views below it, and the boxes of both."""
    row, boxes = _row(views)
    height, width = picture.shape[:2]
    top = -(-height // 16) * 16  # JPEG's blocks: the picture must not bleed into the views
    sheet = np.zeros((top + row.shape[0], max(width, row.shape[1]), 3), np.uint8)
    sheet[:height, :width] = picture
    sheet[top:, : row.shape[1]] = row
    return sheet, [0, 0, width, height], [[x, top, w, h] for x, _, w, h in boxes]
