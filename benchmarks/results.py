"""What `blurvote bench` leaves behind: `results.json`, written after every section.

The file is one JSON object:

* `schema`: `"blurvote.bench/1"`;
* `command`: the arguments; `started` (ISO 8601); `seconds` so far; `complete`: false after Ctrl-C
  or an error, with everything that was measured before it;
* `machine`: see `environment.machine`; `method`: the fields of `timing.Method`;
* `guards`: per guard file its `path`, `sha256`, `kind`, `defense`, `source`;
* `rows`: one object per measured way, see `Row`;
* `facts`: section name to whatever it found that is no row: slopes, rates, peaks, memory;
* `skipped`: objects with `section`, `what` and `reason` for everything asked for and not measured.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from blurvote.benchmarks.timing import Measured, Ratio, Timing
from blurvote.runtime.errors import SinkError, SourceError
from blurvote.runtime.whole_file import write_whole

__all__ = ["SCHEMA", "Results", "Row", "rows_of"]

SCHEMA = "blurvote.bench/1"


@dataclass(frozen=True)
class Row:
    """One way of doing something, timed.

    Attributes:
        section: the part of the benchmark, such as `"verdict"`.
        case: what it was done to, such as `"1920x1080"`.
        way: how it was done, such as `"guard, batched"`.
        timing: milliseconds of one call.
        frames: frames that one call serves; throughput is `frames / timing.median`.
        baseline: the way that `ratio` compares with; None where there is none.
        ratio: time over the baseline's, within rounds.
        detail: what else a reader needs: `threads`, `provider`, `plan`, `layout`, `stage_ms`,
            `distribution` (101 percentiles, in ms), ...
    """

    section: str
    case: str
    way: str
    timing: Timing
    frames: int = 1
    baseline: str | None = None
    ratio: Ratio | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """What identifies the same row in two runs."""
        return self.section, self.case, self.way

    @property
    def frames_per_second(self) -> float:
        """Throughput at the median."""
        return 1e3 * self.frames / self.timing.median

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Row:
        """The row that `dataclasses.asdict` described.

        Raises:
            TypeError, KeyError: `values` is nothing that `asdict` returns.
        """
        ratio = values["ratio"]
        return cls(
            **{
                **values,
                "timing": Timing.from_dict(values["timing"]),
                "ratio": None if ratio is None else Ratio(**ratio),
            }
        )


def rows_of(
    section: str,
    case: str,
    measured: Measured,
    baseline: str | None = None,
    frames: Mapping[str, int] | None = None,
    detail: Mapping[str, Mapping[str, Any]] | None = None,
) -> list[Row]:
    """One row per alternative of an interleaved measurement."""
    return [
        Row(
            section,
            case,
            way,
            timing,
            (frames or {}).get(way, 1),
            baseline,
            None if baseline is None else measured.ratio(way, baseline),
            (detail or {}).get(way, {}),
        )
        for way, timing in measured.timings.items()
    ]


@dataclass
class Results:
    """Everything one run found; see the module's docstring for the file."""

    command: Sequence[str]
    machine: Mapping[str, Any]
    method: Mapping[str, Any]
    guards: Sequence[Mapping[str, Any]]
    started: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S%z"))
    seconds: float = 0.0
    complete: bool = False
    rows: list[Row] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def skip(self, section: str, what: str, reason: str) -> None:
        """Notes what was asked for and is not measured, and why."""
        self.skipped.append({"section": section, "what": what, "reason": reason})

    def section(self, name: str, case: str | None = None) -> list[Row]:
        """The rows of a section, of one case or of all."""
        return [row for row in self.rows if row.section == name and case in (None, row.case)]

    def to_dict(self) -> dict[str, Any]:
        """The object of `results.json`."""
        return {"schema": SCHEMA, **asdict(self)}

    def save(self, folder: str | Path) -> Path:
        """Writes `results.json` in one step: a full disk leaves the previous one whole.

        Raises:
            SinkError: it cannot be written.
        """
        file = Path(folder) / "results.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps(self.to_dict(), indent=1) + "\n")
        except OSError as error:
            raise SinkError(f"{file} cannot be written: {error.strerror}") from error
        return file

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """The results that `save` wrote; a folder stands for the file inside.

        Raises:
            SourceError: there is no such file, or it is something else.
        """
        file = Path(path) / "results.json" if Path(path).is_dir() else Path(path)
        try:
            values = json.loads(file.read_text())
        except OSError as error:
            raise SourceError(f"{file} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise SourceError(f"{file} is not JSON ({error}); is it truncated?") from error
        schema = values.get("schema") if isinstance(values, dict) else None
        if schema != SCHEMA:
            raise SourceError(
                f"{file} has schema {schema!r}; expected {SCHEMA!r}, as blurvote bench -o writes it"
            )
        try:
            del values["schema"]
            return cls(**{**values, "rows": [Row.from_dict(row) for row in values["rows"]]})
        except (KeyError, TypeError) as error:
            raise SourceError(f"{file} is no complete result of blurvote bench: {error}") from error
