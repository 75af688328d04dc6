"""`--protocol imagenet-o`: are pictures of no class told apart from pictures of known ones?

Hendrycks et al. (2021, *Natural Adversarial Examples*, arXiv 1907.07174): an anomaly score of every
picture, and the area under the precision-recall curve (AUPR) with ImageNet-O as the positive
class, all over logits cut down to ImageNet-O's 200 classes. The published rule takes minus the
largest softmax of the undefended model; beside it stand the mean softmax of the views, and the
majority, which calls what it rejects the most anomalous.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness import imagenet
from blurvote.benchmarks.robustness.dataset import Dataset, open_dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.measure import Plan
from blurvote.benchmarks.robustness.evaluate.report import text_of
from blurvote.benchmarks.robustness.evaluate.running import (
    Measured,
    made_text,
    measured,
    settings_of,
    skipped_text,
    status,
)
from blurvote.benchmarks.robustness.evaluate.score import Answers
from blurvote.benchmarks.robustness.outputs import (
    guard_facts,
    pictures_facts,
    write_json,
    write_text,
)
from blurvote.benchmarks.robustness.statistics import Share, share
from blurvote.runtime.errors import PlanError, SourceError
from blurvote.runtime.vote import REJECTED

__all__ = ["SCHEMA", "Area", "NaturalRow", "anomalies", "rejected_at", "run", "score_natural"]

SCHEMA = "blurvote.imagenet-o/1"
_RESAMPLES = 200  # each sorts all pictures
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Area:
    """An AUPR with its 95 % interval, by bootstrap within each of the two sets."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class NaturalRow:
    """One degradation and variant.

    Attributes:
        degradation, variant: their names.
        outside, inside: pictures of no class, and of the 200 classes.
        areas: AUPR by the name of the score.
        rejected_outside, rejected_inside: by the majority; much of the first and little of the
            second is good.
        own_outside, own_inside: by the guard's own decision.
        confidence_outside: pictures of no class that the undefended model rejects when it keeps
            as many pictures of known classes as the majority, its most confident ones.
    """

    degradation: str
    variant: str
    outside: int
    inside: int
    areas: dict[str, Area]
    rejected_outside: Share
    rejected_inside: Share
    own_outside: Share
    own_inside: Share
    confidence_outside: Share


def run(args: argparse.Namespace, guard: Deployed, plan: Plan) -> int:
    """Measures, publishes, and returns the exit status.

    Args:
        args: of `blurvote evaluate`.
        guard: of ImageNet's 1000 classes.
        plan: whose `subset` is ImageNet-O's.

    Raises:
        PlanError: `--smoothing` or `--repeats` was given, too.
        SourceError: `--in-distribution` is missing or has no picture of the 200 classes, or one
            of the two sets cannot be read.
    """
    if args.smoothing:
        raise PlanError(
            "--smoothing and --protocol imagenet-o were given together; a smoothed label has no "
            "anomaly score, so leave one of them out"
        )
    if args.repeats > 1:
        raise PlanError(
            "--repeats and --protocol imagenet-o were given together; leave one of them out"
        )
    if args.in_distribution is None:
        raise SourceError(
            "--protocol imagenet-o was given without --in-distribution; give pictures of known "
            "classes too, such as ImageNet's validation set: --in-distribution imagenet-val/"
        )
    outside = open_dataset(args.dataset, guard.classes, guard.labels, unlabelled=True)
    inside, left_out = _of_subset(
        open_dataset(args.in_distribution, guard.classes, guard.labels), plan
    )
    folder = Path(args.out) / guard.path.stem
    found = {
        name: measured(
            dataset.some(args.limit, args.seed),
            plan,
            folder / f"{name}.jsonl",
            settings_of(plan, guard, dataset),
            args,
        )
        for name, dataset in (("imagenet-o", outside), ("imagenet-o-in", inside))
    }
    out, known = found["imagenet-o"], found["imagenet-o-in"]
    rows = [
        score_natural(label, variant.name, _of_own_views(answers), _of_own_views(others), args.seed)
        for (label, variant, answers), (_, _, others) in zip(out.groups, known.groups, strict=True)
    ]
    skipped = [*out.skipped, *known.skipped]
    document: dict[str, Any] = {
        "guard": guard_facts(guard),
        "dataset": pictures_facts(outside) | {"drawn": rows[0].outside},
        "in_distribution": pictures_facts(inside)
        | {"drawn": rows[0].inside, "of_other_classes": left_out},
        "settings": settings_of(plan, guard, outside),
        "skipped": skipped,
        "rows": rows,
    }
    text = _text(guard, plan, outside, inside, left_out, rows, out, known)
    written = write_json(folder / "imagenet-o.json", SCHEMA, document)
    write_text(folder / "imagenet-o.md", text)
    print(json.dumps(written, indent=1) if args.json else text)
    print(f"results are in {folder}", file=sys.stderr)
    return status(skipped)


def _of_subset(dataset: Dataset, plan: Plan) -> tuple[Dataset, int]:
    """The pictures of the classes that count, and the number of the others."""
    wanted = set(plan.subset or ())
    kept = tuple(sample for sample in dataset.samples if sample.label in wanted)
    if not kept:
        raise SourceError(
            f"{dataset.name} has {len(dataset.samples)} pictures, none of ImageNet-O's "
            f"{len(wanted)} classes; give pictures of these, such as ImageNet's validation set"
        )
    return replace(dataset, samples=kept), len(dataset.samples) - len(kept)


def _of_own_views(answers: Answers) -> Answers:
    """With majority and mean of the views that judged each frame, where those differ."""
    found = answers.adapted
    if found is None:
        return answers
    return replace(
        answers,
        majority=found.majority,
        votes=found.votes,
        majority_confidence=found.majority_confidence,
        mean_label=found.mean_label,
        mean_confidence=found.mean_confidence,
    )


def anomalies(answers: Answers) -> dict[str, Floats]:
    """`(N,)` scores by name, larger where a picture looks less like a known class.

    The majority's is minus votes and mean softmax of its label; without a majority it is 0, above
    all others.
    """
    voted = answers.votes + 1 / (1 + np.exp(-np.clip(answers.majority_confidence, -700, 700)))
    return {
        "undefended confidence": -answers.view_confidences[:, 0],
        "mean": -answers.mean_confidence,
        "majority": np.where(answers.majority == REJECTED, 0.0, -voted),
    }


def rejected_at(inside: Floats, outside: Floats, kept: int) -> NDArray[np.bool_]:
    """Which of `outside` are rejected where the `kept` least anomalous of `inside` are accepted.

    Args:
        inside: `(N,)` anomaly scores of pictures of known classes.
        outside: `(M,)` of pictures of none.
        kept: 0 to N; a picture as anomalous as the last one kept is accepted.
    """
    limit = np.sort(inside)[kept - 1] if kept else -np.inf
    return np.asarray(outside > limit)


def score_natural(
    degradation: str, variant: str, outside: Answers, inside: Answers, seed: int
) -> NaturalRow:
    """One row of the table; `seed` is the bootstrap's."""
    out, known = anomalies(outside), anomalies(inside)
    kept = int(np.count_nonzero(inside.majority != REJECTED))
    confidence = "undefended confidence"
    return NaturalRow(
        degradation,
        variant,
        len(outside.truth),
        len(inside.truth),
        {name: _area(known[name], out[name], seed) for name in out},
        share(outside.majority == REJECTED),
        share(inside.majority == REJECTED),
        share(outside.own == REJECTED),
        share(inside.own == REJECTED),
        share(rejected_at(known[confidence], out[confidence], kept)),
    )


def _area(inside: Floats, outside: Floats, seed: int) -> Area:
    random = np.random.default_rng([seed, 6])
    areas = [
        imagenet.anomaly_aupr(
            random.choice(inside, len(inside)), random.choice(outside, len(outside))
        )
        for _ in range(_RESAMPLES)
    ]
    low, high = np.percentile(areas, [2.5, 97.5])
    return Area(imagenet.anomaly_aupr(inside, outside), float(low), float(high))


def _text(
    guard: Deployed,
    plan: Plan,
    outside: Dataset,
    inside: Dataset,
    left_out: int,
    rows: list[NaturalRow],
    out: Measured,
    known: Measured,
) -> str:
    first = rows[0]
    chance = first.outside / (first.outside + first.inside)
    lines = [
        f"# {guard.path.name} on {outside.name}, pictures of no class",
        "",
        f"{first.outside} pictures of no class, and {first.inside} of ImageNet-O's 200 classes "
        f"from {inside.name} ({left_out} of other classes were left out){made_text(plan)}. AUPR "
        "in per cent, pictures of no class being the positive ones: larger is better, a score of "
        f"pure chance has {100 * chance:.1f}. All with 95 % intervals.",
        "",
        table(
            ["degradation", "views", *(f"AUPR, {name}" for name in first.areas)],
            [
                [row.degradation, row.variant, *(_area_text(area) for area in row.areas.values())]
                for row in rows
            ],
        ),
        "",
        "Per cent rejected; 'no defence' rejects as many pictures of known classes as the "
        "majority, those of smallest clean softmax:",
        "",
        _rejections(rows, guard.defense.decision != "majority"),
    ]
    for measured_part, name in ((out, outside.name), (known, inside.name)):
        if note := skipped_text(measured_part.skipped):
            lines += ["", f"{name}: {note}"]
    return "\n".join(lines).rstrip() + "\n"


def _rejections(rows: list[NaturalRow], own: bool) -> str:
    headers = [
        "degradation",
        "views",
        "known classes, majority",
        "no class, majority",
        "no class, no defence",
    ]
    headers += ["known classes, guard", "no class, guard"] if own else []
    lines = []
    for row in rows:
        values = [row.rejected_inside, row.rejected_outside, row.confidence_outside]
        values += [row.own_inside, row.own_outside] if own else []
        lines.append([row.degradation, row.variant, *(text_of(value) for value in values)])
    return table(headers, lines)


def _area_text(area: Area) -> str:
    return f"{100 * area.value:.1f} ({100 * area.low:.1f} to {100 * area.high:.1f})"
