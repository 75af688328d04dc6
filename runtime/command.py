"""What a subcommand of `blurvote` is.

Packages outside the runtime offer theirs in the entry-point group `blurvote.commands`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Command", "natural", "positive_float", "positive_int"]


@dataclass(frozen=True)
class Command:
    """One subcommand.

    Attributes:
        name: as typed.
        help: one line for the list of subcommands.
        description: what it does, for its own `--help`.
        examples: command lines to copy, one a line.
        configure: adds the arguments; must not import heavy packages, so that `--help` is instant.
        run: does the work and returns the exit status.
    """

    name: str
    help: str
    description: str
    examples: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def natural(text: str) -> int:
    """An argparse type: an integer from 0 on, such as a seed."""
    if not (text.isascii() and text.isdecimal() and int(text) < 2**31):
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer from 0 on")
    return int(text)


def positive_int(text: str) -> int:
    """An argparse type: an integer of at least 1."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least 1")
    return value


def positive_float(text: str) -> float:
    """An argparse type: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return value
