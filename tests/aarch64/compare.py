"""Compares what two machines say of the same pictures: two files by `blurvote run --out X.jsonl`.

    python tests/aarch64/compare.py here.jsonl there.jsonl

Labels, reasons of rejection and every view's vote must be equal, confidences within CONFIDENCE.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Float32 sums in another order: 1.1e-6 was the most seen between AVX-512 and NEON. (Integer kernels
# may round to another step on another processor; a guard that has them needs another limit.)
CONFIDENCE = 1e-4


def read(path: str) -> dict[str, dict[str, Any]]:
    """Verdicts by the picture's name."""
    records = map(json.loads, Path(path).read_text().splitlines())
    return {
        Path(record["source"]).name: record for record in records if record["type"] == "verdict"
    }


def main(here_file: str, there_file: str) -> int:
    here, there = read(here_file), read(there_file)
    if not here or here.keys() != there.keys():
        print(f"not the same pictures: {len(here)} here, {len(there)} there")
        return 1
    differing = 0
    largest = 0.0
    for name, mine in here.items():
        other = there[name]
        for field in ("label", "reason", "view_labels"):
            if mine[field] != other[field]:
                print(f"{name}: {field} {mine[field]} here, {other[field]} there")
                differing += 1
        if mine["confidence"] is not None and other["confidence"] is not None:
            largest = max(largest, abs(mine["confidence"] - other["confidence"]))
    accepted = sum(record["label"] is not None for record in here.values())
    print(
        f"{len(here)} pictures ({accepted} accepted): {differing} differing labels, reasons or "
        f"votes; confidences differ by at most {largest:.1e}"
    )
    return int(differing > 0 or largest > CONFIDENCE)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
