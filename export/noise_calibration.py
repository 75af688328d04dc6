"""Fits when an adaptive guard takes its denoised views, on a folder of the user's frames.

Each picture is classified as it is and with noise of several levels added, by the quiet views and
by the noisy ones. The switch is put where the noisy views begin to be right more often, but so high
that the pictures as they are lose nothing. Fitted on one half of the pictures, reported on the
other: texture that reads as noise differs from camera to camera, and so does what it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture, read_picture
from blurvote.export.guard_graph import backbone_of
from blurvote.export.ort_session import Session
from blurvote.runtime.decision import softmax
from blurvote.runtime.errors import DefenseError, ExportError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["NoiseReport", "SetAnswer", "Shown", "ask", "fit_noise", "fit_switch", "noise_lines"]

SIGMAS = (0.03, 0.06, 0.125, 0.25, 0.375)
"""Of the noise that is added to each picture, in [0, 1] RGB units of the frame."""

MARGIN = 0.8  # low / high: five standard deviations of the estimate (4 percent) below the switch
_STREAM = 50


@dataclass(frozen=True)
class SetAnswer:
    """What the views of one set say: the majority's label, the mean's, and its confidence."""

    majority: int
    mean: int
    confidence: float

    def label(self, decision: str, threshold: float | None = None) -> int:
        """The label by that decision, -1 for a rejection."""
        if decision != "mean":
            return self.majority
        return self.mean if threshold is None or self.confidence >= threshold else REJECTED


@dataclass(frozen=True)
class Shown:
    """One picture at one noise: the level that was read on the grid, and what both sets say."""

    sigma: float
    level: float
    quiet: SetAnswer
    noisy: SetAnswer
    truth: int

    def answer(self, high: float) -> SetAnswer:
        """That of the set which the switch takes."""
        return self.noisy if self.level >= high else self.quiet


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


def ask(
    proto: onnx.ModelProto,
    metadata: GuardMetadata,
    pictures: Sequence[Picture],
    seed: int,
    say: Callable[[str], None],
) -> tuple[list[list[Shown]], dict[str, str]]:
    """Every picture without noise and with each of `SIGMAS`, put to both sets of views.

    Returns:
        For each picture its `Shown`, the one without noise first; and the skipped pictures with
        the reason.

    Raises:
        ExportError: the guard has no denoiser that could be run apart from its graph.
    """
    entry = metadata.denoiser
    if metadata.kind != "views" or entry is None or not metadata.defense.adaptive:
        raise ExportError(
            "only a views guard with a denoiser can have its noise switch fitted: export one with "
            "--denoiser, calibrate it, and pass its --noise-switch to the export of a frames guard"
        )
    backbone = Session(backbone_of(proto), "the guard's backbone")
    denoiser = Session(onnx.load_from_string(entry.onnx), "the guard's denoiser")
    asked = _BothSets(metadata, backbone, denoiser)
    shown, skipped = [], {}
    for number, picture in enumerate(pictures):
        try:
            pixels = read_picture(picture.path)
            shown.append(
                asked(pixels, picture.truth, np.random.default_rng([_STREAM, seed, number]))
            )
        except (DefenseError, ExportError) as error:
            skipped[str(picture.path)] = str(error)
        if (number + 1) % 20 == 0 or number + 1 == len(pictures):
            say(f"{number + 1} of {len(pictures)} pictures")
    return shown, skipped


class _BothSets:
    """Puts one picture to the quiet and to the noisy views."""

    def __init__(self, metadata: GuardMetadata, backbone: Session, denoiser: Session) -> None:
        self._defense = metadata.defense
        self._backbone, self._denoiser = backbone, denoiser
        self._builder = ViewBuilder(metadata.defense)

    def __call__(
        self, pixels: NDArray[np.uint8], truth: int | None, random: np.random.Generator
    ) -> list[Shown]:
        """`pixels` are `(H, W, 3)` uint8 BGR."""
        shown: list[Shown] = []
        for sigma in (0.0, *SIGMAS):
            frame = pixels
            if sigma:
                noise = random.standard_normal(pixels.shape, np.float32) * np.float32(255 * sigma)
                frame = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
            level, quiet, noisy = self._answers(frame)
            if truth is None:  # the first frame is the one without noise
                truth = quiet.label(self._defense.decision)
            shown.append(Shown(sigma, level, quiet, noisy, truth))
        return shown

    def _answers(self, frame: NDArray[np.uint8]) -> tuple[float, SetAnswer, SetAnswer]:
        defense = self._defense
        views = np.empty((len(defense.passes), 3, *defense.crop), np.float32)
        read = self._builder.build_noise(frame, views, colour="bgr")
        level = (read or 0.0) * self._builder.noise_gain(*frame.shape[:2])
        inputs = np.empty((1, 4, *defense.crop), np.float32)
        inputs[0, :3], inputs[0, 3] = views[0], level
        (denoised,) = self._denoiser.run(inputs)
        (logits,) = self._backbone.run(np.concatenate([views, denoised[0]]), LOGITS)
        kinds = defense.denoised_kinds
        places = [
            len(views) + kinds.index(kind) if kind.denoised else defense.passes.index(kind.passes)
            for kind in defense.kinds(noisy=True)
        ]
        return level, _answer(logits[: len(views)]), _answer(logits[places])


def _answer(logits: NDArray[np.float32]) -> SetAnswer:
    votes = majority_vote(np.ascontiguousarray(logits)[None])
    voting = votes.view_labels[0] != REJECTED
    if not voting.any():
        return SetAnswer(REJECTED, REJECTED, -1.0)
    mean = softmax(logits[voting]).mean(axis=0)
    return SetAnswer(int(votes.labels[0]), int(mean.argmax()), float(mean.max()))


def fit_switch(shown: Sequence[Shown], decision: str) -> float:
    """The level from which frames are best taken for noisy.

    It makes the most frames right, among those levels that leave as many of the pictures without
    noise right as the quiet views alone do; of several the highest.
    """
    levels = sorted({one.level for one in shown})
    # Between two levels that were read, and above all of them: never.
    cuts = [(a + b) / 2 for a, b in pairwise(levels)] + [1.0]
    gain = np.array(
        [
            (one.noisy.label(decision) == one.truth) - (one.quiet.label(decision) == one.truth)
            for one in shown
        ],
        np.int64,
    )
    level = np.array([one.level for one in shown])
    clean = np.array([one.sigma == 0 for one in shown])
    best, chosen = 0, 1.0
    for cut in sorted(cuts, reverse=True):
        taken = level >= cut
        if gain[taken & clean].sum() >= 0 and gain[taken].sum() > best:
            best, chosen = int(gain[taken].sum()), cut
    return float(chosen)


def fit_noise(
    fitting: Sequence[Sequence[Shown]],
    reporting: Sequence[Sequence[Shown]],
    decision: str,
    quiet_threshold: float | None,
    fit_threshold: Callable[[list[float]], float] | None,
    truth: str,
) -> NoiseReport:
    """Fits the switch, and with `fit_threshold` the threshold of noisy frames.

    Args:
        fitting, reporting: two halves of the pictures, as `ask` gives them.
        decision: by which labels are found.
        quiet_threshold: smallest mean softmax accepted of quiet frames; None without `mean`.
        fit_threshold: from the confidences of the noisy frames; None where there is no threshold.
        truth: see `NoiseReport`.

    The switch goes by which label the views give, whatever confidence says of it.
    """
    flat = [one for picture in fitting for one in picture]
    high = fit_switch(flat, decision)
    confidences = [one.noisy.confidence for one in flat if one.level >= high]
    threshold = None
    if fit_threshold:  # without a noisy frame any threshold will do
        threshold = fit_threshold(confidences) if confidences else quiet_threshold
    limits = (quiet_threshold, threshold)
    rows = [
        _row(
            sigma,
            [one for p in reporting for one in p if one.sigma == sigma],
            high,
            decision,
            limits,
        )
        for sigma in (0.0, *SIGMAS)
    ]
    return NoiseReport(
        (MARGIN * high, high), threshold, truth, len(fitting), len(reporting), tuple(rows)
    )


def _row(
    sigma: float,
    shown: Sequence[Shown],
    high: float,
    decision: str,
    limits: tuple[float | None, float | None],
) -> dict[str, float]:
    quiet_limit, noisy_limit = limits
    taken = [one.level >= high for one in shown]
    labels = [
        one.answer(high).label(decision, noisy_limit if noisy else quiet_limit)
        for one, noisy in zip(shown, taken, strict=True)
    ]
    right = np.array([label == one.truth for label, one in zip(labels, shown, strict=True)])
    accepted = np.array([label != REJECTED for label in labels])
    quiet = [one.quiet.label(decision, quiet_limit) == one.truth for one in shown]
    noisy = [one.noisy.label(decision, noisy_limit) == one.truth for one in shown]
    return {
        "sigma": sigma,
        "level": float(np.median([one.level for one in shown])),
        "noisy": float(np.mean(taken)),
        "quiet_views": float(np.mean(quiet)),
        "noisy_views": float(np.mean(noisy)),
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
