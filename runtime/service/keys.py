"""Which keys each table of a config file takes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from blurvote.runtime.pipeline.settings import CameraSettings, Flow
from blurvote.runtime.service.settings import GuardSettings, LogSettings, ServeSettings
from blurvote.runtime.sources.source import SourceOptions

__all__ = [
    "CAMERA_KEYS",
    "DEFAULT_KEYS",
    "GUARD_KEYS",
    "HOMES",
    "SERVE_KEYS",
    "TOP_KEYS",
    "names_of",
]


def names_of(kind: type[Any]) -> list[str]:
    """The fields of a dataclass."""
    return [entry.name for entry in fields(kind)]


GUARD_KEYS = ["guard", *(name for name in names_of(GuardSettings) if name != "path")]
CAMERA_KEYS = [*names_of(CameraSettings), *names_of(SourceOptions)]
CAMERA_KEYS.remove("options")  # its keys are a camera's own
DEFAULT_KEYS = [key for key in CAMERA_KEYS if key not in ("uri", "name")]
SERVE_KEYS = [*names_of(ServeSettings), "token_file"]
TOP_KEYS = [*GUARD_KEYS, "sinks", "cameras", "defaults", "flow", "serve", "log"]

# Where a key belongs that stands in the wrong table: in TOML all after a [table] is in that table.
HOMES = {
    **dict.fromkeys(SERVE_KEYS, "in [serve]"),
    **dict.fromkeys(names_of(LogSettings), "in [log]"),
    **dict.fromkeys(names_of(Flow), "in [flow]"),
    **dict.fromkeys(CAMERA_KEYS, "in [[cameras]] or [defaults]"),
    **dict.fromkeys(("uri", "name"), "in [[cameras]]"),
    **dict.fromkeys([*GUARD_KEYS, "sinks"], "at the top, before the first [table]"),
}
