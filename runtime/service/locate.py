"""Where in a TOML file each table, key and element is; `tomllib` keeps no positions."""

from __future__ import annotations

import re
import sys
from typing import Any

from blurvote.runtime.errors import SettingsError

__all__ = ["Path", "line_of", "locate", "parse_toml"]

Path = tuple[str | int, ...]
"""Keys and indices from the top, such as `("cameras", 1, "fps")`."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_INLINE_BLANK = re.compile(r"[ \t]*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}'  # up to two quotes may stand before the closing three
    r"|'''.*?'{3,5}"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def parse_toml(text: str) -> dict[str, Any]:
    """The values of a TOML document.

    Raises:
        SettingsError: it is not TOML, with `line` as its second argument; or this Python has no
            parser for it.
    """
    loads, problem = _parser()
    try:
        values: dict[str, Any] = loads(text)
    except problem as error:
        said = str(error)
        found = _AT_LINE.search(said)
        if found:
            raise SettingsError(said[: found.start()], int(found[1])) from error
        said = said.removesuffix(" (at end of document)")
        raise SettingsError(f"{said} at the end", text.rstrip().count("\n") + 1) from error
    except RecursionError as error:
        raise SettingsError("values are nested too deeply", 1) from error
    return values


def _parser() -> tuple[Any, type[Exception]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ImportError as error:
            raise SettingsError(
                "config files need tomli on Python 3.10; pip install 'blurvote[service]'"
            ) from error
    return tomllib.loads, tomllib.TOMLDecodeError


def locate(text: str) -> dict[Path, int]:
    """Maps every path of a valid TOML document to its line, from 1; `()` is line 1."""
    return _Scanner(text.replace("\r\n", "\n")).scan()


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of `path`, or of the innermost part of it that is there."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


class _Scanner:
    """Walks through a document that `tomllib` has accepted, so nothing is checked again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted, self._line = 0, 1  # the line number at an earlier place
        self._lines: dict[Path, int] = {(): 1}
        self._tables: dict[Path, int] = {}  # elements of each [[array]] so far

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while True:
            self._skip(_BLANK)
            if self._at >= len(self._text):
                return self._lines
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        array = self._text.startswith("[[", self._at)
        line = self._here()
        self._at += 2 if array else 1
        keys = self._key()
        self._at += 2 if array else 1
        path: Path = ()
        for key in keys[:-1]:
            path = self._newest((*path, key))
            self._lines.setdefault(path, line)
        path = (*path, keys[-1])
        if array:
            self._lines.setdefault(path, line)
            self._tables[path] = self._tables.get(path, 0) + 1
            path = self._newest(path)
        self._lines[path] = line
        return path

    def _newest(self, path: Path) -> Path:
        """The newest element where `path` is an array of tables."""
        return (*path, self._tables[path] - 1) if path in self._tables else path

    def _pair(self, table: Path) -> None:
        line = self._here()
        path = table
        for key in self._key():
            path = (*path, key)
            self._lines.setdefault(path, line)
        self._at += 1  # the equals sign
        self._skip(_INLINE_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        first = self._text[self._at]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first in "\"'":
            self._skip(_STRING)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._at += 1
        index = 0
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "]":
                break
            place = (*path, index)
            self._lines[place] = self._here()
            self._value(place)
            self._skip(_BLANK)
            self._at += self._text[self._at] == ","
            index += 1
        self._at += 1

    def _inline_table(self, path: Path) -> None:
        self._at += 1
        while True:
            self._skip(_BLANK)
            if self._text[self._at] == "}":
                break
            self._pair(path)
            self._skip(_BLANK)
            self._at += self._text[self._at] == ","
        self._at += 1

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_INLINE_BLANK)
            quoted = self._text[self._at] in "\"'"
            part = self._skip(_STRING if quoted else _BARE)
            parts.append(next(iter(parse_toml(f"{part} = 0"))) if quoted else part)
            self._skip(_INLINE_BLANK)
            if self._text[self._at] != ".":
                return parts
            self._at += 1

    def _skip(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return found[0]

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
