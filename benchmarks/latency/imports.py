"""What `import blurvote.runtime` costs over the numpy and onnxruntime that it needs anyway.

    python -m blurvote.benchmarks.latency.imports [--out FOLDER]

Fresh processes in turn. The first round warms the file cache and is not counted.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.benchmarks.timing import Timing, summarise

PROGRAMS = {
    "nothing": "pass",
    "numpy, onnxruntime": "import numpy, onnxruntime",
    "numpy, onnxruntime, blurvote.runtime": "import numpy, onnxruntime, blurvote.runtime",
    "blurvote.runtime": "import blurvote.runtime",
}
BODY = "import time; started = time.perf_counter(); {}; print(time.perf_counter() - started)"


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="processes of each kind")
    add_output_options(parser)
    args = parser.parse_args()
    times = measure(args.rounds)
    extra = (
        times["numpy, onnxruntime, blurvote.runtime"].median - times["numpy, onnxruntime"].median
    )
    rows = [[name, timing.median, timing.p25, timing.p75] for name, timing in times.items()]
    text = table(["imported", "median ms", "p25", "p75"], rows)
    text += f"\nblurvote.runtime adds {extra:.1f} ms"
    results = {name: timing.to_dict() for name, timing in times.items()}
    publish(args, "imports", {"milliseconds": results, "added_ms": extra}, text)


def measure(rounds: int) -> dict[str, Timing]:
    """Import times in milliseconds, one process each, all kinds in turn."""
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for turn in range(rounds + 1):
        for name, program in PROGRAMS.items():
            command = [sys.executable, "-c", BODY.format(program)]
            printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            if turn:
                times[name].append(float(printed) * 1e3)
    return {name: summarise(values) for name, values in times.items()}


if __name__ == "__main__":
    entry(main)
