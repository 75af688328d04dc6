"""One scenario in a process of its own: `python -m blurvote.benchmarks.soak.worker NAME OUT ...`.

So that memory figures are its own, and a crash ends nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

from blurvote.benchmarks.soak.outcome import Outcome, Skipped
from blurvote.runtime.whole_file import write_whole

__all__ = ["main"]

INTERRUPTED = 130


def main() -> int:
    """Runs it and writes its outcome."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("out", type=Path)
    parser.add_argument("--guard", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--short", action="store_true")
    args = parser.parse_args()
    # Under nohup it is ignored, and the service that is told to reload by it would inherit that.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with tempfile.TemporaryDirectory(prefix="blurvote-soak-") as folder:
            outcome = _run(args, Path(folder))
    except KeyboardInterrupt:
        return INTERRUPTED
    write_whole(args.out, json.dumps(outcome.to_dict()))
    return 0


def _run(args: argparse.Namespace, folder: Path) -> Outcome:
    from blurvote.benchmarks.soak.catalogue import SCENARIOS
    from blurvote.benchmarks.soak.setup import Setup

    scenario = SCENARIOS[args.name]
    setup = Setup(args.guard, args.seconds, folder, args.video, args.short)
    try:
        return scenario.run(setup)
    except Skipped as why:
        return Outcome(args.name, "skipped", scenario.help, str(why))
    except Exception as error:
        traceback.print_exc()
        return Outcome(args.name, "failed", scenario.help, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
