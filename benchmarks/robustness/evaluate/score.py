"""From the records of all pictures to the rows of the table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.evaluate.adapted import Adapted, adapted
from blurvote.benchmarks.robustness.evaluate.measure import (
    Plan,
    Variant,
    numbers,
    passes_measured,
)
from blurvote.benchmarks.robustness.statistics import (
    Difference,
    RiskCoverage,
    Share,
    difference,
    most_confident,
    risk_coverage,
    share,
)
from blurvote.runtime.defense import Defense
from blurvote.runtime.vote import REJECTED

__all__ = [
    "Answers",
    "Row",
    "Skipped",
    "collect",
    "kept_share",
    "mask",
    "score",
    "surest_first",
    "thinned",
]

_POINTS = 500  # of a curve
_LARGEST = float(np.finfo(np.float32).max)
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Answers:
    """What N frames gave under one degradation, with one variant.

    Of an adaptive guard's own defence, the views and all that comes of them are the quiet ones.

    Attributes:
        truth: `(N,)` class indices.
        view_labels, view_confidences: `(N, P)` of the views of `passes`.
        passes: Gaussian passes of each view measured; the clean one is first.
        majority, votes, majority_confidence: `(N,)`; confidence is of the winner's mean softmax.
        mean_label, mean_confidence: `(N,)` of the mean softmax over the defence's views.
            Every confidence is the log-odds of a softmax, see `certainty`.
        own: `(N,)` label of the guard's own decision; -1 where it rejects.
        adapted: what the views that judged the frames said; None where those are the same.
        pictures: `(N,)` picture that each frame was made of, 0 to P - 1; None where each was made
            of another.
    """

    truth: Ints
    view_labels: Ints
    view_confidences: Floats
    passes: tuple[int, ...]
    majority: Ints
    votes: Ints
    majority_confidence: Floats
    mean_label: Ints
    mean_confidence: Floats
    own: Ints
    adapted: Adapted | None = None
    pictures: Ints | None = None

    @property
    def images(self) -> int:
        """How many pictures the frames were made of."""
        return len(self.truth) if self.pictures is None else int(self.pictures.max()) + 1


@dataclass(frozen=True)
class Skipped:
    """A picture that gave no answer, and why."""

    key: str
    why: str


@dataclass(frozen=True)
class Row:
    """One row of the table; every share with its 95 % interval.

    Attributes:
        degradation, variant: their names.
        images: pictures measured.
        views: accuracy of each view on its own, by Gaussian passes.
        accepted: accuracy of the majority on the frames it accepts (the blog's Acc_Maj).
        over_all: frames on which the majority is right, over all frames.
        rejected: frames without a majority.
        own_accepted, own_rejected: the same of the guard's own decision.
        own_confidence: accuracy of the undefended model on as many frames as that accepts.
        own_gain: own_accepted minus own_confidence, paired.
        confidence: accuracy of the undefended model on as many frames, its most confident ones.
        mean: accuracy of the mean softmax of the views on as many frames.
        gain: accepted minus confidence, paired.
        curves: risk against coverage of majority, mean, single and undefended confidence, at most
            500 points each.
    """

    degradation: str
    variant: str
    images: int
    views: dict[int, Share]
    accepted: Share
    over_all: Share
    rejected: Share
    own_accepted: Share
    own_rejected: Share
    own_confidence: Share
    own_gain: Difference
    confidence: Share
    mean: Share
    gain: Difference
    curves: dict[str, RiskCoverage]


def collect(
    results: Iterable[tuple[str, Any]], plan: Plan, order: dict[str, int]
) -> tuple[list[tuple[str, Variant, Answers]], list[Skipped]]:
    """The answers per degradation and variant, from a journal's results in any order.

    Args:
        results: key and record of each picture.
        plan: that the records were made by.
        order: place of each key; keys that are not in it belong to a larger run and are left out.
    """
    skipped = []
    # One table, filled in the samples' order (the journal's depends on the workers). In float32: of
    # 50,000 pictures under 39 degradations it takes 100 MB.
    row_of = {place: n for n, place in enumerate(sorted(order.values()))}
    truth = np.zeros(len(order), np.int64)
    table = np.zeros((len(order), _width(plan)), np.float32)
    there = np.zeros(len(order), bool)
    for key, result in results:
        if key not in order:
            continue
        if "skipped" in result:
            skipped.append((order[key], Skipped(key, result["skipped"])))
            continue
        n = row_of[order[key]]
        truth[n], there[n] = result["label"], True
        table[n] = np.clip(np.concatenate(result["rows"]), -_LARGEST, _LARGEST)
    truth, table = truth[there], table[there]
    groups, start = [], 0
    for degradation in plan.degradations if len(truth) else ():
        draws = plan.draws(degradation)
        parts: dict[Variant, list[Floats]] = {variant: [] for variant in plan.variants}
        for variant in plan.variants * draws:
            width = numbers(variant.defense)
            parts[variant].append(table[:, start : start + width].astype(np.float64))
            start += width
        pictures = None if draws == 1 else np.tile(np.arange(len(truth)), draws)
        for variant, part in parts.items():
            answers = _answers(np.tile(truth, draws), np.concatenate(part), variant.defense)
            groups.append((str(degradation), variant, replace(answers, pictures=pictures)))
    return groups, [entry for _, entry in sorted(skipped, key=lambda pair: pair[0])]


def _width(plan: Plan) -> int:
    """Numbers of one picture's record."""
    each = sum(numbers(variant.defense) for variant in plan.variants)
    return each * sum(plan.draws(degradation) for degradation in plan.degradations)


def _answers(truth: Ints, part: Floats, defense: Defense) -> Answers:
    passes = passes_measured(defense)
    views = len(passes)
    whole = part.astype(np.int64)
    rest = 2 * views
    return Answers(
        truth,
        whole[:, :views],
        part[:, views:rest],
        passes,
        whole[:, rest],
        whole[:, rest + 1],
        part[:, rest + 2],
        whole[:, rest + 3],
        part[:, rest + 4],
        whole[:, rest + 5],
        adapted(part[:, rest + 6 :], len(defense.noisy_views)) if defense.adaptive else None,
    )


def score(degradation: str, variant: str, answers: Answers, seed: int) -> Row:
    """One row of the table; `seed` is the bootstrap's."""
    truth, same = answers.truth, answers.pictures
    right = answers.view_labels == truth[:, None]
    accepted = answers.majority != REJECTED
    correct = answers.majority == truth
    own_accepted = answers.own != REJECTED
    kept = int(np.count_nonzero(accepted))
    clean = answers.view_confidences[:, 0]
    confident = mask(most_confident(clean, kept), len(truth))
    own_kept = int(np.count_nonzero(own_accepted))
    own_confident = mask(most_confident(clean, own_kept), len(truth))
    averaged = most_confident(answers.mean_confidence, kept)
    mean_right = answers.mean_label == truth
    everywhere = np.ones(len(truth), bool)
    curves = {
        # Unanimous frames first, and among equals the surer ones.
        "majority": risk_coverage(surest_first(answers), correct, accepted, seed, same),
        "mean": risk_coverage(answers.mean_confidence, mean_right, everywhere, seed, same),
        "undefended confidence": risk_coverage(clean, right[:, 0], everywhere, seed, same),
    }
    if 1 in answers.passes:
        at = answers.passes.index(1)
        curves["single"] = risk_coverage(
            answers.view_confidences[:, at], right[:, at], everywhere, seed, same
        )
    return Row(
        degradation,
        variant,
        answers.images,
        {passes: share(right[:, k], same) for k, passes in enumerate(answers.passes)},
        kept_share(correct, accepted, same),
        share(correct, same),
        share(~accepted, same),
        kept_share(answers.own == truth, own_accepted, same),
        share(~own_accepted, same),
        kept_share(right[:, 0], own_confident, same),
        difference(answers.own == truth, own_accepted, right[:, 0], own_confident, seed, same),
        kept_share(right[:, 0], confident, same),
        kept_share(mean_right, mask(averaged, len(truth)), same),
        difference(correct, accepted, right[:, 0], confident, seed, same),
        {name: thinned(curve) for name, curve in curves.items()},
    )


def thinned(curve: RiskCoverage) -> RiskCoverage:
    """At most `_POINTS` of the curve's points, both ends among them; the areas stay.

    All of 50,000 pictures, four curves a row, would make the results hundreds of megabytes.
    """
    count = len(curve.coverage)
    if count <= _POINTS:
        return curve
    kept = np.linspace(0, count - 1, _POINTS).round().astype(np.int64)
    return replace(curve, coverage=curve.coverage[kept], risk=curve.risk[kept])


def surest_first(answers: Answers | Adapted) -> Floats:
    """Scores `(N,)` of the majority: more votes first, and among equals larger log-odds."""
    order = np.lexsort((answers.majority_confidence, answers.votes))
    ranked = np.stack([answers.votes, answers.majority_confidence], axis=1)[order]
    new = np.r_[False, (ranked[1:] != ranked[:-1]).any(axis=1)][: len(order)]
    scores = np.empty(len(order))
    scores[order] = np.cumsum(new)  # equal pairs stay equal
    return scores


def kept_share(right: Bools, kept: Bools, pictures: Ints | None) -> Share:
    """The share of the kept frames `(N,)` that are right."""
    return share(right[kept], None if pictures is None else pictures[kept])


def mask(indices: Ints, size: int) -> Bools:
    """`(size,)` bool, true at the indices."""
    found = np.zeros(size, bool)
    found[indices] = True
    return found
