"""`blurvote service`: the systemd unit and the example config file."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from blurvote.runtime.command import Command
from blurvote.runtime.errors import SettingsError

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", metavar="CONFIG", help="config file, in TOML")
    parser.add_argument("--user", metavar="NAME", help="who runs the service (default: you)")
    parser.add_argument(
        "--name", default="blurvote", help="of the unit, without .service (default: blurvote)"
    )
    parser.add_argument(
        "--example-config",
        action="store_true",
        help="print a config file that shows every setting, and no unit",
    )


def _run(args: argparse.Namespace) -> int:
    if args.example_config:
        if args.config is not None:
            raise SettingsError("--example-config takes no CONFIG; leave one of them out")
        print(_example(), end="")
        return 0
    if args.config is None:
        raise SettingsError(
            "no CONFIG given; expected a config file, or --example-config to see one"
        )
    print(_unit(args), end="")
    return 0


def _example() -> str:
    from importlib.resources import files

    package = files("blurvote.runtime.service")
    return package.joinpath("cameras.example.toml").read_text(encoding="utf-8")


def _unit(args: argparse.Namespace) -> str:
    from blurvote.runtime.machine import is_jetson
    from blurvote.runtime.service.config import load_config
    from blurvote.runtime.service.unit import systemd_unit

    environment = _LaterEnvironment(os.environ)
    settings = load_config(args.config, environment)
    config = Path(args.config)
    words = ["blurvote", "service", str(config.absolute()), "--name", args.name]
    words += ["--user", args.user] if args.user else []
    unit = systemd_unit(settings, config, args.name, args.user, shlex.join(words), is_jetson())
    for line in settings.warnings:
        print(f"blurvote: warning: {line}", file=sys.stderr)
    if environment.missing:
        names = ", ".join(sorted(environment.missing))
        print(
            f"blurvote: set {names} in /etc/{args.name}.env before the service starts",
            file=sys.stderr,
        )
    return unit


class _LaterEnvironment(Mapping[str, str]):
    """The environment, with stand-ins for what only the service will have: its secrets."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.missing: set[str] = set()
        self._known = known

    def __getitem__(self, name: str) -> str:
        if name in self._known:
            return self._known[name]
        self.missing.add(name)
        return f"stand-in-for-{name}"

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


COMMAND = Command(
    name="service",
    help="print a systemd unit for a config file",
    description="Checks a config file and prints a systemd unit that runs it on this machine, for "
    "weeks. Exit status: 0 printed, 2 error, with a line for each problem in the config file.",
    examples="""
blurvote service --example-config
blurvote service cameras.toml
blurvote service /etc/blurvote/cameras.toml --user blurvote --name blurvote
""",
    configure=_configure,
    run=_run,
)
