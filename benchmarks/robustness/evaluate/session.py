"""One run of `blurvote evaluate`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness import imagenet
from blurvote.benchmarks.robustness.dataset import Dataset, open_dataset
from blurvote.benchmarks.robustness.degradations import NAMES, Delivery, parse_degradations
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate import adaptive_report, report
from blurvote.benchmarks.robustness.evaluate.adaptive_score import AdaptiveRow, score_row
from blurvote.benchmarks.robustness.evaluate.measure import Plan, variants
from blurvote.benchmarks.robustness.evaluate.running import (
    made_text,
    measured,
    settings_of,
    skipped_text,
    status,
)
from blurvote.benchmarks.robustness.evaluate.score import Row, Skipped
from blurvote.benchmarks.robustness.outputs import (
    guard_facts,
    pictures_facts,
    write_json,
    write_text,
)
from blurvote.benchmarks.robustness.sweep import Progress
from blurvote.runtime.engines.arguments import engine_settings
from blurvote.runtime.errors import GuardError, PlanError, SourceError

__all__ = ["SCHEMA", "run"]

SCHEMA = "blurvote.evaluate/1"


def run(args: argparse.Namespace) -> int:
    """Measures, publishes, and returns the exit status."""
    # All at once and at the start: a figure must not fail after hours of measuring.
    require(
        "blurvote evaluate",
        ("scipy", "sklearn", "matplotlib"),
        "scipy scikit-learn matplotlib",
    )
    guard = Deployed(args.guard, engine_settings(args))
    plan = _plan(args, guard)
    if args.protocol == "imagenet-o":
        from blurvote.benchmarks.robustness.evaluate import natural

        return natural.run(args, guard, plan)
    if args.in_distribution is not None:
        raise PlanError(
            f"--in-distribution is for --protocol imagenet-o, but the protocol is {args.protocol}"
        )
    how = None
    if args.smoothing:
        from blurvote.benchmarks.robustness.evaluate import smoothed

        how = smoothed.choose(args, guard)
    dataset = open_dataset(args.dataset, guard.classes, guard.labels)
    _check_subset(dataset, plan)
    samples = dataset.some(args.limit, args.seed)
    folder = Path(args.out) / guard.path.stem
    settings = settings_of(plan, guard, dataset)
    name = "evaluate" if args.protocol == "plain" else args.protocol
    found = measured(samples, plan, folder / f"{name}.jsonl", settings, args)
    skipped = found.skipped
    rows = []
    progress = Progress("scoring", len(found.groups), args.json)
    for n, (label, variant, part) in enumerate(found.groups, 1):
        rows.append(score_row(label, variant.name, part, args.seed))
        progress.update(n)
    progress.close()
    document: dict[str, Any] = {
        "guard": guard_facts(guard),
        "dataset": pictures_facts(dataset) | {"drawn": len(samples)},
        "settings": settings,
        "skipped": skipped,
        "rows": rows,
    }
    text = _text(guard, dataset, plan, rows, skipped)
    if how is not None:
        prefix = "" if name == "evaluate" else f"{name}-"
        journal = folder / f"{prefix}smoothing.jsonl"
        compared = smoothed.run(how, args, guard, dataset, plan, journal)
        document["smoothing"] = compared
        text += "\n" + smoothed.text_of(compared)
    written = write_json(folder / f"{name}.json", SCHEMA, document)
    write_text(folder / f"{name}.md", text)
    print(json.dumps(written, indent=1) if args.json else text)
    if args.protocol == "plain":
        from blurvote.benchmarks.robustness.card import write_card
        from blurvote.benchmarks.robustness.evaluate import figures

        figures.draw(folder, rows, guard, samples, plan)
        write_card(folder)
    print(f"results are in {folder}", file=sys.stderr)
    return status(skipped)


def _plan(args: argparse.Namespace, guard: Deployed) -> Plan:
    delivery: Delivery = "float" if args.float_frames else "8-bit"
    # Natural examples are what they are.
    text = args.degradations or ("gaussian" if args.protocol == "plain" else "gaussian:0")
    wanted = parse_degradations(" ".join(NAMES) if text == "all" else text, delivery)
    own = guard.defense
    if own.adaptive and guard.metadata.kind == "frames":
        guard.refuse_other_views()
    both = (own.antialias, not own.antialias) if args.antialias == "both" else ()
    chosen = variants(own, args.kernels, both)
    if guard.metadata.kind == "frames" and (len(chosen) > 1 or args.float_frames):
        guard.refuse_other_views()
    subset = None
    if args.protocol != "plain":
        if guard.classes != len(imagenet.wnids()):
            raise GuardError(
                f"{guard.path} has {guard.classes} classes; --protocol {args.protocol} needs a "
                f"guard of ImageNet's {len(imagenet.wnids())} classes in torchvision's order"
            )
        letter: imagenet.Subset = "a" if args.protocol == "imagenet-a" else "o"
        subset = tuple(int(index) for index in imagenet.subset(letter))
    engine = engine_settings(args)
    return Plan(
        guard.path,
        engine,
        wanted,
        chosen,
        args.seed,
        args.colour_only,
        subset,
        args.repeats,
        args.short_side,
    )


def _check_subset(dataset: Dataset, plan: Plan) -> None:
    if plan.subset is None:
        return
    strange = next((s for s in dataset.samples if s.label not in plan.subset), None)
    if strange is not None:
        raise SourceError(
            f"{strange.key} is of class {strange.label}, which is none of ImageNet-A's 200; "
            f"give ImageNet-A's own folder, or leave --protocol out"
        )


def _text(
    guard: Deployed, dataset: Dataset, plan: Plan, rows: list[Row], skipped: list[Skipped]
) -> str:
    own = guard.defense.decision != "majority"
    lines = [
        f"# {guard.path.name} on {dataset.name}",
        "",
        f"{rows[0].images} pictures ({dataset.layout}){made_text(plan)}; per cent, with 95 % "
        "intervals. 'No defence, same coverage' keeps as many frames as the majority accepts, "
        "those of largest clean softmax; 'gain' is the majority's accuracy on accepted frames "
        "minus that. ± is the longer arm of an interval; evaluate.json has both ends.",
        "",
    ]
    for variant in dict.fromkeys(row.variant for row in rows):
        part = [row for row in rows if row.variant == variant]
        title = "The guard's own views" if variant == "own" else f"Other views: {variant}"
        lines += [f"## {title}", ""]
        adaptive = [row for row in part if isinstance(row, AdaptiveRow)]
        if adaptive:
            lines += _adaptive(guard, adaptive, own)
        else:
            lines += [report.main_table(part, own), ""]
        if variant == "own" and (published := report.published_table(part)):
            lines += [
                "Sethi (2023), torchvision ResNet50, 975 images, for comparison:",
                "",
                published,
                "",
            ]
        lines += [
            "Area under risk-coverage, x 1000 (smaller is better); beyond what the majority can "
            "accept, the frames it refuses count as wrong:",
            "",
        ]
        lines += [report.areas_table(part), ""]
    lines.append(skipped_text(skipped))
    return "\n".join(lines).rstrip() + "\n"


def _adaptive(guard: Deployed, rows: list[AdaptiveRow], own: bool) -> list[str]:
    return [
        adaptive_report.legend(guard.defense),
        "",
        adaptive_report.decisions_table(rows, own),
        "",
        "Noise as the guard reads it at the frame, RGB in [0, 1]:",
        "",
        adaptive_report.noise_table(rows),
        "",
        "Each view on its own:",
        "",
        adaptive_report.own_views_table(rows, guard.defense),
        "",
    ]
