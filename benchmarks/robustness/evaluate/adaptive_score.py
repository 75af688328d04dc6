"""The row of an adaptive guard: every decision beside the others, on the same frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.evaluate.adapted import Adapted
from blurvote.benchmarks.robustness.evaluate.score import (
    Answers,
    Row,
    kept_share,
    mask,
    score,
    surest_first,
    thinned,
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
from blurvote.runtime.vote import REJECTED

__all__ = [
    "AT_BLOGS_COVERAGE",
    "BLOGS_MAJORITY",
    "DEPLOYED",
    "OWN_MAJORITY",
    "OWN_MEAN",
    "UNDEFENDED",
    "AdaptiveRow",
    "Judged",
    "NoiseRead",
    "score_row",
]

UNDEFENDED = "no defence"
BLOGS_MAJORITY = "blog's majority"
OWN_MAJORITY = "own majority"
OWN_MEAN = "own mean"
AT_BLOGS_COVERAGE = "own mean, blog's coverage"
DEPLOYED = "as deployed"
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """One decision on the frames of a row.

    Attributes:
        accepted: accuracy on the frames that it accepts.
        over_all: frames on which it is right, over all frames.
        rejected: frames that it gives no label.
        confidence: accuracy of the undefended model on as many frames, its most confident ones.
        gain: accepted minus confidence, paired.
        accepted_over_blog, over_all_over_blog: accepted and over_all, each minus the blog's
            majority's, paired.
    """

    accepted: Share
    over_all: Share
    rejected: Share
    confidence: Share
    gain: Difference
    accepted_over_blog: Difference
    over_all_over_blog: Difference


@dataclass(frozen=True)
class NoiseRead:
    """The noise levels read at the frames, in [0, 1] RGB units; NaN where none could be read.

    Attributes:
        mean: over the frames with an estimate.
        low, high: their 5th and 95th percentile.
        unread: frames without an estimate.
    """

    mean: float
    low: float
    high: float
    unread: int


@dataclass(frozen=True)
class AdaptiveRow(Row):
    """A row of an adaptive guard's own views.

    What `Row` has is of the quiet views (`accepted` is the blog's majority), but for the guard's
    own decision and for `curves`: of the blog's majority, the majority and the mean of the views
    that judged the frames, and the undefended confidence.

    Attributes:
        noise: levels read.
        denoised: frames judged by the views of noisy frames.
        own_views: accuracy of each of the views that judged the frames, on its own.
        decisions: by name; `own` is of the views that judged the frames, and `as deployed` is the
            guard's own decision.
    """

    noise: NoiseRead
    denoised: Share
    own_views: tuple[Share, ...]
    decisions: Mapping[str, Judged]


def score_row(degradation: str, variant: str, answers: Answers, seed: int) -> Row:
    """One row of the table, an `AdaptiveRow` where the answers are adapted."""
    row = score(degradation, variant, answers, seed)
    if answers.adapted is None:
        return row
    found, same, truth = answers.adapted, answers.pictures, answers.truth
    values = {field.name: getattr(row, field.name) for field in fields(row)}
    own_right = found.view_labels == truth[:, None]
    return AdaptiveRow(
        **values | {"curves": _curves(answers, found, row, seed)},
        noise=_noise(found),
        denoised=share(found.denoised, same),
        own_views=tuple(share(own_right[:, k], same) for k in range(own_right.shape[1])),
        decisions=_decisions(answers, found, seed),
    )


def _noise(found: Adapted) -> NoiseRead:
    levels = found.noise[~np.isnan(found.noise)]
    unread = len(found.noise) - len(levels)
    if not len(levels):
        return NoiseRead(float("nan"), float("nan"), float("nan"), unread)
    low, high = np.percentile(levels, [5, 95])
    return NoiseRead(float(levels.mean()), float(low), float(high), unread)


def _curves(answers: Answers, found: Adapted, row: Row, seed: int) -> dict[str, RiskCoverage]:
    truth, same = answers.truth, answers.pictures
    majority = risk_coverage(
        surest_first(found), found.majority == truth, found.majority != REJECTED, seed, same
    )
    everywhere = np.ones(len(truth), bool)
    mean = risk_coverage(found.mean_confidence, found.mean_label == truth, everywhere, seed, same)
    return {
        BLOGS_MAJORITY: row.curves["majority"],
        OWN_MAJORITY: thinned(majority),
        OWN_MEAN: thinned(mean),
        "undefended confidence": row.curves["undefended confidence"],
    }


def _decisions(answers: Answers, found: Adapted, seed: int) -> dict[str, Judged]:
    truth, same = answers.truth, answers.pictures
    clean = answers.view_labels[:, 0] == truth
    blog = (answers.majority == truth, answers.majority != REJECTED)
    mean_right, everywhere = found.mean_label == truth, np.ones(len(truth), bool)
    surest = mask(most_confident(found.mean_confidence, int(np.count_nonzero(blog[1]))), len(truth))

    def judged(right: Bools, kept: Bools) -> Judged:
        confidence = answers.view_confidences[:, 0]
        undefended = mask(most_confident(confidence, int(np.count_nonzero(kept))), len(truth))
        return Judged(
            kept_share(right, kept, same),
            share(right & kept, same),
            share(~kept, same),
            kept_share(clean, undefended, same),
            difference(right, kept, clean, undefended, seed, same),
            difference(right, kept, *blog, seed, same),
            difference(right & kept, everywhere, blog[0], everywhere, seed, same),
        )

    return {
        UNDEFENDED: judged(clean, everywhere),
        BLOGS_MAJORITY: judged(*blog),
        OWN_MAJORITY: judged(found.majority == truth, found.majority != REJECTED),
        OWN_MEAN: judged(mean_right, everywhere),
        AT_BLOGS_COVERAGE: judged(mean_right, surest),
        DEPLOYED: judged(answers.own == truth, answers.own != REJECTED),
    }
