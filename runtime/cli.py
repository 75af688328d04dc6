"""The `blurvote` command line."""

from __future__ import annotations

import argparse
import io
import os
import select
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from typing import TextIO

from blurvote.runtime.command import Command
from blurvote.runtime.commands import build, demo, doctor, info, run, service
from blurvote.runtime.errors import BlurvoteError

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one subcommand; returns the exit status: 0 done, 1 in part, 2 error, 130 Ctrl-C."""
    # OpenCV and FFmpeg would write lines of their own about inputs that we report ourselves.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names and labels may be beyond its encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    args = argparse.Namespace(debug=False)
    try:
        status = _dispatch(argv, args)
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        status = 0
    except KeyboardInterrupt:
        print("blurvote: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except (BlurvoteError, OSError) as error:
        if args.debug:
            raise
        print(f"blurvote: error: {_message(error)}", file=sys.stderr)
        status = USAGE_ERROR
    finally:
        _settle_stdout()
    return status


def _dispatch(argv: Sequence[str] | None, args: argparse.Namespace) -> int:
    """Parses `argv` into `args` and runs what it names."""
    parser, commands = _parser()
    try:
        parser.parse_args(argv, args)
        if args.command is None:
            parser.print_help()
            return USAGE_ERROR
        return commands[args.command].run(args)
    except SystemExit as stop:  # --help, --version or a usage error; argparse has printed it
        return int(stop.code or 0)


def _message(error: BlurvoteError | OSError) -> str:
    if isinstance(error, BlurvoteError):
        return str(error)
    return f"{error.filename or 'the output cannot be written'}: {error.strerror or error}"


def _settle_stdout() -> None:
    """Drops output that cannot be written, else the interpreter fails on it once more at exit."""
    try:
        if sys.stdout is not None:
            if not _takes_more(sys.stdout):
                raise BrokenPipeError
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _takes_more(stream: TextIO) -> bool:
    """Whether a flush would not wait for a reader who has stopped to read."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):  # a stand-in
        return True
    return bool(select.select([], [number], [], 1.0)[1])


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


_BUILT_IN = (
    demo.COMMAND,
    run.COMMAND,
    service.COMMAND,
    build.COMMAND,
    info.COMMAND,
    doctor.COMMAND,
)


def _plugged_in() -> list[Command]:
    """Subcommands of export and benchmarks, which the runtime itself never imports."""
    points = sorted(entry_points(group="blurvote.commands"), key=lambda point: point.name)
    return [point.load() for point in points]


if __name__ == "__main__":
    sys.exit(main())
