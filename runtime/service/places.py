"""Where relative names in a config file lead, and which folders sinks write to."""

from __future__ import annotations

import glob
import re
from pathlib import Path

from blurvote.runtime.sinks.options import split_options

__all__ = ["placed_sink", "placed_source", "written_folder"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)
_LINES = "jsonl:"  # the scheme of files


def placed_source(uri: str, folder: Path) -> str:
    """The same source; a relative file, folder or pattern is taken from `folder`."""
    if uri.isdecimal() or not _is_relative(uri):
        return uri
    return f"{glob.escape(str(folder)) if glob.has_magic(uri) else folder}/{uri}"


def placed_sink(uri: str, folder: Path) -> str:
    """The same sink; a relative file or folder is taken from `folder`."""
    scheme, name = _split(uri)
    return f"{scheme}{folder}/{name}" if _is_relative(name) else uri


def written_folder(uri: str) -> Path | None:
    """The folder that a sink writes into; None for those that write no files."""
    name = split_options(_split(uri)[1])[0]
    if name in ("", "-") or _SCHEME.match(name):
        return None
    if Path(name).is_dir():
        return Path(name)
    # A name may hold {camera}, and a folder of pictures may not be there yet.
    return Path(name.partition("{")[0] + "x").parent


def _split(uri: str) -> tuple[str, str]:
    cut = len(_LINES) if uri.lower().startswith(_LINES) else 0
    return uri[:cut], uri[cut:]


def _is_relative(name: str) -> bool:
    return name not in ("", "-") and not _SCHEME.match(name) and not Path(name).is_absolute()
