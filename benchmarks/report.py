"""Tables for people and JSON for machines."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from blurvote.benchmarks.environment import machine
from blurvote.runtime.errors import BlurvoteError, SinkError

__all__ = ["add_output_options", "entry", "publish", "table"]


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """The options that every benchmark shares."""
    parser.add_argument("--out", metavar="FOLDER", help="write the results there as JSON")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def entry(main: Callable[[], None]) -> None:
    """Runs a benchmark's `main` from the command line: mistakes become one line and status 2."""
    try:
        main()
    except BlurvoteError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except ImportError as error:
        print(f"error: {error}; pip install it", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers to the right, text to the left."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(row[k]) for row in [list(headers), *cells]) for k in range(len(headers))]
    right = [
        bool(rows) and all(isinstance(row[k], (int, float)) for row in rows)
        for k in range(len(headers))
    ]

    def line(values: Sequence[str]) -> str:
        padded = [
            value.rjust(width) if r else value.ljust(width)
            for value, width, r in zip(values, widths, right, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    rule = (
        "|"
        + "|".join(
            "-" * (width + 1) + (":" if r else "-") for width, r in zip(widths, right, strict=True)
        )
        + "|"
    )
    return "\n".join([line(list(headers)), rule, *map(line, cells)])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-3 and value else f"{value:.3f}"
    return str(value)


def publish(args: argparse.Namespace, name: str, results: dict[str, Any], text: str) -> None:
    """Prints the results and writes them to `FOLDER/NAME.json` when a folder was named.

    Raises:
        SinkError: the file cannot be written.
    """
    document = {"benchmark": name, "machine": machine(), "results": results}
    print(json.dumps(document, indent=2) if args.json else text)
    if not args.out:
        return
    file = Path(args.out) / f"{name}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, indent=2) + "\n")
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error
    print(f"wrote {file}", file=sys.stderr)
