"""One run of `blurvote attack`."""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.attack import examples, figures, report
from blurvote.benchmarks.robustness.attack.cases import ATTACKS, Case, cases, parse_epsilon
from blurvote.benchmarks.robustness.attack.checks import (
    cases_of_guard,
    check_guard,
    check_surrogate,
    check_twin,
)
from blurvote.benchmarks.robustness.attack.collected import Collected, Skipped, collect
from blurvote.benchmarks.robustness.attack.comparison import comparison
from blurvote.benchmarks.robustness.attack.doubts import warnings_of
from blurvote.benchmarks.robustness.attack.measure import Job, Plan, measure
from blurvote.benchmarks.robustness.attack.score import Row, names, rows
from blurvote.benchmarks.robustness.card import write_card
from blurvote.benchmarks.robustness.dataset import Dataset, Sample, open_dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.journal import Journal
from blurvote.benchmarks.robustness.outputs import (
    guard_facts,
    pictures_facts,
    write_json,
    write_text,
)
from blurvote.benchmarks.robustness.sweep import Progress, sweep
from blurvote.runtime.engines.arguments import engine_settings
from blurvote.runtime.errors import BlurvoteError, SourceError
from blurvote.runtime.machine import usable_cores
from blurvote.runtime.tuning import guard_sha256

__all__ = ["SCHEMA", "Measured", "run"]

SCHEMA = "blurvote.attack/1"
_JOURNAL = "attack.jsonl"


@dataclass(frozen=True)
class Measured:
    """One guard's results.

    Attributes:
        guard: its file.
        rows: of the table.
        document: all of it, as written.
        skipped: pictures that gave no answer.
        summary: for the terminal; the whole report is in `attack.md`.
    """

    guard: Path
    rows: tuple[Row, ...]
    document: dict[str, Any]
    skipped: tuple[Skipped, ...]
    summary: str


@dataclass(frozen=True)
class _Prepared:
    """A guard that may be attacked.

    Attributes:
        guard: loaded.
        dataset, samples: the pictures, and those that are drawn.
        cases: what is run on each.
        plan: for the workers, of whom there are so many.
        settings: that results depend on.
        checked, notes: what the checks of its twin and its surrogate found.
    """

    guard: Deployed
    dataset: Dataset
    samples: Sequence[Sample]
    cases: list[Case]
    plan: Plan
    workers: int
    settings: dict[str, Any]
    checked: dict[str, Any]
    notes: list[str]


def run(args: argparse.Namespace) -> int:
    """Attacks every guard, publishes, and returns the exit status."""
    require(
        "blurvote attack",
        ("torch", "onnx", "onnx2torch", "scipy", "matplotlib"),
        "torch onnx onnx2torch scipy matplotlib",
    )
    wanted = _cases(args)
    stems = [Path(guard).stem for guard in args.guards]
    if len(set(stems)) < len(stems):
        raise BlurvoteError("two guards have the same file name, which names their results; rename")
    # All before the first attack, which takes hours that a late refusal would lose.
    prepared = [_prepared(args, Path(guard), wanted) for guard in args.guards]
    measured = [_attack(args, one) for one in prepared]
    if args.json:
        print(json.dumps([one.document for one in measured], indent=1))
    else:
        print("\n".join(one.summary for one in measured))
    if len(measured) > 1:
        by_guard = {one.guard.stem: one.rows for one in measured}
        write_text(Path(args.out) / "comparison.md", comparison(by_guard))
        figures.draw_comparison(Path(args.out), by_guard)
        if not args.json:
            print(comparison(by_guard, measures=1))
    print(f"results are in {args.out}", file=sys.stderr)
    return 1 if any(one.skipped for one in measured) else 0


def _cases(args: argparse.Namespace) -> tuple[Case, ...]:
    attacks = tuple(ATTACKS) if args.attack == ("all",) else args.attack
    threats = args.threats
    if threats is None:
        threats = ("grey-box", "adaptive") + ("transfer",) * bool(args.surrogate)
    if "transfer" in threats and not args.surrogate:
        raise BlurvoteError("transfer needs another model: --surrogate GUARD")
    return cases(
        attacks,
        threats,
        [parse_epsilon(text) for text in args.epsilon],
        [parse_epsilon(text) for text in args.epsilon_l2],
        args.steps,
        args.restarts,
        args.targeted,
        args.queries,
        (Path(args.surrogate).stem, guard_sha256(args.surrogate)[:8]) if args.surrogate else None,
        [_noise(text) for text in args.noise],
    )


def _noise(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise BlurvoteError(f"noise {text!r} is no number from 0 to 1; expected such as 0.06")
    return value


def _prepared(args: argparse.Namespace, path: Path, wanted: Sequence[Case]) -> _Prepared:
    """Refuses what cannot be attacked as asked.

    Without a journal, which would stand in the corrected command's way; but one that is there must
    be of these settings.
    """
    guard = Deployed(path, engine_settings(args))
    dataset = open_dataset(args.dataset, guard.classes, guard.labels)
    samples = dataset.some(args.limit, args.seed)
    twin = Path(args.twin) if args.twin else None
    surrogate = Path(args.surrogate) if args.surrogate else None
    check_guard(guard)
    mine = cases_of_guard(guard, wanted, args.attack, [_noise(text) for text in args.noise])
    workers = min(args.workers or usable_cores(), max(1, len(samples)))
    engine = engine_settings(args, max(1, usable_cores() // workers))
    shown = dataset.some(max(1, args.keep), args.seed) if args.keep > 0 else ()
    keep = (frozenset(sample.key for sample in shown), _folder(args, path) / "adversarial")
    plan = Plan(path, twin, surrogate, engine, args.device, args.seed, keep)
    settings = {
        "guard_sha256": guard_sha256(path),
        "twin_sha256": guard_sha256(twin) if twin else None,
        "dataset_sha256": dataset.fingerprint,
        "seed": args.seed,
        "provider": guard.provider,
        "compute": guard.compute,
        "options": dict(engine.options),
        "device": args.device,
    }
    checked = check_twin(plan, guard, samples)
    notes = check_surrogate(plan, guard)
    journal = _folder(args, path) / _JOURNAL
    if journal.exists() and not args.fresh:
        with Journal(journal, settings):
            pass
    return _Prepared(guard, dataset, samples, mine, plan, workers, settings, checked, notes)


def _folder(args: argparse.Namespace, guard: Path) -> Path:
    return Path(args.out) / guard.stem


def _attack(args: argparse.Namespace, prepared: _Prepared) -> Measured:
    guard, dataset, samples = prepared.guard, prepared.dataset, prepared.samples
    plan, settings, checked = prepared.plan, prepared.settings, prepared.checked
    path = plan.guard
    folder = _folder(args, path)
    jobs = [Job(case, sample) for sample in samples for case in prepared.cases]
    with Journal(folder / _JOURNAL, settings, args.fresh) as journal:
        progress = Progress(f"{path.stem}: attacks", len(jobs), args.json)
        sweep(jobs, functools.partial(measure, plan), journal, prepared.workers, progress)
        found = collect(journal.results(), samples)
    if not found.records:
        first = f"; the first: {found.skipped[0].why}" if found.skipped else ""
        raise SourceError(f"none of {len(samples)} pictures could be attacked{first}")
    table = _table(found)
    warnings = [*warnings_of(table), *checked["doubts"], *prepared.notes]
    document = {
        "guard": guard_facts(guard),
        "dataset": pictures_facts(dataset) | {"drawn": len(samples)},
        "settings": settings,
        "twin": checked,
        "skipped": found.skipped,
        "partial": found.partial,
        "rows": table,
        "warnings": warnings,
    }
    about = report.About(
        path.name, dataset, checked["words"], tuple(warnings), tuple(found.skipped), found.partial
    )
    written = write_json(folder / "attack.json", SCHEMA, document)
    write_text(folder / "attack.md", report.text_of(about, table))
    figures.draw(folder, table)
    kept = [sample for sample in samples if plan.keep and sample.key in plan.keep[0]]
    examples.draw(folder, guard, kept, list(found.records), args.seed)
    write_card(folder)
    summary = report.summary_of(about, table, folder)
    return Measured(path, table, written, about.skipped, summary)


def _table(found: Collected) -> tuple[Row, ...]:
    named = names(list(found.records))
    return tuple(
        row for case, records in found.records.items() for row in rows(case, records, named[case])
    )
