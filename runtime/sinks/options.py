"""Options of a sink, as `name?key=value&key=value`."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from urllib.parse import unquote

from blurvote.runtime.errors import SinkError

__all__ = ["number", "parse_options", "split_options", "whole_number"]

_TAIL = re.compile(r"\?(\w+=[^?&]*(?:&\w+=[^?&]*)*)$")


def split_options(name: str) -> tuple[str, str]:
    """A name, and the options at its end or "".

    Only an end like `?key=value` counts: `what?.jsonl` is a name like any other.
    """
    found = _TAIL.search(name)
    return (name[: found.start()], found[1]) if found else (name, "")


def parse_options(sink: str, text: str, known: tuple[str, ...]) -> dict[str, str]:
    """`key=value&...` as a dictionary.

    Raises:
        SinkError: a key that is not `known`, or given twice.
    """
    options: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        key, _, value = part.partition("=")
        if key not in known:
            offer = ", ".join(known) if known else "none"
            raise SinkError(f"{sink} has no option {key!r}; its options: {offer}")
        if key in options:
            raise SinkError(f"{sink}: the option {key!r} is given twice")
        options[key] = unquote(value)
    return options


def number(sink: str, options: Mapping[str, str], key: str, default: float) -> float:
    """The option `key`, a number above 0.

    Raises:
        SinkError: it is none.
    """
    try:
        value = float(options.get(key, default))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise SinkError(f"{sink}: {key} is {options[key]!r}; expected a number above 0")
    return value


def whole_number(
    sink: str, options: Mapping[str, str], key: str, default: int, most: int = 10**9
) -> int:
    """The option `key`, an integer from 0 to `most`.

    Raises:
        SinkError: it is none.
    """
    text = options.get(key, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= most):
        raise SinkError(f"{sink}: {key} is {text!r}; expected an integer from 0 to {most}")
    return int(text)
