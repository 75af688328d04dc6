"""One run of `blurvote soak`: a process for each scenario, and what they found."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blurvote.benchmarks.environment import load, machine
from blurvote.benchmarks.soak.catalogue import SCENARIOS
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.report import document, markdown, verdict_line
from blurvote.benchmarks.soak.setup import Scenario
from blurvote.runtime.demo import guard_path
from blurvote.runtime.errors import SinkError, SourceError
from blurvote.runtime.guard import Guard
from blurvote.runtime.whole_file import write_whole

__all__ = ["run", "run_scenario"]

CHECK_FAILED = 1
INTERRUPTED = 130
SHORT_S = 2.0
GOODBYE_S = 30.0  # for a scenario to give everything back after Ctrl-C


def run(args: argparse.Namespace) -> int:
    """Runs the scenarios one after the other; returns the exit status.

    Raises:
        GuardError, SourceError: the guard or the video cannot be used.
        SinkError: the results cannot be written.
    """
    guard = Path(args.guard) if args.guard else guard_path("views")
    with Guard(guard, "cpu"):  # what is wrong with it is told once, and now
        pass
    video = Path(args.video) if args.video else None
    if video is not None and not video.is_file():
        raise SourceError(f"{video} is not a file; expected an MP4 with H.264")
    folder = Path(args.out) if args.out else None
    outcomes: list[Outcome] = []
    averages: dict[str, Any] = {}
    facts = {
        "machine": machine(),
        "guard": guard.name,
        "video": video.name if video else None,
        "load_average_before": averages,
    }
    interrupted = False
    for name in args.scenario:
        scenario = SCENARIOS[name]
        seconds = args.seconds or (SHORT_S if args.short else scenario.seconds)
        print(f"{name}: {scenario.help}", file=sys.stderr, flush=True)
        averages[name] = load()["load_average"]
        try:
            outcome = run_scenario(scenario, guard, seconds, video, args.short)
        except KeyboardInterrupt:
            interrupted = True
            break
        outcomes.append(outcome)
        print(verdict_line(outcome), file=sys.stderr, flush=True)
        if folder is not None:
            _save(folder, facts, outcomes)
    if args.json:
        print(json.dumps(document(facts, outcomes), indent=1))
    else:
        print(markdown(facts, outcomes))
    if interrupted:
        return INTERRUPTED
    return CHECK_FAILED if any(one.status == "failed" for one in outcomes) else 0


def run_scenario(
    scenario: Scenario, guard: Path, seconds: float, video: Path | None, short: bool
) -> Outcome:
    """Runs one scenario in a process of its own.

    Raises:
        KeyboardInterrupt: Ctrl-C; the scenario has given everything back.
    """
    with tempfile.TemporaryDirectory(prefix="blurvote-soak-") as folder:
        out = Path(folder) / "outcome.json"
        command = [sys.executable, "-m", "blurvote.benchmarks.soak.worker", scenario.name, str(out)]
        command += ["--guard", str(guard), "--seconds", str(seconds)]
        command += ["--video", str(video)] if video else []
        command += ["--short"] if short else []
        began = time.monotonic()
        # A session of its own: Ctrl-C reaches it once, from here.
        process = subprocess.Popen(command, start_new_session=True)
        try:
            status = process.wait()
        except BaseException:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GOODBYE_S)
            if process.poll() is None:
                process.kill()
                process.wait()
            raise
        if out.exists():
            return Outcome.from_dict(json.loads(out.read_text()))
    died = f"by signal {-status}" if status < 0 else f"with status {status}"
    return Outcome(
        scenario.name,
        "failed",
        scenario.help,
        f"its process ended {died}",
        time.monotonic() - began,
    )


def _save(folder: Path, facts: Mapping[str, Any], outcomes: list[Outcome]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "soak.json", json.dumps(document(facts, outcomes), indent=1) + "\n")
        write_whole(folder / "soak.md", markdown(facts, outcomes) + "\n")
    except OSError as error:
        raise SinkError(f"{folder}/soak.json cannot be written: {error.strerror}") from error
