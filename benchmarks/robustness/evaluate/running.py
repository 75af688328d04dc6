"""What the protocols of `blurvote evaluate` share: a sweep into a journal, and what came of it."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blurvote.benchmarks.robustness.dataset import Dataset, Sample
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.measure import Plan, Variant, measure
from blurvote.benchmarks.robustness.evaluate.score import Answers, Skipped, collect
from blurvote.benchmarks.robustness.journal import Journal
from blurvote.benchmarks.robustness.outputs import guard_facts
from blurvote.benchmarks.robustness.sweep import Progress, sweep
from blurvote.runtime.errors import SourceError
from blurvote.runtime.machine import usable_cores

__all__ = [
    "GREY",
    "Measured",
    "Prepare",
    "made_text",
    "measured",
    "settings_of",
    "skipped_text",
    "status",
]

GREY = "grey"  # why a picture without colours is left out, which is no mistake

Prepare = Callable[[Plan], Callable[[Sample], dict[str, Any]]]


@dataclass(frozen=True)
class Measured:
    """What a sweep gave.

    Attributes:
        groups: name of the degradation, variant, and answers, in the plan's order.
        records: record of every picture that gave answers, by key, in the samples' order; only
            where they were asked for.
        skipped: the other pictures.
    """

    groups: list[tuple[str, Variant, Answers]]
    records: dict[str, dict[str, Any]]
    skipped: list[Skipped]


def measured(
    samples: tuple[Sample, ...],
    plan: Plan,
    journal: Path,
    settings: Mapping[str, Any],
    args: argparse.Namespace,
    prepare: Prepare = measure,
    keep_records: bool = False,
) -> Measured:
    """Runs the plan over the samples that the journal lacks, and collects all answers.

    Args:
        samples: the pictures.
        plan: what is measured; the threads of its engine are chosen here.
        journal: the file of results.
        settings: what these depend on.
        args: `workers`, `fresh` and `json` are read.
        prepare: from the plan to the function from sample to record; a module's function.
        keep_records: also return the records, which hold more than `measure`'s.

    Raises:
        SourceError: no picture could be measured, or the journal is of other settings.
    """
    workers = min(args.workers or usable_cores(), max(1, len(samples)))
    threads = max(1, usable_cores() // workers)
    engine = replace(plan.engine, threads=threads)
    work = functools.partial(prepare, replace(plan, engine=engine))
    order = {sample.key: sample.index for sample in samples}
    records = {}
    with Journal(journal, settings, args.fresh) as results:
        sweep(samples, work, results, workers, Progress("pictures", len(samples), args.json))
        groups, skipped = collect(results.results(), plan, order)
        if keep_records:
            found = {key: result for key, result in results.results() if key in order}
            records = {key: found[key] for key in order if "skipped" not in found[key]}
    if not groups:
        first = f"; the first: {skipped[0].why}" if skipped else ""
        raise SourceError(f"none of {len(samples)} pictures could be measured{first}")
    return Measured(groups, records, skipped)


def settings_of(plan: Plan, guard: Deployed, dataset: Dataset) -> dict[str, Any]:
    """What a journal's results depend on; not how many pictures, so that more can be added."""
    facts = {
        "guard_sha256": guard_facts(guard)["sha256"],
        "dataset_sha256": dataset.fingerprint,
        "degradations": [str(degradation) for degradation in plan.degradations],
        "delivery": plan.degradations[0].delivery,
        "variants": [variant.name for variant in plan.variants],
        "seed": plan.seed,
        "colour_only": plan.colour_only,
        "provider": guard.provider,
        "compute": guard.compute,
        "options": dict(plan.engine.options),
    }
    # Absent where they are not used, so that results of earlier versions can be gone on with.
    if plan.repeats > 1:
        facts["repeats"] = plan.repeats
    if plan.short_side is not None:
        facts["short_side"] = plan.short_side
    return facts


def made_text(plan: Plan) -> str:
    """What else was done to the pictures, to go on with their number."""
    text = ""
    if plan.short_side is not None:
        text = (
            f", resized to a short side of {plan.short_side} px (smaller ones by a bicubic "
            "enlargement, which has hardly any texture of its own: a camera's frames differ)"
        )
    if plan.repeats > 1:
        text += (
            f", {plan.repeats} draws of each random degradation, whose intervals are of the "
            "pictures"
        )
    return text


def skipped_text(skipped: list[Skipped]) -> str:
    """What was left out and why, as Markdown; empty where nothing was."""
    grey = sum(entry.why == GREY for entry in skipped)
    lines = [f"{grey} grey pictures were left out."] if grey else []
    broken = [entry for entry in skipped if entry.why != GREY]
    if broken:
        lines += [f"{len(broken)} pictures could not be measured:", ""]
        lines += [f"- {entry.key}: {entry.why}" for entry in broken]
    return "\n".join(lines)


def status(skipped: list[Skipped]) -> int:
    """Exit status: 1 where pictures could not be measured."""
    return 1 if any(entry.why != GREY for entry in skipped) else 0
