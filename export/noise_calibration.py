"""Fits when an adaptive guard takes its denoised views, on a folder of the user's frames.

Each picture is classified as it is and with noise of several levels added, by the quiet views and
by the noisy ones. The switch is put where the noisy views begin to be right more often, but so high
that the pictures as they are lose nothing. Fitted on one half of the pictures, reported on the
other: texture that reads as noise differs from camera to camera, and so does what it costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from blurvote.export.noise_answers import Shown
from blurvote.export.thresholds import fit_threshold
from blurvote.runtime.vote import REJECTED

__all__ = ["NoiseReport", "fit_noise", "fit_switch", "noise_lines"]

MOST_DENOISED = 0.05  # of the pictures without noise: quiet frames are to stay cheap
MARGIN = 0.8  # low / high: five standard deviations of the estimate (4 percent) below the switch


@dataclass(frozen=True)
class NoiseReport:
    """A switch, and what it does on pictures that had no part in choosing it.

    Attributes:
        noise_switch: `(low, high)` on the backbone's grid.
        noisy_threshold: smallest mean softmax accepted of noisy frames; None without `mean`.
        truth: `"labels"`, or `"quiet verdicts"`: what the quiet views say of the picture without
            noise, which favours them.
        fitted_on, reported_on: numbers of pictures.
        rows: one for each noise added: sigma, share of frames taken for noisy, and accuracy over
            all frames of the quiet views alone, of the noisy ones alone and with the switch;
            accuracy on accepted frames and rejected share with the switch.
    """

    noise_switch: tuple[float, float]
    noisy_threshold: float | None
    truth: str
    fitted_on: int
    reported_on: int
    rows: Sequence[Mapping[str, float]] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def fit_switch(shown: Sequence[Shown], decision: str) -> float:
    """The level from which frames are best taken for noisy.

    Among the levels that leave as many of the pictures without noise right as the quiet views alone
    do, and nearly all of them quiet, it makes the most frames right; or it is the highest one that
    makes no fewer right than chance may explain: one standard error of the frames in between
    (Breiman et al. 1984, for trees). On few pictures the best level by count is often one of
    texture; and views that differ in strength alone, which are equal without noise, beat blurred
    ones there, too, but cost more.
    """
    ordered = sorted(shown, key=lambda one: -one.level)
    level = np.array([one.level for one in ordered])
    gain = np.array(
        [
            (one.noisy.label(decision) == one.truth) - (one.quiet.label(decision) == one.truth)
            for one in ordered
        ]
    )
    clean = np.array([one.sigma == 0 for one in ordered])
    # A cut after the first k frames: none of them, then those of each level.
    cuts = [0, *(np.flatnonzero(np.diff(level)) + 1)]
    total = np.concatenate([[0], np.cumsum(gain)])
    changed = np.concatenate([[0], np.cumsum(gain**2)])
    kept = np.concatenate([[0], np.cumsum(gain * clean)]) >= 0
    cheap = np.concatenate([[0], np.cumsum(clean)]) <= MOST_DENOISED * max(1, clean.sum())
    allowed = [cut for cut in cuts if kept[cut] and cheap[cut]]
    best = max(allowed, key=lambda cut: (total[cut], -cut))
    for cut in allowed:
        if cut >= best:
            break
        if total[cut] > 0 and (total[best] - total[cut]) ** 2 < changed[best] - changed[cut]:
            best = cut
    return float((level[best - 1] + level[best]) / 2) if best else 1.0


def fit_noise(
    fitting: Sequence[Sequence[Shown]],
    reporting: Sequence[Sequence[Shown]],
    decision: str,
    coverages: tuple[float, float] | None,
    truth: str,
) -> tuple[float | None, NoiseReport]:
    """Fits the switch, and for `mean` the thresholds of quiet and of noisy frames.

    Args:
        fitting, reporting: two halves of the pictures, as `ask` gives them.
        decision: by which labels are found.
        coverages: parts to accept of the pictures without noise and of noisy frames; None where
            there are no thresholds.
        truth: see `NoiseReport`.

    Returns:
        The threshold of quiet frames and the report, which has the other. The switch goes by which
        label the views give, whatever confidence says of it.
    """
    flat = [one for picture in fitting for one in picture]
    high = fit_switch(flat, decision)
    limits: tuple[float | None, float | None] = (None, None)
    if coverages:
        quiet = [one.quiet.confidence for one in flat if one.sigma == 0 and one.level < high]
        noisy = [one.noisy.confidence for one in flat if one.level >= high]
        # Without such a frame any threshold will do.
        limits = tuple(  # type: ignore[assignment]
            fit_threshold(own or other, coverage)
            for own, other, coverage in zip((quiet, noisy), (noisy, quiet), coverages, strict=True)
        )
    rows = []
    for sigma in sorted({one.sigma for picture in reporting for one in picture}):
        shown = [one for picture in reporting for one in picture if one.sigma == sigma]
        rows.append(_row(sigma, shown, high, decision, limits))
    report = NoiseReport(
        (MARGIN * high, high), limits[1], truth, len(fitting), len(reporting), tuple(rows)
    )
    return limits[0], report


def _row(
    sigma: float,
    shown: Sequence[Shown],
    high: float,
    decision: str,
    limits: tuple[float | None, float | None],
) -> dict[str, float]:
    labels = np.array([one.label(high, decision, limits) for one in shown])
    quiet = np.array([one.quiet.label(decision, limits[0]) for one in shown])
    noisy = np.array([one.noisy.label(decision, limits[1]) for one in shown])
    truths = np.array([one.truth for one in shown])
    accepted = labels != REJECTED
    right = labels == truths
    return {
        "sigma": sigma,
        "level": float(np.median([one.level for one in shown])),
        "noisy": float(np.mean([one.level >= high for one in shown])),
        "quiet_views": float((quiet == truths).mean()),
        "noisy_views": float((noisy == truths).mean()),
        "accuracy_all": float(right.mean()),
        "accuracy_accepted": float(right[accepted].mean()) if accepted.any() else 0.0,
        "rejected": float(1 - accepted.mean()),
    }


def noise_lines(report: NoiseReport) -> list[str]:
    """The report as lines of text."""
    low, high = report.noise_switch
    lines = [
        f"  noisy        from {high:.4f} on the model's grid, until below {low:.4f}"
        if high < 1
        else "  noisy        never: the denoised views are right less often at every level",
    ]
    if report.noisy_threshold is not None:
        lines.append(f"  threshold    {report.noisy_threshold:.4f} for noisy frames")
    lines.append(
        "  on the others, right of all, judged by "
        + ("their labels" if report.truth == "labels" else "the quiet views' own verdicts")
    )
    lines.append(
        "    noise  on the grid   taken for noisy   quiet views   noisy views   with the switch"
        "   accepted   rejected"
    )
    for row in report.rows:
        lines.append(
            f"    {row['sigma']:<8g}{row['level']:>10.4f}{row['noisy']:>18.1%}"
            f"{row['quiet_views']:>14.1%}{row['noisy_views']:>14.1%}{row['accuracy_all']:>18.1%}"
            f"{row['accuracy_accepted']:>11.1%}{row['rejected']:>11.1%}"
        )
    return lines
