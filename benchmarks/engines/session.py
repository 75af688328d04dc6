"""One run of `blurvote engines`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from blurvote.benchmarks import environment
from blurvote.benchmarks.engines import report
from blurvote.benchmarks.engines.accuracy import Accuracy, judge
from blurvote.benchmarks.engines.candidates import Candidate, candidates, describe, parse_engine
from blurvote.benchmarks.engines.latency import Latency, time_all
from blurvote.benchmarks.latency.pictures import Pictures
from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.dataset import Dataset, open_dataset
from blurvote.benchmarks.robustness.degradations import parse_degradations
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.outputs import pictures_facts, write_json, write_text
from blurvote.benchmarks.timing import Method
from blurvote.runtime.errors import SourceError
from blurvote.runtime.tuning import guard_sha256

__all__ = ["SCHEMA", "run"]

SCHEMA = "blurvote.engines/1"
_TIMED = 12  # frames to find one on which all agree, and one on which they differ


def run(args: argparse.Namespace) -> int:
    """Measures, writes, prints, and returns the exit status.

    Raises:
        BlurvoteError: files that cannot be compared, an engine that was asked for and is not here,
            pictures that cannot be read, or results that cannot be written.
    """
    if args.no_times and args.truth is None:
        raise SourceError("--no-times leaves nothing to measure; give labelled pictures (--truth)")
    if args.truth:
        require("accuracies", ("scipy", "sklearn", "matplotlib"), "scipy scikit-learn matplotlib")
    models = describe(args.guards)
    wanted = None if args.engines is None else [parse_engine(name) for name in args.engines]
    skipped: list[tuple[str, str]] = []
    chosen = list(candidates(models, wanted, args.threads, skipped))
    dataset = None
    if args.truth:
        guard = Deployed(chosen[0].model.path, chosen[0].settings(1))
        dataset = open_dataset(args.truth, guard.classes, guard.labels)
        guard.close()
    missing = len(skipped)  # engines that are not here were not asked for
    folder = Path(args.out) / "engines" / chosen[0].model.path.stem
    # First what needs a machine to itself; nothing is lost if the rest is interrupted.
    latency = None if args.no_times else _timed(args, chosen, skipped)
    accuracies: dict[str, list[Accuracy]] = {}
    _publish(folder, args, chosen, latency, accuracies, skipped, None)
    if dataset is not None:
        degradations = parse_degradations(args.degradations)
        accuracies = judge(chosen, dataset, degradations, folder, args)
        _publish(folder, args, chosen, latency, accuracies, skipped, dataset)
        if latency is not None:
            from blurvote.benchmarks.engines.figure import draw

            draw(folder / "engines.png", chosen, latency, accuracies)
    document = (folder / "engines.json").read_text()
    print(document if args.json else report.text(chosen, latency, accuracies, skipped))
    print(f"results are in {folder}", file=sys.stderr)
    return 1 if len(skipped) > missing else 0


def _timed(
    args: argparse.Namespace, chosen: list[Candidate], skipped: list[tuple[str, str]]
) -> Latency:
    for warning in environment.warnings(environment.machine()):
        print(f"warning: {warning}", file=sys.stderr)
    height, width = args.frame_size
    frames = Pictures(args.images, _TIMED).frames(height, width, _TIMED)

    def skip(name: str, why: str) -> None:
        skipped.append((name, why))

    def say(text: str) -> None:
        print(f"... {text}", file=sys.stderr, flush=True)

    against = not args.no_peers
    # Many alternatives in a round: longer windows, so that each gets several turns in one.
    method = Method(window_s=30.0, budget_s=240.0, max_windows=6)
    return time_all(chosen, frames, args.threads, against, method, say, skip)


def _publish(
    folder: Path,
    args: argparse.Namespace,
    chosen: list[Candidate],
    latency: Latency | None,
    accuracies: dict[str, list[Accuracy]],
    skipped: list[tuple[str, str]],
    dataset: Dataset | None,
) -> None:
    document: dict[str, Any] = {
        "command": sys.argv[1:],
        "guards": {
            path.name: {"sha256": guard_sha256(path), "bytes": path.stat().st_size}
            for path in dict.fromkeys(candidate.model.path for candidate in chosen)
        },
        "candidates": [
            {
                "name": c.name,
                "file": c.model.path.name,
                "provider": c.provider,
                "compute": c.compute,
            }
            for c in chosen
        ],
        "dataset": None if dataset is None else pictures_facts(dataset),
        "latency": latency,
        "accuracies": accuracies,
        "skipped": dict(skipped),
    }
    write_json(folder / "engines.json", SCHEMA, document)
    write_text(folder / "engines.md", report.text(chosen, latency, accuracies, skipped))
