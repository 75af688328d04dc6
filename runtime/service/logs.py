"""The log of the service, on stderr: lines for people, for the journal, or JSON."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from blurvote.runtime.observation import iso_time
from blurvote.runtime.service.repeats import Repeats

if TYPE_CHECKING:
    from blurvote.runtime.observation import Event, Observation
    from blurvote.runtime.service.settings import LogSettings

    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler  # takes no [TextIO] in Python 3.10

__all__ = ["close_log", "log_event", "log_observation", "set_up_logging"]

_LOGGER = logging.getLogger("blurvote")
_WELL = ("waiting", "connecting", "live", "ended", "stopped", "ok")  # states; others are trouble
# Of syslog, as the journal reads them at the start of a line.
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 10}


def set_up_logging(
    settings: LogSettings,
    stream: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Sends what is logged under the name `blurvote` to `stream`; may be called again.

    Args:
        settings: of the log.
        stream: None for stderr.
        environment: with `JOURNAL_STREAM`, whether stderr is the journal; None for the process's.
    """
    close_log()
    stream = sys.stderr if stream is None else stream
    handler = _Handler(stream, Repeats(settings.every_s))
    in_journal = _is_journal(stream, os.environ if environment is None else environment)
    handler.setFormatter(_JsonLines(in_journal) if settings.format == "json" else _Text(in_journal))
    _LOGGER.addHandler(handler)
    _LOGGER.setLevel(settings.level.upper())
    _LOGGER.propagate = False


def close_log() -> None:
    """Writes what was held back as repeated, and ends the log."""
    for handler in [*_LOGGER.handlers]:
        if isinstance(handler, _Handler):
            handler.write_held()
            _LOGGER.removeHandler(handler)
            handler.close()
            _LOGGER.propagate = True


def log_event(event: Event) -> None:
    """One line about an event; an alarm is an error, trouble a warning, the rest information."""
    _LOGGER.log(_level(event), "%s", event.text, extra={"event": event})


def log_observation(observation: Observation) -> None:
    """One line about a verdict; all of them are written."""
    verdict = observation.verdict
    if verdict.accepted:
        said = f"{verdict.name or verdict.label} {verdict.confidence or 0:.3f}"
    else:
        said = f"rejected, {verdict.reason}"
    _LOGGER.info("#%d %s", verdict.sequence, said, extra={"observation": observation})


def _level(event: Event) -> int:
    data = event.data
    if event.kind == "alarm":
        return logging.INFO if data.get("raised") is False else logging.ERROR
    if event.kind == "error":
        return logging.WARNING
    if event.kind in ("state", "sink"):
        return logging.INFO if data.get("state") in _WELL else logging.WARNING
    if event.kind == "service" and data.get("error"):
        return logging.ERROR
    return logging.INFO


def _is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether the stream is the one that systemd opened: children may have redirected theirs."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _Handler(_StreamHandler):
    """Writes records that are not held back as repeated."""

    def __init__(self, stream: TextIO, repeats: Repeats) -> None:
        super().__init__(stream)
        self._repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "observation"):
            super().emit(record)
            return
        for each in self._repeats.admit(record):
            super().emit(each)

    def write_held(self) -> None:
        for each in self._repeats.flush():
            super().emit(each)

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written (a full disk, a closed stderr) must not end the service."""


class _Text(logging.Formatter):
    """`TIME LEVEL CAMERA: TEXT`; the journal has a time of its own and reads levels as `<4>`."""

    def __init__(self, in_journal: bool) -> None:
        super().__init__()
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        if self._in_journal:
            head = _priority(record)
        else:
            head = f"{iso_time(record.created)} {record.levelname.lower():7} "
        camera = _camera(record)
        text = _text(record).translate(_CONTROL)
        if camera and not text.startswith(camera):
            text = f"{camera}: {text}"
        # With a head on each line, none can pass for an entry of its own.
        return "\n".join(head + line for line in text.split("\n"))


class _JsonLines(logging.Formatter):
    """One JSON object per line: `time`, `level`, `type`, `camera`, `text`, and an event's data."""

    def __init__(self, in_journal: bool) -> None:
        super().__init__()
        self._in_journal = in_journal

    def format(self, record: logging.LogRecord) -> str:
        about = getattr(record, "event", None) or getattr(record, "observation", None)
        data: dict[str, Any] = about.to_dict() if about else {"type": "log", "camera": None}
        head = {"time": iso_time(record.created), "level": record.levelname.lower()}
        line = json.dumps({**data, **head, "text": _text(record)}, default=str)
        return _priority(record) + line if self._in_journal else line


def _text(record: logging.LogRecord) -> str:
    text = record.getMessage()
    if record.exc_info and record.exc_info[0]:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    return text


def _camera(record: logging.LogRecord) -> str | None:
    about = getattr(record, "event", None) or getattr(record, "observation", None)
    return about.camera if about else None


def _priority(record: logging.LogRecord) -> str:
    return next((f"<{code}>" for least, code in _PRIORITIES if record.levelno >= least), "<7>")
