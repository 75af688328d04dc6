"""Whether the views disagree and whether the guard rejects, frame by frame, clean and disturbed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.outputs import read_json, write_text
from blurvote.runtime import Frame, Guard
from blurvote.runtime.errors import SourceError
from blurvote.runtime.pipeline.alarm import is_rejection
from blurvote.runtime.sources import open_source
from blurvote.runtime.tuning import guard_sha256

__all__ = ["CLEAN", "Indicators", "Video", "measure"]

CLEAN = "clean"
_SCHEMA = "blurvote.alarm-indicators/1"
_LEAST = 50  # frames
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Video:
    """A video and how much of it is taken.

    Attributes:
        path: a file.
        limit: frames; None for all.
    """

    path: str
    limit: int | None = None

    def frames(self) -> Iterator[Frame]:
        """The frames, one after the other."""
        source = open_source(self.path)
        try:
            taken = 0
            while (self.limit is None or taken < self.limit) and (frame := source.read()):
                taken += 1
                yield frame
        finally:
            source.close()

    @property
    def frames_per_second(self) -> float | None:
        """As the file says; None where it does not."""
        source = open_source(self.path)
        try:
            return source.frames_per_second
        finally:
            source.close()

    def key(self) -> list[Any]:
        """What tells it from another video, or from a changed one.

        Raises:
            SourceError: it is no file.
        """
        if not Path(self.path).is_file():
            raise SourceError(f"{self.path} cannot be read: no such file")
        status = Path(self.path).stat()
        return [Path(self.path).name, status.st_size, status.st_mtime_ns, self.limit]


@dataclass(frozen=True, eq=False)
class Indicators:
    """The indicators of a video by the name of the disturbance, `CLEAN` first.

    Attributes:
        rows: `(2, N)` each: whether the first two views differ, whether the frame is rejected.
        views_compared: whether the guard runs two views at all; else the first row is all false.
    """

    rows: dict[str, Bools]
    views_compared: bool


def measure(
    guard: Path,
    video: Video,
    disturbances: list[Degradation | Video],
    seed: int,
    cache: Path,
    open_guard: Callable[[], Guard],
    done: Callable[[int], None],
) -> Indicators:
    """Runs the guard over the clean and the disturbed frames, or takes what an earlier run found.

    Args:
        guard: its file.
        video: the clean frames.
        disturbances: to lay over the frames; or videos of the same frames, attacked.
        seed: of the disturbances.
        cache: JSON file of what was found; written after every pass over the video.
        open_guard: called where something must be run.
        done: told how many frames are done in all.

    Raises:
        SourceError: the video has fewer than 50 frames, or an attacked one another number.
    """
    known = read_json(cache, _SCHEMA) or {"rows": {}}
    sha256, rows, total = guard_sha256(guard), {}, 0
    model: Guard | None = None
    compared = True
    try:
        for one in [None, *disturbances]:
            name = CLEAN if one is None else _name(one)
            other = one.key() if isinstance(one, Video) else None
            key = json.dumps([sha256, video.key(), name, other, seed])
            if key not in known["rows"]:
                model = model or open_guard()
                known["rows"][key] = _run(model, video, one, seed, total, done)
                write_text(cache, json.dumps({"schema": _SCHEMA, **known}))
            found = known["rows"][key]
            compared = compared and "?" not in found[0]
            rows[name] = np.array([[c == "1" for c in row] for row in found])
            _check(name, rows)
            total += rows[name].shape[1]
            done(total)
    finally:
        if model is not None:
            model.close()
    return Indicators(rows, compared)


def _name(disturbance: Degradation | Video) -> str:
    return Path(disturbance.path).name if isinstance(disturbance, Video) else str(disturbance)


def _check(name: str, rows: dict[str, Bools]) -> None:
    count, clean = rows[name].shape[1], rows[CLEAN].shape[1]
    if count < _LEAST:
        raise SourceError(f"the video has {count} frames; expected at least {_LEAST}")
    if count != clean:
        raise SourceError(
            f"{name} has {count} frames and the clean video {clean}; expected the same frames"
        )


def _run(
    guard: Guard,
    video: Video,
    disturbance: Degradation | Video | None,
    seed: int,
    before: int,
    done: Callable[[int], None],
) -> list[str]:
    """A row of 0 and 1 per indicator; ? where the views were not compared."""
    rows: tuple[list[str], list[str]] = ([], [])
    source = disturbance if isinstance(disturbance, Video) else video
    for index, frame in enumerate(source.frames()):
        pixels, colour = frame.pixels, frame.colour
        if isinstance(disturbance, Degradation):
            rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB) if colour == "bgr" else pixels
            random = disturbance.generator(seed, index)
            pixels = np.asarray(disturbance.apply(np.asarray(rgb, np.uint8), random), np.uint8)
            colour = "rgb"
        verdict = guard.classify(pixels, colour)
        differ = verdict.disagreement
        rows[0].append("?" if differ is None else str(int(differ)))
        rows[1].append(str(int(is_rejection(verdict))))
        done(before + index + 1)
    return ["".join(row) for row in rows]
