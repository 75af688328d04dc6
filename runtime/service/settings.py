"""What a config file says, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from blurvote.runtime.engines.protocol import Compute, EngineSettings, OptionValue, Provider
from blurvote.runtime.errors import SettingsError
from blurvote.runtime.pipeline.settings import CameraSettings, Flow
from blurvote.runtime.sources.redact import without_password

__all__ = [
    "CameraChanges",
    "GuardSettings",
    "LogSettings",
    "RunSettings",
    "ServeSettings",
    "diff_cameras",
]


@dataclass(frozen=True)
class GuardSettings:
    """Which guard runs, and how; see `Guard`.

    Attributes:
        path: of the guard file.
        provider, plan, threads, threshold, spin, compute, options: as `Guard` takes them.
        tuned: takes provider, plan, threads and spin as `blurvote bench --tune` found them here.

    Raises:
        SettingsError: a value that cannot be, or `tuned` together with what it sets.
        ProviderError: options or a compute without a provider.
    """

    path: Path
    provider: Provider = "auto"
    plan: Literal["auto", "batched", "cascade"] = "auto"
    threads: int | None = None
    threshold: float | None = None
    spin: bool = True
    tuned: bool = False
    compute: Compute = "fp32"
    options: Mapping[str, OptionValue] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise SettingsError(f"threads is {self.threads}; expected an integer of at least 1")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SettingsError(f"threshold is {self.threshold:g}; expected a number from 0 to 1")
        if self.tuned:
            default = GuardSettings(self.path)
            for name in ("provider", "plan", "threads", "spin", "compute", "options"):
                if getattr(self, name) != getattr(default, name):
                    raise SettingsError(
                        f"tuned sets the provider, plan, threads and spinning; leave out "
                        f"{name}, or leave out tuned"
                    )
        _ = self.engine  # raises for what no engine takes

    @property
    def engine(self) -> EngineSettings:
        """How the guard's graph is run."""
        return EngineSettings(self.provider, self.compute, self.threads, self.spin, self.options)


@dataclass(frozen=True)
class ServeSettings:
    """The live page.

    Attributes:
        address: `HOST:PORT`, `[IPv6]:PORT` or a port on 127.0.0.1.
        token: what a browser has to know; None for none, on loopback only.

    Raises:
        SettingsError: the address cannot be, or the token is missing or weak.
    """

    address: str = "127.0.0.1:8080"
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        from blurvote.runtime.serve.access import check_token
        from blurvote.runtime.serve.address import parse_address

        check_token(parse_address(self.address), self.token)


@dataclass(frozen=True)
class LogSettings:
    """What goes to stderr.

    Attributes:
        format: lines for people, or one JSON object per line.
        level: nothing below it is logged.
        verdicts: whether each verdict is a line, too.
        every_s: lines of one camera that say the same come this often at most, in seconds; 0 logs
            all.

    Raises:
        SettingsError: `every_s` is no number from 0 on.
    """

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"
    verdicts: bool = False
    every_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.every_s < math.inf:
            raise SettingsError(f"every_s is {self.every_s:g}; expected a number from 0 on")


@dataclass(frozen=True)
class RunSettings:
    """All that `blurvote run` does.

    Attributes:
        guard, flow, log: see there.
        cameras: each with a name of its own.
        sinks: URIs, see `open_sink`.
        serve: None for no live page.
        warnings: lines about what is allowed but unwise.
    """

    guard: GuardSettings
    cameras: tuple[CameraSettings, ...]
    flow: Flow = field(default_factory=Flow)
    sinks: tuple[str, ...] = ()
    serve: ServeSettings | None = None
    log: LogSettings = field(default_factory=LogSettings)
    warnings: tuple[str, ...] = field(default=(), compare=False)

    def redacted(self) -> dict[str, Any]:
        """Plain values without passwords and tokens, ready for `json.dumps` and to be shown."""
        shown = asdict(self)
        del shown["warnings"]
        shown["guard"]["path"] = str(self.guard.path)
        for camera in shown["cameras"]:
            camera["uri"] = without_password(camera["uri"])
            camera |= camera.pop("options")
        shown["cameras"] = list(shown["cameras"])
        shown["sinks"] = [without_password(uri) for uri in self.sinks]
        if self.serve is not None:
            shown["serve"]["token"] = "***" if self.serve.token else None
        return shown


@dataclass(frozen=True)
class CameraChanges:
    """What differs between two settings.

    Attributes:
        unchanged, changed, added: cameras as they are in the new settings, in their order.
        removed: names of cameras that are gone.
        others: which other parts differ, of `guard`, `flow`, `sinks`, `serve` and `log`.
    """

    unchanged: tuple[CameraSettings, ...]
    changed: tuple[CameraSettings, ...]
    added: tuple[CameraSettings, ...]
    removed: tuple[str, ...]
    others: tuple[str, ...]

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return bool(self.changed or self.added or self.removed or self.others)


def diff_cameras(old: RunSettings, new: RunSettings) -> CameraChanges:
    """What a reload has to do. Cameras are told apart by their names."""
    before = {camera.name: camera for camera in old.cameras}
    after = {camera.name: camera for camera in new.cameras}
    known = [camera for name, camera in after.items() if name in before]
    return CameraChanges(
        unchanged=tuple(camera for camera in known if camera == before[camera.name]),
        changed=tuple(camera for camera in known if camera != before[camera.name]),
        added=tuple(camera for name, camera in after.items() if name not in before),
        removed=tuple(name for name in before if name not in after),
        others=tuple(
            part
            for part in ("guard", "flow", "sinks", "serve", "log")
            if getattr(old, part) != getattr(new, part)
        ),
    )
