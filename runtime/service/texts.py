"""The text of a config file: read with care, its variables replaced, its secrets known."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blurvote.runtime.errors import SettingsError
from blurvote.runtime.service.locate import Path as Place
from blurvote.runtime.service.tables import BAD, Item, Problems, dotted
from blurvote.runtime.sources.redact import without_password

__all__ = ["as_items", "open_to_all", "read_text", "secrets_in"]

MOST_BYTES = 1 << 20
_VARIABLE = re.compile(r"\$(\$(?=\{)|\{[^}]*\})")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def read_text(path: Path) -> str:
    """The text of a small UTF-8 file; a byte order mark is left out.

    Raises:
        SettingsError: it is missing, not readable, too large or not text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(f"{path} cannot be read: {why}") from error
    if len(data) > MOST_BYTES:
        raise SettingsError(f"{path} is over {MOST_BYTES >> 20} MiB; expected a short text file")
    if b"\0" in data:
        raise SettingsError(f"{path} is a binary file; expected text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{path}:{line}: byte {data[error.start]:#04x} is not UTF-8; save the file as UTF-8"
        ) from error


def open_to_all(path: Path) -> bool:
    """Whether every user of this machine may read the file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def as_items(
    value: Any,
    problems: Problems,
    environment: Mapping[str, str] | None = None,
    path: Place = (),
) -> Item:
    """Parsed TOML with its places; `${NAME}` in texts is replaced from the environment."""
    environment = os.environ if environment is None else environment
    if isinstance(value, dict):
        return Item(
            {k: as_items(v, problems, environment, (*path, k)) for k, v in value.items()}, path
        )
    if isinstance(value, list):
        return Item(
            [as_items(v, problems, environment, (*path, i)) for i, v in enumerate(value)], path
        )
    if isinstance(value, str):
        return Item(_replaced(value, problems, environment, path), path, value)
    return Item(value, path, value)


def _replaced(text: str, problems: Problems, environment: Mapping[str, str], path: Place) -> Any:
    """The text with its variables' values; `BAD`, and problems noted, where one has none."""
    bad = False

    def value_of(found: re.Match[str]) -> str:
        nonlocal bad
        if found[1] == "$":
            return "$"  # of $${, whose brace follows
        name = found[1][1:-1]
        if not _NAME.fullmatch(name):
            why = f": ${{{name}}} names no environment variable; write $${{ for a plain ${{"
        elif name not in environment:
            why = f" needs the environment variable {name}, which is not set"
        else:
            return environment[name]
        problems.add(path, f"{dotted(path)}{why}")
        bad = True
        return ""

    replaced = _VARIABLE.sub(value_of, text)
    return BAD if bad else replaced


def secrets_in(item: Item) -> Iterator[Item]:
    """Texts that spell out a password or token."""
    if isinstance(item.value, (dict, list)):
        inner = item.value.values() if isinstance(item.value, dict) else item.value
        for each in inner:
            yield from secrets_in(each)
    elif (
        isinstance(item.raw, str)
        and "${" not in item.raw
        and (item.path == ("serve", "token") or without_password(item.raw) != item.raw)
    ):
        yield item
