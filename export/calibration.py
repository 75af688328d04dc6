"""Fits the threshold of the decision `mean` to a target coverage, and writes it into a guard.

Fitted on one half of the pictures and reported on the other: a threshold's coverage on the very
pictures that chose it would flatter it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture, list_pictures, read_picture
from blurvote.export.guard_graph import backbone_of, finish, replace_vote
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
        threshold: smallest mean softmax that is accepted.
        target_coverage: part of the pictures that was to be accepted.
        seed: of the split.
        fitted_on, reported_on: numbers of pictures.
        fitted_coverage, coverage: part accepted among the first and among the second.
        accuracy_accepted, accuracy_all: on the second, of accepted and of all; None without labels.
        skipped: pictures that could not be read or served, with the reason.
    """

    path: Path
    threshold: float
    target_coverage: float
    seed: int
    fitted_on: int
    reported_on: int
    fitted_coverage: float
    coverage: float
    accuracy_accepted: float | None
    accuracy_all: float | None
    skipped: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "path": str(self.path), "skipped": dict(self.skipped)}


@dataclass(frozen=True)
class _Answer:
    """Confidence (-1 where no view votes) and label of one picture, and its true index if known."""

    confidence: float
    label: int
    truth: int | None


def calibrate(
    guard: str | Path,
    images: str | Path,
    coverage: float,
    *,
    labels: str | Path | None = None,
    output: str | Path | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> CalibrationReport:
    """Makes a guard decide by `mean`, with a threshold that accepts `coverage` of the pictures.

    Args:
        guard: of either kind and any decision.
        images: folder of pictures, searched through all its folders.
        coverage: part to accept, above 0 and at most 1.
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
    if not 0 < coverage <= 1:
        raise ExportError(f"coverage is {coverage!r}; expected a number above 0 and at most 1")
    if seed < 0:
        raise ExportError(f"seed is {seed!r}; expected an integer of at least 0")
    source, target = Path(guard), Path(output or guard)
    proto, metadata = _open(source)
    _check_views(source, metadata)
    check_target(target, overwrite)
    pictures = list_pictures(Path(images), Path(labels) if labels else None)
    answers, skipped = _classify(proto, metadata.defense, pictures, say)
    if len(answers) < FEWEST:
        raise ExportError(
            f"only {len(answers)} pictures of {images} can be used; at least {FEWEST} are needed"
        )
    order = np.random.default_rng(seed).permutation(len(answers))
    half = len(answers) // 2
    fitting = [answers[index] for index in order[:half]]
    reporting = [answers[index] for index in order[half:]]
    threshold = fit_threshold([answer.confidence for answer in fitting], coverage)
    accuracy_accepted, accuracy_all = _accuracies(reporting, threshold)
    report = CalibrationReport(
        path=target,
        threshold=threshold,
        target_coverage=coverage,
        seed=seed,
        fitted_on=len(fitting),
        reported_on=len(reporting),
        fitted_coverage=_coverage(fitting, threshold),
        coverage=_coverage(reporting, threshold),
        accuracy_accepted=accuracy_accepted,
        accuracy_all=accuracy_all,
        skipped=skipped,
    )
    say(f"writing {target}")
    write_guard(_with_threshold(proto, metadata, report), target)
    return report


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
    changed = replace(
        metadata,
        defense=replace(metadata.defense, decision="mean", threshold=report.threshold),
        provenance={**metadata.provenance, "calibration": kept},
    )
    if metadata.kind == "frames":
        return replace_vote(proto, changed)
    return finish(proto, changed)
