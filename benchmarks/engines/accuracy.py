"""What precision and engine do to the verdicts, on the same pictures and the same noise."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from blurvote.benchmarks.engines.candidates import Candidate
from blurvote.benchmarks.robustness.dataset import Dataset
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.measure import Plan, variants
from blurvote.benchmarks.robustness.evaluate.running import measured, settings_of
from blurvote.benchmarks.robustness.evaluate.score import Answers, Row, score
from blurvote.benchmarks.robustness.statistics import Difference, Share, difference, share
from blurvote.runtime.vote import REJECTED

__all__ = ["Accuracy", "Against", "judge"]


@dataclass(frozen=True)
class Against:
    """A candidate's answers beside the reference's, picture by picture; differences are its minus.

    Attributes:
        views: share of pictures on which each view has the same label.
        verdicts: share with the same label or both rejected.
        clean, accepted, rejected: difference of the clean view's accuracy, of the majority's on
            accepted frames, and of the reject rate, each with its paired 95 % interval.
    """

    views: tuple[Share, ...]
    verdicts: Share
    clean: Difference
    accepted: Difference
    rejected: Difference


@dataclass(frozen=True)
class Accuracy:
    """One candidate under one degradation."""

    row: Row
    against: Against | None  # None for the reference itself
    differing: float  # share of pictures whose first two views differ


def judge(
    candidates: Sequence[Candidate],
    dataset: Dataset,
    degradations: tuple[Degradation, ...],
    folder: Path,
    args: argparse.Namespace,
) -> dict[str, list[Accuracy]]:
    """The accuracies of every candidate, by name; the first candidate is the reference.

    Args:
        candidates: at least one.
        dataset: labelled pictures, of which `args.limit` are drawn by `args.seed`.
        degradations: what the pictures go through.
        folder: where a journal per candidate lies, so that an interrupted run goes on.
        args: `limit`, `seed`, `colour_only`, `workers`, `fresh`, `json`.
    """
    samples = dataset.some(args.limit, args.seed)
    reference: list[Answers] | None = None
    found: dict[str, list[Accuracy]] = {}
    for candidate in candidates:
        path, settings = candidate.model.path, candidate.settings(1)
        plan = Plan(
            path,
            settings,
            degradations,
            variants(candidate.model.metadata.defense),
            args.seed,
            args.colour_only,
        )
        guard = Deployed(path, settings)
        facts = settings_of(plan, guard, dataset)
        guard.close()
        name = f"{path.stem}-{candidate.engine.replace(' ', '-')}.jsonl"
        answers = measured(samples, plan, folder / name, facts, args)
        parts = [part for _, _, part in answers.groups]
        found[candidate.name] = [
            Accuracy(
                # Without its curves, which would make the results megabytes.
                replace(score(label, variant.name, part, args.seed), curves={}),
                None if reference is None else _against(part, reference[n], args.seed),
                float((part.view_labels[:, 0] != part.view_labels[:, 1]).mean()),
            )
            for n, (label, variant, part) in enumerate(answers.groups)
        ]
        reference = reference or parts
    return found


def _against(mine: Answers, theirs: Answers, seed: int) -> Against:
    everywhere = np.ones(len(mine.truth), bool)
    same = mine.view_labels == theirs.view_labels
    mine_kept, their_kept = mine.majority != REJECTED, theirs.majority != REJECTED
    return Against(
        tuple(share(same[:, k]) for k in range(same.shape[1])),
        share(mine.majority == theirs.majority),
        difference(
            mine.view_labels[:, 0] == mine.truth,
            everywhere,
            theirs.view_labels[:, 0] == theirs.truth,
            everywhere,
            seed,
        ),
        difference(
            mine.majority == mine.truth,
            mine_kept,
            theirs.majority == theirs.truth,
            their_kept,
            seed,
        ),
        difference(~mine_kept, everywhere, ~their_kept, everywhere, seed),
    )
