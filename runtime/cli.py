"""The `blurvote` command line."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version

from blurvote.runtime.command import Command
from blurvote.runtime.commands import doctor, info, run
from blurvote.runtime.errors import BlurvoteError

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0 done, 1 in part, 2 error, 130 Ctrl-C."""
    # OpenCV and FFmpeg would write lines of their own about inputs that we report ourselves.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    parser, commands = _parser()
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return USAGE_ERROR
    try:
        status = commands[args.command].run(args)
        sys.stdout.flush()
    except BlurvoteError as error:
        if args.debug:
            raise
        print(f"blurvote: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("blurvote: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if args.debug:
            raise
        print(f"blurvote: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    return status


def _parser() -> tuple[argparse.ArgumentParser, dict[str, Command]]:
    parser = argparse.ArgumentParser(
        prog="blurvote",
        description="Defended image classification at the edge: blurred views, one batched "
        "inference, a majority vote.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"blurvote {version('blurvote')}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands = {}
    for command in (*_BUILT_IN, *_plugged_in()):
        commands[command.name] = command
        examples = "\n".join("  " + line for line in command.examples.strip().splitlines())
        sub = subparsers.add_parser(
            command.name,
            help=command.help,
            description=command.description,
            epilog=f"examples:\n{examples}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        command.configure(sub)
    return parser, commands


_BUILT_IN = (run.COMMAND, info.COMMAND, doctor.COMMAND)


def _plugged_in() -> list[Command]:
    """Subcommands of export and benchmarks, which the runtime itself never imports."""
    points = sorted(entry_points(group="blurvote.commands"), key=lambda point: point.name)
    return [point.load() for point in points]


if __name__ == "__main__":
    sys.exit(main())
