"""A disk that is full for a while."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from blurvote.benchmarks.soak.outcome import Outcome, Skipped
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.setup import Scenario, Setup
from blurvote.benchmarks.soak.sink_harm import LoggedSink, busy_cameras, harm_sink, sink_checks
from blurvote.runtime.guard import Guard

__all__ = ["SCENARIOS"]


@contextlib.contextmanager
def _small_disk(folder: Path, kib: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        raise Skipped("mounting a small disk (tmpfs) needs root")
    disk = folder / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = getattr(error, "stderr", "") or str(error)
        raise Skipped(f"a small disk (tmpfs) cannot be mounted: {why.strip()}") from None
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def _full_disk(setup: Setup) -> Outcome:
    full_s = 2.0 if setup.short else 8.0
    with contextlib.ExitStack() as stack:
        disk = stack.enter_context(_small_disk(setup.folder, 64 * 1024))
        filler, lines = disk / "filler", disk / "verdicts.jsonl"
        guard = stack.enter_context(Guard(setup.guard, "cpu"))
        sink = LoggedSink()
        broken: list[str] = []
        with Rig(guard, busy_cameras(), [f"logged:{lines}"]) as rig:
            rig.warm_up()

            def fill() -> None:
                with contextlib.suppress(OSError), filler.open("wb") as file:
                    while True:
                        file.write(b"\0" * 4096)
                        file.flush()

            def free() -> None:
                broken.extend(_broken_lines(lines))
                filler.unlink()

            for _ in range(max(1, round(setup.seconds / (full_s + 8.0)))):
                harm_sink(rig, sink, "disk full, freed", fill, free, full_s)
                time.sleep(0.5)
        broken += _broken_lines(lines)
        found = [json.loads(line) for line in lines.read_text().splitlines()]
    verdicts = [line for line in found if line["type"] == "verdict"]
    shot = rig.shot["sinks"][1]
    rig.facts.update({"delivered": shot["delivered"], "dropped": shot["dropped"]})
    rig.facts["lines of verdicts"] = len(verdicts)
    rig.check("every line is whole", not broken, "; ".join(broken[:3]))
    rig.check(
        "as many lines of verdicts as were delivered",
        len(verdicts) == shot["delivered"],
        f"{len(verdicts)} lines, {shot['delivered']} delivered",
    )
    keys = {(line["camera"], line["sequence"]) for line in verdicts}
    rig.check("none is there twice", len(keys) == len(verdicts))
    sink_checks(rig, shot, len(sink.written))
    rig.check("the full disk was told of", any(fault.told for fault in rig.faults))
    did = f"a .jsonl sink on a disk of 64 MiB, which is full for {full_s:g} s and then freed"
    return rig.outcome("full-disk", did)


def _broken_lines(path: Path) -> list[str]:
    """Lines that are not whole, at this moment; the last one may be in the making."""
    data = path.read_bytes()
    whole, _, rest = data.rpartition(b"\n")
    broken = []
    for line in whole.splitlines():
        try:
            json.loads(line)
        except ValueError:
            broken.append(line[:80].decode(errors="replace"))
    if rest:
        time.sleep(0.2)
        if path.read_bytes()[: len(data)] == data and not path.read_bytes()[len(data) :]:
            broken.append(f"half a line of {len(rest)} bytes at the end")
    return broken


SCENARIOS = (
    Scenario("full-disk", "the disk of a JSON lines sink is full for a while", 40.0, _full_disk),
)
