"""Results of a long run, written as they come and taken up again after an interruption.

A journal is a file of JSON lines: first the settings, then one line per item. A run killed at any
moment loses at most the line it was writing; the same command goes on where it stopped, and other
settings are refused instead of being mixed in.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from blurvote.runtime.errors import SinkError, SourceError

__all__ = ["Journal"]

SCHEMA = "blurvote.journal/1"
REVISION = 2  # of the lab: raised by every change that alters what is measured
_START = json.dumps({"schema": SCHEMA}).encode()[:-1]


class Journal:
    """The journal of one run.

    Args:
        path: the file; its folder is made.
        settings: what the results depend on, as JSON values. A journal of other settings is not
            continued.
        fresh: start over, whatever is there.

    Attributes:
        path: the file.
        done: keys of the items that it already holds.

    Raises:
        SourceError: the file is not a journal, is damaged, or is of other settings.
        SinkError: it cannot be written, or another run is writing it.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], fresh: bool = False) -> None:
        self.path = path
        self.done: set[str] = set()
        # As JSON gives it back: tuples are lists then.
        self._settings = json.loads(json.dumps({**settings, "lab_revision": REVISION}))
        self._end = 0  # bytes in whole lines
        if path.exists() and not path.is_file():  # a device could be read for ever
            raise SinkError(f"{path} cannot be written: it is no file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Not truncated by opening: what is there may be another run's, or no journal.
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise SinkError(f"{path} cannot be written: {error.strerror}") from error
        # Unbuffered: a line that did not fit on the disk must not be tried again on closing.
        self._file = os.fdopen(handle, "r+b", buffering=0)
        try:
            self._lock()
            if not fresh:
                self._continue()
            if self._end:
                self._cut()
            else:
                self._file.truncate(0)
                self._write({"schema": SCHEMA, "settings": self._settings})
        except BaseException:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keeps a second run of the same command from writing between this one's lines."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SinkError(
                f"{self.path} is being written by another run; wait for it, or choose another "
                "folder with -o"
            ) from None
        except OSError:
            return  # a network disk without locks

    def _continue(self) -> None:
        """Reads what is there."""
        for n, (entry, size) in enumerate(_entries(self.path)):
            if n == 0:
                self._compare(entry)
            elif not _skipped(entry["result"]):  # what failed once may do now
                self.done.add(entry["key"])
            self._end += size
        if not self._end:
            with self.path.open("rb") as file:
                start = file.read(len(_START))
            if not _START.startswith(start):  # not even the beginning of a first line
                self._refuse()

    def _cut(self) -> None:
        """Cuts off what follows the last whole line."""
        self._file.truncate(self._end)
        self._file.seek(self._end)

    def _refuse(self) -> None:
        raise SourceError(
            f"{self.path} is not a journal of this blurvote; choose another folder with -o"
        )

    def _compare(self, header: Any) -> None:
        if header.get("schema") != SCHEMA or not isinstance(header.get("settings"), dict):
            self._refuse()
        before = header["settings"]
        names = sorted(
            name
            for name in before.keys() | self._settings.keys()
            if before.get(name) != self._settings.get(name)
        )
        if names:
            changes = "; ".join(
                f"{name} was {_short(before.get(name))}, is {_short(self._settings.get(name))}"
                for name in names
            )
            raise SourceError(
                f"{self.path} holds results of other settings ({changes}); choose another folder "
                f"with -o, or start over with --fresh"
            )

    def add(self, key: str, result: Any) -> None:
        """Appends one item's result.

        Raises:
            SinkError: the disk is full or the file is gone; what was written before is whole.
        """
        self._write({"key": key, "result": result})
        self.done.add(key)

    def _write(self, entry: Mapping[str, Any]) -> None:
        line = json.dumps(entry).encode() + b"\n"
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            self._end += len(line)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise SinkError(
                f"{self.path} cannot be written: {os.strerror(error.errno or 0)}; its "
                f"{len(self.done)} results are kept. Make room and run the same command again"
            ) from error

    def results(self) -> Iterator[tuple[str, Any]]:
        """Key and result of every item, read from the file one by one.

        What was skipped comes last, and only where no later run did better.
        """
        skipped = {}
        for n, (entry, _) in enumerate(_entries(self.path)):
            if n and _skipped(entry["result"]):
                skipped[entry["key"]] = entry["result"]
            elif n:
                skipped.pop(entry["key"], None)
                yield entry["key"], entry["result"]
        yield from skipped.items()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _entries(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each whole line with its size in bytes; a last line that was cut off is left out."""
    with path.open("rb") as file:
        for n, line in enumerate(file):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
                if n and not (isinstance(entry, dict) and entry.keys() >= {"key", "result"}):
                    raise ValueError("no key and result")
            except ValueError as error:
                if n == 0:
                    entry = {}
                else:
                    raise SourceError(
                        f"{path}, line {n + 1} is damaged ({error}); start over with --fresh"
                    ) from None
            yield entry if isinstance(entry, dict) else {}, len(line)


def _skipped(result: Any) -> bool:
    return isinstance(result, dict) and "skipped" in result


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
