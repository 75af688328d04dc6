"""The tables of denoised smoothing, from the records of `smoothed`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.report import table
from blurvote.benchmarks.robustness.evaluate.report import text_of as share_text
from blurvote.benchmarks.robustness.evaluate.running import Measured, skipped_text
from blurvote.benchmarks.robustness.evaluate.score import Answers, Skipped
from blurvote.benchmarks.robustness.smoothing import ABSTAIN
from blurvote.benchmarks.robustness.statistics import (
    Difference,
    Share,
    difference,
    most_confident,
    share,
)
from blurvote.runtime.vote import REJECTED

__all__ = ["Certified", "Comparison", "Smoothed", "compare", "radii", "score_smoothed", "text_of"]

_STEP = 0.25  # of the radii, as in the papers' tables
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """One way to classify the same frames.

    Attributes:
        frames, method: their names.
        accepted: accuracy on the frames that it accepts.
        over_all: right over all frames.
        rejected: rejected or abstained.
        confidence: the undefended model on as many frames, its most confident ones.
        gain: accepted minus confidence, paired.
        inferences, denoisings: of backbone and denoiser per frame.
        milliseconds: median per frame, views included; None where it was not timed.
    """

    frames: str
    method: str
    accepted: Share
    over_all: Share
    rejected: Share
    confidence: Share
    gain: Difference
    inferences: int
    denoisings: int
    milliseconds: float | None


@dataclass(frozen=True)
class Certified:
    """Clean pictures whose right label is certified at an L2 radius, on the model's grid."""

    radius: float
    accuracy: Share


@dataclass(frozen=True)
class Smoothed:
    """What denoised smoothing gave, beside the guard.

    Attributes:
        denoiser: file and hash.
        settings: of the run: sigma, n, n0, alpha, ...
        images: pictures measured.
        rows: the ways to classify them.
        certified: by radius.
        largest_radius: that `n` copies can certify at all.
        median_radius: of the pictures with a certificate for the right label; NaN without any.
        sigma_left: of the noise on the model's grid, median, as "denoise once" was told.
        skipped: pictures that were not measured.
    """

    denoiser: Mapping[str, str]
    settings: Mapping[str, Any]
    images: int
    rows: list[Comparison]
    certified: list[Certified]
    largest_radius: float
    median_radius: float
    sigma_left: float
    skipped: list[Skipped]


def score_smoothed(
    found: Measured,
    denoiser: Mapping[str, str],
    settings: Mapping[str, Any],
    largest: float,
    views: int,
) -> Smoothed:
    """The tables.

    Args:
        found: records of `smoothed.prepare`.
        denoiser: facts of its file.
        settings: of the run.
        largest: radius that can be certified at all.
        views: of the guard's defence.
    """
    (clean_name, _, clean), (noisy_name, _, noisy) = found.groups
    records = [record["smoothed"] for record in found.records.values()]

    def ints(name: str) -> Ints:
        return np.array([record[name] for record in records], np.int64)

    def ms(name: str) -> float:
        return float(np.median([record["ms"][name] for record in records]))

    n, seed = int(settings["n"]), int(settings["seed"])
    rows = []
    for name, answers in ((clean_name, clean), (noisy_name, noisy)):
        undefended = answers.view_labels[:, 0]
        rows.append(compare(name, "no defence", undefended, answers, seed, 1, 0, ms("no defence")))
        rows.append(
            compare(name, "majority", answers.majority, answers, seed, views, 0, ms("majority"))
        )
        if answers is noisy:
            time = ms("denoised once")
            rows.append(compare(name, "denoised once", ints("once"), answers, seed, 1, 1, time))
        label = ints("label" if answers is clean else "noisy")
        time = ms("smoothed")
        rows.append(compare(name, "denoised smoothing", label, answers, seed, n, n, time))
    radius = np.array([record["radius"] for record in records])
    right = ints("certified") == clean.truth
    certain = radius[right]
    return Smoothed(
        denoiser,
        settings,
        len(records),
        rows,
        [Certified(at, share(right & (radius >= at))) for at in radii(largest)],
        largest,
        float(np.median(certain)) if len(certain) else float("nan"),
        float(np.median([record["sigma_left"] for record in records])),
        found.skipped,
    )


def compare(
    frames: str,
    method: str,
    labels: Ints,
    answers: Answers,
    seed: int,
    inferences: int,
    denoisings: int,
    milliseconds: float | None,
) -> Comparison:
    """One row; `labels` are `(N,)`, -1 where it rejects, of the frames of `answers`."""
    assert ABSTAIN == REJECTED
    accepted, right = labels != REJECTED, labels == answers.truth
    undefended = answers.view_labels[:, 0] == answers.truth
    kept = np.zeros(len(labels), bool)
    kept[most_confident(answers.view_confidences[:, 0], int(np.count_nonzero(accepted)))] = True
    return Comparison(
        frames,
        method,
        share(right[accepted]),
        share(right),
        share(~accepted),
        share(undefended[kept]),
        difference(right, accepted, undefended, kept, seed),
        inferences,
        denoisings,
        milliseconds,
    )


def radii(largest: float) -> list[float]:
    """0, 0.25, 0.5, ... up to the largest that can be certified."""
    return [float(at) for at in np.arange(0, largest + 1e-9, _STEP)]


def text_of(compared: Smoothed) -> str:
    """The tables as Markdown."""
    settings = compared.settings
    sigma, n, n0, alpha = (settings[name] for name in ("sigma", "n", "n0", "alpha"))
    lines = [
        f"## Denoised smoothing (Salman et al. 2020), sigma {sigma:g}",
        "",
        f"{compared.images} pictures, the same in every row; {n} noisy copies of the clean view, "
        f"denoised by {compared.denoiser['file']}; alpha {alpha:g}. Per cent, with 95 % intervals. "
        "'No defence, same coverage' keeps as many frames as the row accepts. 'Denoised once' is "
        f"told the noise that the resize leaves: sigma {compared.sigma_left:.3f} (median). "
        "Milliseconds are medians of a run with other processes beside it.",
        "",
        table(
            [
                "frames",
                "method",
                "accepted",
                "over all",
                "rejected",
                "no defence, same coverage",
                "gain",
                "inferences",
                "denoisings",
                "ms",
            ],
            [
                [
                    row.frames,
                    row.method,
                    *(
                        share_text(value)
                        for value in (row.accepted, row.over_all, row.rejected, row.confidence)
                    ),
                    "-" if row.method == "no defence" else share_text(row.gain),
                    row.inferences,
                    row.denoisings,
                    "-" if row.milliseconds is None else f"{row.milliseconds:.1f}",
                ]
                for row in compared.rows
            ],
        ),
        "",
        f"Certified on clean pictures (Cohen et al. 2019): {n0} further copies choose the class, "
        f"the {n} bound its probability; each certificate holds with confidence {1 - alpha:g}. "
        "Radii are L2 norms on the model's grid, values in [0, 1]; "
        f"{n} copies cannot certify more than {compared.largest_radius:.3f}. The majority of "
        "three views certifies nothing.",
        "",
        table(
            ["radius at least", "certified accuracy"],
            [[f"{entry.radius:g}", share_text(entry.accuracy)] for entry in compared.certified],
        ),
        "",
    ]
    if not np.isnan(compared.median_radius):
        lines += [
            f"Median radius where the right label is certified: {compared.median_radius:.3f}."
        ]
    if note := skipped_text(compared.skipped):
        lines += ["", note]
    return "\n".join(lines).rstrip() + "\n"
