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
from blurvote.benchmarks.robustness.attack.cases import ATTACKS, SWITCH, Case, cases, parse_epsilon
from blurvote.benchmarks.robustness.attack.collected import Collected, Skipped, collect
from blurvote.benchmarks.robustness.attack.comparison import comparison
from blurvote.benchmarks.robustness.attack.doubts import warnings_of
from blurvote.benchmarks.robustness.attack.measure import Job, Plan, measure, start_frame
from blurvote.benchmarks.robustness.attack.score import Row, names, rows
from blurvote.benchmarks.robustness.card import write_card
from blurvote.benchmarks.robustness.dataset import Sample, open_dataset
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
from blurvote.runtime.errors import BlurvoteError, DefenseError, GuardError, SourceError
from blurvote.runtime.machine import usable_cores
from blurvote.runtime.tuning import guard_sha256

__all__ = ["SCHEMA", "Measured", "run"]

SCHEMA = "blurvote.attack/1"
_CHECKED = 8  # frames on which the twin is compared with the guard
_CHECKED_NOISE = 0.25  # on half of them, if there is a noise switch


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
    measured = [_attack(args, Path(guard), wanted) for guard in args.guards]
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


def _of_guard(args: argparse.Namespace, guard: Deployed, wanted: Sequence[Case]) -> list[Case]:
    """The cases that this guard can be asked; without a noise switch there is none to attack."""
    if guard.defense.adaptive:
        return list(wanted)
    named = [name for name in SWITCH if name in args.attack]
    if named:
        raise GuardError(
            f"{guard.path} judges all frames by the same views, so there is no noise switch that "
            f"{named[0]} could attack; leave {' and '.join(named)} out, or export the model with a "
            "denoiser"
        )
    asked = {0.0, *map(_noise, args.noise)}  # evade may have added another
    return [case for case in wanted if case.attack not in SWITCH and case.noise in asked]


def _attack(args: argparse.Namespace, path: Path, wanted: Sequence[Case]) -> Measured:
    guard = Deployed(path, engine_settings(args))
    dataset = open_dataset(args.dataset, guard.classes, guard.labels)
    samples = dataset.some(args.limit, args.seed)
    twin = Path(args.twin) if args.twin else None
    surrogate = Path(args.surrogate) if args.surrogate else None
    _check_guard(guard)
    wanted = _of_guard(args, guard, wanted)
    workers = min(args.workers or usable_cores(), max(1, len(samples)))
    threads = max(1, usable_cores() // workers)
    folder = Path(args.out) / path.stem
    shown = dataset.some(max(1, args.keep), args.seed) if args.keep > 0 else ()
    keep = (frozenset(sample.key for sample in shown), folder / "adversarial")
    engine = engine_settings(args, threads)
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
    jobs = [Job(case, sample) for sample in samples for case in wanted]
    # Before there is a journal of these settings, which the corrected command would not go on with.
    checked = _check_twin(plan, guard, samples)
    notes = _check_surrogate(plan, guard)
    with Journal(folder / "attack.jsonl", settings, args.fresh) as journal:
        progress = Progress(f"{path.stem}: attacks", len(jobs), args.json)
        sweep(jobs, functools.partial(measure, plan), journal, workers, progress)
        found = collect(journal.results(), samples)
    if not found.records:
        first = f"; the first: {found.skipped[0].why}" if found.skipped else ""
        raise SourceError(f"none of {len(samples)} pictures could be attacked{first}")
    table = _table(found)
    warnings = [*warnings_of(table), *checked["doubts"], *notes]
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
    examples.draw(
        folder, guard, [sample for sample in samples if sample in shown], list(found.records)
    )
    write_card(folder)
    summary = report.summary_of(about, table, folder)
    return Measured(path, table, written, about.skipped, summary)


def _table(found: Collected) -> tuple[Row, ...]:
    named = names(list(found.records))
    return tuple(
        row for case, records in found.records.items() for row in rows(case, records, named[case])
    )


def _check_guard(guard: Deployed) -> None:
    """Refuses guards on which the table's columns would not mean what they say."""
    if guard.classes < 2:
        raise GuardError(f"{guard.path} has one class, so that no label can be wrong")
    if guard.metadata.kind == "frames" and (
        guard.defense.decision == "single"
        or 0 not in guard.defense.passes
        or guard.defense.adaptive  # of a noisy frame only the denoised views leave the graph
    ):
        raise GuardError(
            f"{guard.path} does not say what it makes of every clean frame, which the undefended "
            "model is measured on; attack the same model's export with --input views"
        )


def _check_surrogate(plan: Plan, guard: Deployed) -> list[str]:
    """Refuses a surrogate that cannot stand in; returns what is to be known of it."""
    from blurvote.benchmarks.robustness.twin import Twin

    if plan.surrogate is None:
        return []
    if guard_sha256(plan.surrogate) == guard_sha256(plan.guard):
        raise BlurvoteError(f"the surrogate is {plan.guard} itself; transfer needs another model")
    surrogate = Twin.load(plan.surrogate, None, plan.device)
    if surrogate.classes != guard.classes:
        raise GuardError(
            f"the surrogate {plan.surrogate} has {surrogate.classes} classes and {plan.guard} has "
            f"{guard.classes}; transfer needs another model of the same classes"
        )
    differing = [
        n
        for n, (own, other) in enumerate(zip(guard.labels, surrogate.labels, strict=False))
        if own.split(",")[0].strip().casefold() != other.split(",")[0].strip().casefold()
    ]
    if not differing:
        return []
    first = differing[0]
    return [
        f"The surrogate {plan.surrogate.name} calls {len(differing)} of {guard.classes} classes by "
        f"other names (class {first} is {surrogate.labels[first]!r}, not {guard.labels[first]!r}). "
        f"If they mean other things, the transfer rows say nothing."
    ]


def _check_twin(plan: Plan, guard: Deployed, samples: Sequence[Sample]) -> dict[str, Any]:
    """Refuses a twin that answers otherwise than the guard; returns how they compare."""
    from dataclasses import asdict

    from blurvote.benchmarks.robustness.twin import Twin
    from blurvote.benchmarks.robustness.twin_check import check_twin, require_likeness

    twin = Twin.load(plan.guard, plan.twin, plan.device)
    frames: list[Any] = []
    for sample in samples:
        if len(frames) >= _CHECKED:
            break
        try:
            pixels = sample.read()
            guard.logits(pixels)
        except (SourceError, DefenseError):
            continue  # listed by the run itself
        frames.append(pixels)
        if guard.defense.adaptive:  # so that both sets of views are compared
            noise = Case("none", "none", 0.0, noise=_CHECKED_NOISE)
            frames.append(start_frame(plan.seed, noise, sample))
    check = check_twin(twin, guard, frames)
    doubts = require_likeness(check, twin, guard) if frames else []  # else the run says why
    words = check.in_words()
    if check.quantised:
        words = f"of the fp32 twin {twin.path.name}, not of the int8 guard itself; {words}"
    elif plan.twin:
        words = f"of {twin.path.name}; {words}"
    return asdict(check) | {"words": words, "file": twin.path.name, "doubts": doubts}
