"""The drawn clip as a source, of any size and rate, for trials without a camera."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from urllib.parse import urlsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.errors import SourceError
from blurvote.runtime.frame import Frame
from blurvote.runtime.sources.addresses import settings_in
from blurvote.runtime.sources.pacing import Clock
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["SyntheticSource", "open_synthetic"]

_KNOWN = {
    "width": "pixels",
    "height": "pixels",
    "fps": "frames per second, 0.01 to 1e6",
    "seed": "a whole number",
    "noise": "a standard deviation from 0 to 1",
    "frames": "a number of frames",
    "live": "0 or 1",
}
_FRAMES_PER_SIGN = 8
_MOST_PIXELS = 8192 * 8192
_FPS = 15.0
_MOST_BYTES = 128 << 20  # of pictures kept for replay; of huge ones there are fewer


class SyntheticSource:
    """A drive past drawn road signs, drawn once and then replayed for ever or `frames` times.

    Args:
        name: the frames' `source`.
        size: width and height in pixels; None takes the size in which it is drawn, 320 x 240.
        fps: frames per second of a live or paced source.
        seed: chooses the clip.
        noise: standard deviation of Gaussian noise, where pixels span 0 to 1.
        frames: how many to deliver; None for no end.
        live: behaves as a camera: frames come at their time, and those that nobody reads are gone.
        pace: frames come no sooner than they are due, and all of them do.
    """

    def __init__(
        self,
        name: str = "synthetic:",
        size: tuple[int, int] | None = None,
        fps: float = _FPS,
        *,
        seed: int = 0,
        noise: float = 0.0,
        frames: int | None = None,
        live: bool = False,
        pace: bool = False,
    ) -> None:
        self.total = frames
        self.frames_per_second: float | None = fps
        self.live = live
        self._name = name
        self._clock = Clock(fps) if live or pace else None
        self._pictures = _replay(seed, noise, size)
        self._sequence = 0
        self._closed = False

    def read(self) -> Frame | None:
        """The next frame, RGB, read-only and shared between rounds; None at the end."""
        if self._closed or self._sequence == self.total:
            return None
        pixels = next(self._pictures)
        frame = Frame(pixels, "rgb", self._name, self._sequence)
        if self._clock is not None:
            due = self._clock.wait(skip=self.live)
            if due is None:
                return None
            frame = Frame(pixels, "rgb", self._name, self._sequence, due)
        self._sequence += 1
        return frame

    def close(self) -> None:
        self._closed = True
        if self._clock is not None:
            self._clock.close()


def open_synthetic(uri: str, options: SourceOptions) -> SyntheticSource:
    """The source of `synthetic:?seed=3&noise=0.1&frames=1000&live=1`, all of which may be left out.

    `width`, `height` and `fps` there go before the options'. Endless unless `frames` is set or it
    is read as a file (not live) without `loop`, when it ends after one round.

    Raises:
        SourceError: a setting is not known or out of its range.
    """
    parts = urlsplit(uri)
    if parts.netloc or parts.path.strip("/"):
        raise SourceError(f"{uri} is not known; expected synthetic:?seed=3&noise=0.1&frames=1000")
    given = settings_in(parts.query, uri, _KNOWN)

    def number(name: str, low: float, high: float, default: float) -> float:
        try:
            value = float(given.get(name, default))
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            got = repr(given[name]) if name in given else "nothing"
            raise SourceError(f"{uri} sets {name} to {got}; expected {_KNOWN[name]}")
        return value

    options.refuse(uri, "its frames are drawn, not coded", "codec")
    live = bool(number("live", 0, 1, 0))
    if live:
        options.refuse(uri, "it is live", "loop", "pace")
    size = None
    if {"width", "height"} & given.keys():
        size = int(number("width", 1, 32768, 0)), int(number("height", 1, 32768, 0))
    elif options.width is not None and options.height is not None:
        size = options.width, options.height
    if size is not None and size[0] * size[1] > _MOST_PIXELS:
        raise SourceError(f"{uri} is to be {size[0]}x{size[1]} px; expected at most 8192x8192")
    rounds = None if live or options.loop else _round_length()
    return SyntheticSource(
        uri,
        size,
        number("fps", 0.01, 1e6, options.fps or _FPS),
        seed=int(number("seed", 0, 2**63, 0)),
        noise=number("noise", 0, 1, 0),
        frames=int(number("frames", 1, 2**63, 0)) if "frames" in given else rounds,
        live=live,
        pace=options.pace,
    )


def _round_length() -> int:
    from blurvote.runtime.demo.scenes import CLASSES

    return len(CLASSES) * _FRAMES_PER_SIGN


@functools.lru_cache(maxsize=4)
def _drawn(seed: int) -> tuple[NDArray[np.uint8], ...]:
    from blurvote.runtime.demo.scenes import draw_clip

    return tuple(frame.pixels for frame in draw_clip(seed, frames_per_sign=_FRAMES_PER_SIGN))


def _replay(seed: int, noise: float, size: tuple[int, int] | None) -> Iterator[NDArray[np.uint8]]:
    """The clip's pictures over and over; made in the first round, kept for those after."""
    from blurvote.runtime.demo.scenes import add_noise

    rng = np.random.default_rng(seed)
    kept: list[NDArray[np.uint8]] = []
    for drawn in _drawn(seed):
        picture = np.asarray(drawn if size is None else cv2.resize(drawn, size), np.uint8)
        picture = add_noise(picture, noise, rng) if noise else picture.copy()
        picture.flags.writeable = False
        kept.append(picture)
        yield picture
        if len(kept) >= 2 and sum(p.nbytes for p in kept) >= _MOST_BYTES:
            break
    yield from itertools.cycle(kept)
