"""JSON lines to a file or to stdout."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path

from blurvote.runtime.errors import SinkError
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.sinks.encoding import to_json
from blurvote.runtime.sinks.options import number, parse_options, whole_number
from blurvote.runtime.sinks.sink import SinkContext

__all__ = ["JsonLinesSink", "StdoutSink"]

MB = 1_000_000
LOOK_EVERY_S = 1.0  # for whether logrotate moved the file away
TAIL = 1 << 20  # bytes that a half line at a file's end may have


class JsonLinesSink:
    """Appends one JSON object per line to a file; `write` returns once the system has the line.

    The file holds whole lines only, also after a full disk or a crash in mid-line. A file that
    was moved away or deleted is created anew.

    Args:
        path: its folder is made if missing.
        options: `max_mb=N`: the file is moved to `path.1`, that one to `path.2` and so on, before
            it grows beyond N megabytes; without it the file just grows. `keep=N`: so many moved
            files are kept, 5 unless given; 0 never moves.

    Raises:
        SinkError: it cannot be opened, or the options are wrong.
    """

    holds_pictures = False

    def __init__(self, path: str, options: str = "") -> None:
        given = parse_options(path, options, ("max_mb", "keep"))
        if "keep" in given and "max_mb" not in given:
            raise SinkError(f"{path}: keep needs max_mb, the size at which the file is moved away")
        self._max_bytes = number(path, given, "max_mb", 1.0) * MB if "max_mb" in given else 0.0
        self._keep = whole_number(path, given, "keep", 5, most=1000)
        self._path = Path(path)
        self._fd = -1
        self._identity = (0, 0)
        self._regular = True
        self._looked_at = 0.0
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._refusal(error) from error
        self._open()

    def write(self, observation: Observation) -> None:
        self._append(to_json(observation.to_dict()))

    def tell(self, event: Event) -> None:
        self._append(to_json(event.to_dict()))

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, line: str) -> None:
        data = line.encode() + b"\n"
        try:
            self._look()
            if self._fd < 0:
                self._open()
            size = os.fstat(self._fd).st_size if self._regular else 0
            if self._regular and self._keep and 0 < self._max_bytes < size + len(data) and size:
                self._rotate()
                size = 0
            self._write_whole(data, size)
        except OSError as error:
            raise self._refusal(error) from error

    def _write_whole(self, data: bytes, size: int) -> None:
        written = 0
        try:
            while written < len(data):  # a nearly full disk takes a part, then refuses
                written += os.write(self._fd, data[written:])
        except OSError:
            if written and self._regular:
                os.ftruncate(self._fd, size)
            raise

    def _look(self) -> None:
        """Notices, once a second, that the name no longer is the open file's."""
        now = time.monotonic()
        if self._fd < 0 or not self._regular or now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self.close()
            return
        if (found.st_dev, found.st_ino) != self._identity:
            self.close()

    def _rotate(self) -> None:
        self.close()
        for count in range(self._keep, 0, -1):
            older = self._path if count == 1 else self._numbered(count - 1)
            with contextlib.suppress(FileNotFoundError):
                older.replace(self._numbered(count))
        self._open()

    def _numbered(self, count: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{count}")

    def _open(self) -> None:
        try:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o644)
            found = os.fstat(self._fd)
            self._regular = stat.S_ISREG(found.st_mode)
            if self._regular and found.st_size:
                self._mend(found.st_size)
        except OSError as error:
            self.close()
            raise self._refusal(error) from error
        self._identity = (found.st_dev, found.st_ino)
        self._looked_at = time.monotonic()

    def _mend(self, size: int) -> None:
        """Ends or removes a last line without an end, which a crash left."""
        start = max(0, size - TAIL)
        tail = os.pread(self._fd, size - start, start)
        if tail.endswith(b"\n"):
            return
        line = tail[tail.rfind(b"\n") + 1 :]
        if line.startswith(b"{") and not _is_json(line):
            os.ftruncate(self._fd, size - len(line))
        else:
            os.write(self._fd, b"\n")

    def _refusal(self, error: OSError) -> SinkError:
        return SinkError(f"{self._path} cannot be written: {error.strerror or error}")


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


class StdoutSink:
    """One JSON object per line to stdout, each flushed. A reader that leaves stops the run."""

    holds_pictures = False

    def __init__(self, context: SinkContext) -> None:
        if sys.stdout is None:
            raise SinkError("- writes JSON lines to stdout, which is closed")
        self._context = context
        self._stuck: object = None
        self._reader_left = False

    def write(self, observation: Observation) -> None:
        self._print(observation, to_json(observation.to_dict()))

    def tell(self, event: Event) -> None:
        self._print(event, to_json(event.to_dict()))

    def close(self) -> None:
        """Stdout is not this sink's to close."""

    def _print(self, item: object, line: str) -> None:
        if self._reader_left:
            return
        try:
            if self._stuck is not item:  # else the line still waits in the stream's buffer
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
            self._stuck = None
        except BrokenPipeError:  # as `| head` does: the end, and no error
            self._reader_left = True
            self._context.stop()
        except (OSError, ValueError) as error:
            self._stuck = item
            reason = error.strerror if isinstance(error, OSError) else error
            raise SinkError(f"stdout cannot be written: {reason}") from error
