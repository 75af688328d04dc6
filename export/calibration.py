"""Fits a guard's thresholds to pictures of its user, and writes them into it.

The threshold of the decision `mean`, to a target coverage; and where noisy frames have views of
their own, when a frame is noisy, and the threshold of those (see `noise_calibration`).

Fitted on one half of the pictures and reported on the other: a threshold's coverage on the very
pictures that chose it would flatter it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture, list_pictures, read_picture
from blurvote.export.guard_graph import backbone_of, finish, replace_vote
from blurvote.export.noise_calibration import NoiseReport, Shown, ask, fit_noise
from blurvote.export.onnx_models import load_proto
from blurvote.export.ort_session import Session
from blurvote.export.writer import check_target, write_guard
from blurvote.runtime.decision import softmax
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError, ExportError, GuardError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["CalibrationReport", "calibrate", "fit_threshold"]

FEWEST = 10  # pictures, below which neither half says anything


@dataclass(frozen=True)
class CalibrationReport:
    """A threshold and what it does on pictures that had no part in choosing it.

    Attributes:
        path: the guard that was written.
        threshold: smallest mean softmax that is accepted; None where the guard decides otherwise.
        target_coverage: part of the pictures that was to be accepted; None without a threshold.
        seed: of the split.
        fitted_on, reported_on: numbers of pictures.
        fitted_coverage, coverage: part accepted among the first and among the second.
        accuracy_accepted, accuracy_all: on the second, of accepted and of all; None without labels.
        skipped: pictures that could not be read or served, with the reason.
        noise: the switch to the views of noisy frames; None for a guard that has none.
    """

    path: Path
    threshold: float | None
    target_coverage: float | None
    seed: int
    fitted_on: int
    reported_on: int
    fitted_coverage: float
    coverage: float
    accuracy_accepted: float | None
    accuracy_all: float | None
    skipped: Mapping[str, str]
    noise: NoiseReport | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {**asdict(self), "path": str(self.path), "skipped": dict(self.skipped)}
        if self.noise is None:
            del values["noise"]
        return values


@dataclass(frozen=True)
class _Answer:
    """Confidence (-1 where no view votes) and label of one picture, and its true index if known."""

    confidence: float
    label: int
    truth: int | None


def calibrate(
    guard: str | Path,
    images: str | Path,
    coverage: float | None = None,
    *,
    noisy_coverage: float | None = None,
    labels: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> CalibrationReport:
    """Makes a guard decide by `mean`, with a threshold that accepts `coverage` of the pictures.

    In a guard with a denoiser it also fits from which noise on frames are denoised, and for `mean`
    the threshold of those.

    Args:
        guard: of either kind and any decision.
        images: folder of pictures, searched through all its folders.
        coverage: part to accept, above 0 and at most 1; None leaves the decision as it is and fits
            the noise switch alone.
        noisy_coverage: part to accept of noisy frames; None takes `coverage`.
        labels: TSV of file and class index (more columns are ignored), for accuracies.
        output: where to write; None replaces the guard.
        seed: of the split into halves.
        overwrite: replace a file at `output` that is not a guard.
        progress: called with a line of text now and then.

    Raises:
        GuardError: `guard` is not a guard.
        ExportError: too few pictures, an impossible coverage or seed, labels that do not fit, a
            guard that cannot decide by `mean`, or a file that cannot be written.
    """
    say = progress or (lambda line: None)
    for name, part in (("coverage", coverage), ("noisy_coverage", noisy_coverage)):
        if part is not None and not 0 < part <= 1:
            raise ExportError(f"{name} is {part!r}; expected a number above 0 and at most 1")
    if seed < 0:
        raise ExportError(f"seed is {seed!r}; expected an integer of at least 0")
    source, target = Path(guard), Path(output or guard)
    proto, metadata = _open(source)
    _check_views(source, metadata)
    _check_parts(source, metadata, coverage, noisy_coverage)
    check_target(target, overwrite)
    pictures = list_pictures(Path(images), Path(labels) if labels else None)
    asked: list[list[Shown]] = []
    if metadata.defense.adaptive:
        asked, skipped = ask(proto, metadata, pictures, seed, say)
        answers = [_quiet(shown[0], labels is not None) for shown in asked]
    else:
        answers, skipped = _classify(proto, metadata.defense, pictures, say)
    if len(answers) < FEWEST:
        raise ExportError(
            f"only {len(answers)} pictures of {images} can be used; at least {FEWEST} are needed"
        )
    order = np.random.default_rng(seed).permutation(len(answers))
    half = len(answers) // 2
    fitting = [answers[index] for index in order[:half]]
    reporting = [answers[index] for index in order[half:]]
    threshold = None
    if coverage is not None:
        threshold = fit_threshold([answer.confidence for answer in fitting], coverage)
    accuracy_accepted, accuracy_all = _accuracies(reporting, threshold or 0.0)
    report = CalibrationReport(
        path=target,
        threshold=threshold,
        target_coverage=coverage,
        seed=seed,
        fitted_on=len(fitting),
        reported_on=len(reporting),
        fitted_coverage=_coverage(fitting, threshold or 0.0),
        coverage=_coverage(reporting, threshold or 0.0),
        accuracy_accepted=accuracy_accepted,
        accuracy_all=accuracy_all,
        skipped=skipped,
    )
    if metadata.defense.adaptive:
        noise = fit_noise(
            [asked[index] for index in order[:half]],
            [asked[index] for index in order[half:]],
            metadata.defense.decision if coverage is None else "mean",
            threshold,
            None if coverage is None else partial(_fitted, coverage=noisy_coverage or coverage),
            "labels" if labels else "quiet verdicts",
        )
        report = replace(report, noise=noise)
    say(f"writing {target}")
    write_guard(_with_threshold(proto, metadata, report), target)
    return report


def _fitted(confidences: list[float], coverage: float) -> float:
    return fit_threshold(confidences, coverage)


def _check_parts(
    path: Path, metadata: GuardMetadata, coverage: float | None, noisy_coverage: float | None
) -> None:
    defense = metadata.defense
    if coverage is None and (not defense.adaptive or defense.decision == "mean"):
        raise ExportError(
            f"{path} needs a coverage, such as --coverage 0.9: without one only the noise switch "
            "can be fitted, of a guard that has a denoiser and decides by majority"
        )
    if noisy_coverage is not None and (coverage is None or not defense.adaptive):
        raise ExportError(
            "a noisy coverage was given, but no frame is noisy without a denoiser, and without a "
            "coverage nothing is rejected by confidence"
        )


def _quiet(shown: Shown, known: bool) -> _Answer:
    """What the quiet views say of a picture as it is."""
    return _Answer(shown.quiet.confidence, shown.quiet.mean, shown.truth if known else None)


def fit_threshold(confidences: list[float], coverage: float) -> float:
    """The threshold that accepts `coverage` of these confidences, rounded up to whole pictures.

    It lies midway between the last that is accepted and the first that is not, and is 0 where all
    are to be accepted.
    """
    ordered = sorted(confidences, reverse=True)
    accepted = math.ceil(coverage * len(ordered))
    if accepted == len(ordered):
        return 0.0
    middle = (ordered[accepted - 1] + ordered[accepted]) / 2
    return float(np.float32(min(max(middle, 0.0), 1.0)))  # the graph compares in float32


def _open(path: Path) -> tuple[onnx.ModelProto, GuardMetadata]:
    if not path.is_file():
        raise GuardError(f"{path} is not a file; expected a guard written by blurvote export")
    try:
        proto = load_proto(path)
    except ExportError as error:
        raise GuardError(str(error)) from error
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    return proto, GuardMetadata.from_map(entries, str(path))


def _check_views(path: Path, metadata: GuardMetadata) -> None:
    if metadata.kind == "frames" and metadata.defense.decision == "single":
        raise ExportError(
            f"{path} is a frames guard that builds the single-blur view alone, so there is no mean "
            "to take: export it again with --decision mean"
        )


def _classify(
    proto: onnx.ModelProto, defense: Defense, pictures: list[Picture], say: Callable[[str], None]
) -> tuple[list[_Answer], dict[str, str]]:
    session = Session(backbone_of(proto), "the guard's backbone")
    builder = ViewBuilder(defense)
    answers, skipped = [], {}
    for number, picture in enumerate(pictures, start=1):
        try:
            views = builder.build(read_picture(picture.path), colour="bgr")
        except (DefenseError, ExportError) as error:
            skipped[str(picture.path)] = str(error)
            continue
        (logits,) = session.run(views, LOGITS)
        answers.append(_answer(logits, picture.truth))
        if number % 50 == 0 or number == len(pictures):
            say(f"{number} of {len(pictures)} pictures")
    return answers, skipped


def _answer(logits: NDArray[np.float32], truth: int | None) -> _Answer:
    (votes,) = majority_vote(logits[None]).view_labels
    voting = votes != REJECTED
    if not voting.any():
        return _Answer(-1.0, REJECTED, truth)
    mean = softmax(logits[voting]).mean(axis=0)
    return _Answer(float(mean.max()), int(mean.argmax()), truth)


def _coverage(answers: list[_Answer], threshold: float) -> float:
    return sum(answer.confidence >= threshold for answer in answers) / len(answers)


def _accuracies(answers: list[_Answer], threshold: float) -> tuple[float | None, float | None]:
    """Accuracy on accepted pictures and on all (a rejected one counts as wrong), where known."""
    known = [answer for answer in answers if answer.truth is not None]
    accepted = [answer for answer in known if answer.confidence >= threshold]
    right = sum(answer.label == answer.truth for answer in accepted)
    return (right / len(accepted) if accepted else None, right / len(known) if known else None)


def _with_threshold(
    proto: onnx.ModelProto, metadata: GuardMetadata, report: CalibrationReport
) -> onnx.ModelProto:
    kept = report.to_dict()
    del kept["path"]
    kept["skipped"] = len(report.skipped)
    defense, noise = metadata.defense, report.noise
    if report.threshold is not None:
        defense = replace(defense, decision="mean", threshold=report.threshold)
    if noise is not None:
        defense = replace(
            defense, noise_switch=noise.noise_switch, noisy_threshold=noise.noisy_threshold
        )
    changed = replace(
        metadata,
        defense=defense,
        provenance={**metadata.provenance, "calibration": kept},
    )
    if metadata.kind == "frames":
        return replace_vote(proto, changed)
    return finish(proto, changed)
