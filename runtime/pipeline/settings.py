"""What a pipeline is asked to do, whether on a command line, in a config file or from Python."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.pipeline.alarm import AlarmOptions
from blurvote.runtime.sources.redact import without_password
from blurvote.runtime.sources.source import SourceOptions

__all__ = ["AnyCamera", "CameraSettings", "Flow", "Smoothing", "as_camera"]


@dataclass(frozen=True)
class Smoothing:
    """A label counts once `k` of the last `n` verdicts of a camera agree on it.

    Raises:
        SettingsError: unless n/2 < k <= n, so that two labels cannot both count.
    """

    k: int
    n: int

    def __post_init__(self) -> None:
        if not self.n / 2 < self.k <= self.n:
            raise SettingsError(
                f"smoothing is {self.k} of {self.n}; expected more than half and at most all, "
                "such as 3 of 5"
            )


@dataclass(frozen=True)
class CameraSettings:
    """One camera or other source.

    Attributes:
        uri: see `open_source`.
        name: how it is called everywhere; unique. Empty takes the URI without its password.
        options: what to ask the source for.
        smoothing: None for none.
        alarm: None for no alarm.
        reconnect: how often a lost live stream is opened again in a row; None for ever, 0 never.
        patient: whether a camera that cannot be opened at the start is tried again, as one that was
            lost is. A missing file is not, and a stream that is only away always is.
        frozen_s: after how many seconds of the very same picture a live stream counts as frozen;
            0 never.
        check_blank: whether uniform pictures of a live stream are rejected as `bad_frame`.
        max_age_s: frames of a live stream older than this when their turn comes are rejected as
            `stale_frame`, without inference; 0 for no limit.

    Raises:
        SettingsError: a value out of range.
    """

    uri: str
    name: str = ""
    options: SourceOptions = field(default_factory=SourceOptions)
    smoothing: Smoothing | None = None
    alarm: AlarmOptions | None = None
    reconnect: int | None = None
    patient: bool = True
    frozen_s: float = 10.0
    check_blank: bool = True
    max_age_s: float = 2.0

    def __post_init__(self) -> None:
        if self.reconnect is not None and self.reconnect < 0:
            raise SettingsError(
                f"reconnect is {self.reconnect}; expected a number of tries from 0 on, or none "
                "given for ever"
            )
        _from_zero(self, "frozen_s", "max_age_s")


@dataclass(frozen=True)
class Flow:
    """How frames of several cameras share the guard.

    Attributes:
        max_batch: frames of different cameras in one inference, at most; None for 1 on a CPU, where
            a batch costs as much as its parts and each frame would wait for all, and 8 elsewhere.
        batch_wait_ms: how long a frame may wait for frames of other cameras.
        in_turn: sources are read one after the other, in their order, not at once.
        max_frames: stop after this many verdicts; None for no limit.

    Raises:
        SettingsError: a value out of range.
    """

    max_batch: int | None = None
    batch_wait_ms: float = 2.0
    in_turn: bool = False
    max_frames: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}; expected an integer of at least 1")
        _from_zero(self, "batch_wait_ms")


AnyCamera = CameraSettings | str | int | os.PathLike[str]
"""Settings, or what to open: a URI, a path, the number of a camera."""


def as_camera(given: AnyCamera) -> CameraSettings:
    """Settings with a name.

    Raises:
        SettingsError: of another type.
    """
    if isinstance(given, (str, int, os.PathLike)):
        given = CameraSettings(str(given) if isinstance(given, int) else os.fspath(given))
    if not isinstance(given, CameraSettings):
        raise SettingsError(
            f"a camera is {given!r}; expected CameraSettings, a URI, a path or a number"
        )
    return given if given.name else replace(given, name=without_password(given.uri))


def _from_zero(settings: CameraSettings | Flow, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value < float("inf"):
            raise SettingsError(f"{name} is {value:g}; expected a number from 0 on")
