"""Memory over a long run: a guard on frames of changing sizes, for minutes or hours.

    python -m blurvote.benchmarks.latency.memory GUARD [--minutes 5] [--out FOLDER]

Frame sizes change at every call, so that plans come and go; one frame in ten is refused on purpose.
The resident set is read once a second. After the first quarter (warm-up) it must not grow: the
table gives its slope and its range.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.runtime import DefenseError, Guard

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measures and publishes; exit status 1 when memory grew."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("guard", help="guard of kind views")
    parser.add_argument("--minutes", type=float, default=5, help="how long (default: 5)")
    parser.add_argument("--limit", type=float, default=5.0, help="MiB of growth that fails")
    add_output_options(parser)
    args = parser.parse_args()
    results = measure(args.guard, args.minutes * 60)
    text = table(["figure", "value"], [[name, value] for name, value in results.items()])
    publish(args, "memory", results, text)
    sys.exit(int(results["growth_MiB"] > args.limit))


def resident_mib() -> float:
    """The process's resident set, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES / 2**20


def measure(path: str, seconds: float) -> dict[str, Any]:
    """Resident memory while the guard classifies for `seconds`."""
    random = np.random.default_rng(0)
    pool = random.integers(0, 256, (1100, 2000, 3), dtype=np.uint8)
    frames, refused = 0, 0
    samples: list[tuple[float, float]] = []
    with Guard(path, "cpu") as guard:
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < seconds:
            height, width = random.integers(200, 1080), random.integers(200, 1920)
            with contextlib.suppress(DefenseError):
                guard.classify(pool[:height, :width])
            if frames % 10 == 0:
                try:
                    guard.classify(pool[:2, :width])
                except DefenseError:
                    refused += 1
            frames += 1
            if not samples or elapsed - samples[-1][0] >= 1:
                samples.append((elapsed, resident_mib()))
    settled = np.array(samples[len(samples) // 4 :])
    slope = float(np.polyfit(settled[:, 0], settled[:, 1], 1)[0])
    return {
        "frames": frames,
        "refused": refused,
        "seconds": seconds,
        "resident_MiB_at_end": float(settled[-1, 1]),
        "range_MiB": float(np.ptp(settled[:, 1])),
        "slope_MiB_per_hour": slope * 3600,
        "growth_MiB": float(settled[-1, 1] - settled[0, 1]),
    }


if __name__ == "__main__":
    entry(main)
