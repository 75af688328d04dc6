"""What `nvidia-smi` says of each GPU: clocks, power, heat and the modes that change its speed."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

__all__ = ["ask", "gpus", "parse", "stop"]

# Field of nvidia-smi (see `nvidia-smi --help-query-gpu`) to key; a key with a unit is a number.
_FIELDS = {
    "name": "name",
    "driver_version": "driver",
    "memory.total": "memory_total_mib",
    "memory.used": "memory_used_mib",
    "clocks.sm": "clock_sm_mhz",
    "clocks.mem": "clock_memory_mhz",
    "clocks.max.sm": "clock_sm_max_mhz",
    "clocks.max.mem": "clock_memory_max_mhz",
    "pstate": "pstate",
    "power.draw": "power_w",
    "power.limit": "power_limit_w",
    "temperature.gpu": "temperature_c",
    "ecc.mode.current": "ecc",
    "mig.mode.current": "mig",
    "persistence_mode": "persistence",
}
_UNITS = ("_mib", "_mhz", "_w", "_c")
_UNKNOWN_FIELD = re.compile(r'Field "([^"]+)" is not a valid field')


def gpus(timeout_s: float = 10.0) -> list[dict[str, Any]]:
    """One dictionary per GPU, with None for what this GPU or driver does not tell.

    Empty where there is no `nvidia-smi`, no GPU, or no answer within `timeout_s` seconds.
    """
    fields = list(_FIELDS)
    while fields:
        query = f"--query-gpu={','.join(fields)}"
        text = ask(["nvidia-smi", query, "--format=csv,noheader,nounits"], timeout_s)
        if text is None:
            return []
        # An old driver refuses the whole query for one field that it does not know.
        unknown = _UNKNOWN_FIELD.search(text)
        if unknown is None or unknown[1] not in fields:
            return parse(text, fields)
        fields.remove(unknown[1])
    return []


def parse(text: str, fields: Sequence[str] = tuple(_FIELDS)) -> list[dict[str, Any]]:
    """Reads the answer to `--query-gpu=FIELDS --format=csv,noheader,nounits`.

    Lines that do not have one value per field, such as "No devices were found", are left out.
    """
    rows = csv.reader(text.splitlines(), skipinitialspace=True)
    return [
        dict.fromkeys(_FIELDS.values())
        | {
            _FIELDS[field]: _value(_FIELDS[field], cell.strip())
            for field, cell in zip(fields, row, strict=True)
        }
        for row in rows
        if len(row) == len(fields)
    ]


def _value(key: str, cell: str) -> str | float | None:
    # "[N/A]", "[Not Supported]", "[Unknown Error]": brackets mark whatever is no value.
    if not cell or cell == "N/A" or cell.startswith("["):
        return None
    if not key.endswith(_UNITS):
        return cell
    try:
        return float(cell)
    except ValueError:
        return None


def ask(command: Sequence[str], timeout_s: float = 10.0) -> str | None:
    """What a command prints to its standard output; None when it is absent or does not answer.

    It returns soon after `timeout_s` seconds even if a hung driver keeps the command in the kernel,
    where it cannot be killed: `subprocess.run` would wait for its end.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        return process.communicate(timeout=timeout_s)[0]
    except subprocess.TimeoutExpired:
        return None
    finally:
        stop(process)
        if process.stdout is not None:
            process.stdout.close()


def stop(process: subprocess.Popen[str]) -> None:
    """Ends a process that leads its own session, with its children, and reaps it."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=2.0)
