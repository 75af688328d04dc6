"""Turns tables of a config file into dataclasses, and notes everything that is wrong with them."""

from __future__ import annotations

import difflib
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.service.locate import Path, line_of
from blurvote.runtime.sources.redact import without_password

__all__ = ["BAD", "Item", "Problems", "Special", "dotted", "merge", "read_table", "read_value"]

T = TypeVar("T")

BAD: Any = object()
"""In place of a value that cannot be; its problem has been noted."""


@dataclass(frozen=True)
class Item:
    """A value with its place.

    Attributes:
        value: a dict or list of items, a plain value, or `BAD`.
        path: where it stands; merged tables keep the places of their values.
        raw: what is written there, before variables were replaced.
    """

    value: Any
    path: Path
    raw: Any = None

    def shown(self) -> str:
        """The value as written, for messages; without a password."""
        if isinstance(self.value, (dict, list)):
            return "a table" if isinstance(self.value, dict) else "a list"
        if isinstance(self.raw, str):
            text = without_password(self.raw)
            return json.dumps(text if len(text) < 80 else text[:77] + "...", ensure_ascii=False)
        return str(self.raw).lower() if isinstance(self.raw, bool) else str(self.raw)


Special = Mapping[Any, Callable[[Item], Any]]
"""How values for some types are read in place of the general way; may return `BAD`."""


class Problems:
    """Collects what is wrong, each with its line."""

    def __init__(self, file: str, lines: dict[Path, int]) -> None:
        self._file = file
        self._lines = lines
        self._found: set[tuple[int, str]] = set()  # a default's problem shows in every camera

    def __bool__(self) -> bool:
        return bool(self._found)

    def line(self, path: Path) -> int:
        return line_of(self._lines, path)

    def add(self, path: Path, text: str) -> None:
        self._found.add((self.line(path), text))

    def wrong(self, item: Item, expected: str) -> None:
        self.add(item.path, f"{dotted(item.path)} is {item.shown()}; expected {expected}")

    def unknown(self, table: Item, known: Iterable[str], homes: Mapping[str, str]) -> None:
        """Notes keys of `table` beyond `known`; `homes` says where else a key belongs."""
        known = [*known]
        for key, item in table.value.items():
            if key in known:
                continue
            near = difflib.get_close_matches(key, known, 1)
            if key in homes:
                fix = f"it belongs {homes[key]}"
            elif near:
                fix = f"did you mean {near[0]}?"
            else:
                fix = f"expected {', '.join(sorted(known))}"
            self.add(item.path, f"{dotted(item.path)} is not a setting here; {fix}")

    def report(self) -> str:
        """One problem per line, in the order of the file."""
        return "\n".join(f"{self._file}:{line}: {text}" for line, text in sorted(self._found))


def dotted(path: Path) -> str:
    """A path for people, such as `cameras[1].fps`."""
    parts = []
    for part in path:
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif re.fullmatch(r"[A-Za-z0-9_-]+", part):
            parts.append(f".{part}")
        else:
            parts.append("." + json.dumps(part, ensure_ascii=False))
    return "".join(parts).removeprefix(".")


def merge(base: Item, over: Item) -> Item:
    """`over`'s keys, and `base`'s where it has none; tables within tables likewise.

    `true` over a table takes the table as it is.
    """
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        both = {
            key: merge(base.value[key], item) if key in base.value else item
            for key, item in over.value.items()
        }
        return Item({**base.value, **both}, over.path)
    return base if isinstance(base.value, dict) and over.value is True else over


def read_table(
    kind: type[T], table: Item, problems: Problems, special: Special, **given: Any
) -> T | Any:
    """The dataclass `kind` from keys of `table` that are named as its fields; `BAD` if it cannot.

    Args:
        kind: its fields' types say what is expected; it may raise a BlurvoteError for a value.
        table: keys beyond the fields are not looked at.
        problems: takes what is wrong.
        special: types with a way of their own.
        given: fields that are known already.
    """
    hints = get_type_hints(kind)
    values = dict(given)
    for entry in fields(kind):  # type: ignore[arg-type]
        item = table.value.get(entry.name)
        if entry.name in given:
            continue
        if item is not None:
            values[entry.name] = read_value(item, hints[entry.name], problems, special)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            place = dotted(table.path) or "the file"
            problems.add(table.path, f"{place} has no {entry.name}")
            values[entry.name] = BAD
    bad = {name for name, value in values.items() if value is BAD}
    try:
        # Defaults in place of what is bad: the rest may be wrong in its own right.
        made = kind(**{name: value for name, value in values.items() if name not in bad})
    except TypeError:
        if not bad:
            raise
    except BlurvoteError as error:
        named = _named(table, str(error))
        if not bad & set(named):
            _blame(table, str(error), named, problems)
        return BAD
    return BAD if bad else made


def _named(table: Item, said: str) -> list[str]:
    """The keys of `table` that a text names, in its order."""
    found = {key: re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", said) for key in table.value}
    places = {key: match.start() for key, match in found.items() if match}
    return sorted(places, key=places.__getitem__)


def _blame(table: Item, said: str, named: list[str], problems: Problems) -> None:
    """Notes what a dataclass said of its values, at the key that it named first."""
    key = named[0] if named else None
    path = table.value[key].path if key is not None else table.path
    place = dotted(path[:-1] if key is not None else path)
    if place:
        said = f"{place}.{said}" if key is not None and said.startswith(key) else f"{place}: {said}"
    problems.add(path, said)


def read_value(item: Item, hint: Any, problems: Problems, special: Special) -> Any:
    """The value that a field of type `hint` takes; `BAD`, and a problem noted, if there is none."""
    if item.value is BAD:
        return BAD
    if hint in special:
        return special[hint](item)
    origin, value = get_origin(hint), item.value
    if origin in (Union, types.UnionType):
        wanted = [each for each in get_args(hint) if each is not type(None)]
        if len(wanted) != 1:
            raise TypeError(f"a setting cannot be a {hint}")
        return read_value(item, wanted[0], problems, special)
    if is_dataclass(hint):
        if isinstance(value, dict):
            names = [entry.name for entry in fields(hint)]
            problems.unknown(item, names, {})
            return read_table(hint, item, problems, special)  # type: ignore[arg-type]
        problems.wrong(item, "a table")
        return BAD
    if origin is tuple:
        return _read_list(item, get_args(hint), problems, special)
    if origin is Literal:
        choices = get_args(hint)
        # 1 == True, but only one of them is written as 1.
        if any(value == choice and type(value) is type(choice) for choice in choices):
            return value
        *others, last = (json.dumps(choice) for choice in choices)
        problems.wrong(item, f"{', '.join(others)} or {last}" if others else last)
        return BAD
    if hint not in _PLAIN:
        raise TypeError(f"a setting cannot be a {hint}")
    fits, expected = _PLAIN[hint]
    if fits(value):
        return hint(value)
    problems.wrong(item, expected)
    return BAD


_PLAIN: dict[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (lambda value: type(value) is int, "an integer"),
    float: (lambda value: type(value) in (int, float) and math.isfinite(value), "a number"),
    str: (lambda value: isinstance(value, str), "text in quotes"),
}


def _read_list(item: Item, kinds: tuple[Any, ...], problems: Problems, special: Special) -> Any:
    of_any_length = kinds[-1] is Ellipsis
    if not isinstance(item.value, list):
        problems.wrong(item, f"a list, such as [{item.shown()}]")
        return BAD
    if not of_any_length and len(item.value) != len(kinds):
        problems.wrong(item, f"a list of {len(kinds)} values")
        return BAD
    wanted = [kinds[0]] * len(item.value) if of_any_length else kinds
    values = [
        read_value(each, kind, problems, special)
        for each, kind in zip(item.value, wanted, strict=True)
    ]
    return BAD if any(value is BAD for value in values) else tuple(values)
