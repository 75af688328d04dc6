"""What a scenario is given, and how it says what it is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.soak.outcome import Outcome, Skipped
from blurvote.runtime.frame import Colour, Frame
from blurvote.runtime.guard import Guard
from blurvote.runtime.sources import open_source
from blurvote.runtime.verdict import Verdict

__all__ = ["Scenario", "Setup", "SlowGuard", "draw_clip", "need_gstreamer", "need_mosquitto", "say"]


@dataclass(frozen=True)
class Setup:
    """What a scenario is given.

    Attributes:
        guard: path of the guard file.
        seconds: how long it may take, about; it does less in less time.
        folder: an empty one for its files.
        video: an MP4 with H.264, or None for a drawn one.
        short: whether it is only to be seen that the scenario itself works.
    """

    guard: Path
    seconds: float
    folder: Path
    video: Path | None = None
    short: bool = False


@dataclass(frozen=True)
class Scenario:
    """One kind of fault or load.

    Attributes:
        name: as typed.
        help: what it does, in a line.
        seconds: how long it takes unless told otherwise, about.
        run: does it.
    """

    name: str
    help: str
    seconds: float
    run: Callable[[Setup], Outcome]


class SlowGuard(Guard):
    """A guard whose every inference takes `sleep_s` longer, as a larger model's would."""

    def __init__(self, path: Path, sleep_s: float) -> None:
        super().__init__(path, "cpu", "batched", threads=1)
        self._sleep_s = sleep_s

    def classify_batch(
        self, frames: Sequence[Frame | NDArray[np.uint8]], colour: Colour = "rgb"
    ) -> list[Verdict]:
        """As a guard's, later."""
        time.sleep(self._sleep_s)
        return super().classify_batch(frames, colour)


def draw_clip() -> None:
    """Draws the clip of `synthetic:` once, before several cameras would each do so."""
    source = open_source("synthetic:")
    source.read()
    source.close()


def need_gstreamer() -> None:
    """Raises Skipped where no RTSP server can run."""
    from blurvote.benchmarks.soak.rtsp import missing_gstreamer

    why = missing_gstreamer()
    if why:
        raise Skipped(why)


def need_mosquitto() -> None:
    """Raises Skipped where there is no broker, or no client for it."""
    from importlib.util import find_spec

    from blurvote.benchmarks.soak.broker import PROGRAM

    if PROGRAM is None:
        raise Skipped("no mosquitto; apt-get install mosquitto")
    if find_spec("paho") is None:
        raise Skipped("no paho-mqtt; pip install 'blurvote[mqtt]'")


def say(text: str) -> None:
    """A line of progress on stderr."""
    print(f"  {text}", file=sys.stderr, flush=True)
