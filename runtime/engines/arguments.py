"""How command lines ask for an engine: `--provider`, `--compute` and `--option`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import get_args

from blurvote.runtime.engines.protocol import Compute, EngineSettings, OptionValue, Provider

__all__ = ["add_engine_arguments", "engine_settings", "option"]


def add_engine_arguments(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Adds the three; `engine_settings` reads them."""
    group.add_argument(
        "--provider",
        default="auto",
        choices=get_args(Provider),
        help="what runs the graph; auto: CUDA where it works, else ONNX Runtime's CPU",
    )
    group.add_argument(
        "--compute",
        default="fp32",
        choices=get_args(Compute),
        help="arithmetic of the file's float32 operators (default: fp32)",
    )
    group.add_argument(
        "--option",
        dest="options",
        action="append",
        default=[],
        type=option,
        metavar="NAME=VALUE",
        help="a setting of that provider; may be given again",
    )


def engine_settings(
    args: argparse.Namespace, threads: int | None = None, spin: bool = True
) -> EngineSettings:
    """The settings that the arguments ask for.

    Raises:
        ProviderError: they cannot be.
    """
    options: Sequence[tuple[str, OptionValue]] = args.options
    return EngineSettings(args.provider, args.compute, threads, spin, dict(options))


def option(text: str) -> tuple[str, OptionValue]:
    """An argparse type: `NAME=VALUE`; true, false and integers are such, all else is text."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    if value in ("true", "false"):
        return name, value == "true"
    try:
        return name, int(value)
    except ValueError:
        return name, value
