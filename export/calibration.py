"""Fits a guard's thresholds to pictures of its user, and writes them into it.

The threshold of the decision `mean`, to a target coverage; and where noisy frames have views of
their own, when a frame is noisy, and the threshold of those (see `noise_calibration`).

Fitted on one half of the pictures and reported on the other: a threshold's coverage on the very
pictures that chose it would flatter it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from blurvote.export.calibration_fit import Judged, Plan
from blurvote.export.calibration_images import list_pictures, write_list
from blurvote.export.guard_graph import finish, replace_vote
from blurvote.export.noise_calibration import NoiseReport
from blurvote.export.onnx_models import load_proto
from blurvote.export.writer import check_target, write_guard
from blurvote.runtime.errors import ExportError, GuardError
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["CalibrationReport", "calibrate"]


@dataclass(frozen=True)
class CalibrationReport:
    """A threshold and what it does on pictures that had no part in choosing it.

    Attributes:
        path: the guard that was written.
        threshold: smallest mean softmax that is accepted; None where the guard decides otherwise.
        target_coverage: part of the pictures that was to be accepted; None without a threshold.
        seed: of the split.
        fitted_on, reported_on: numbers of pictures.
        fitted_coverage, coverage: part accepted among the first and among the second, as they are.
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


def calibrate(
    guard: str | Path,
    images: str | Path,
    coverage: float | None = None,
    *,
    noisy_coverage: float | None = None,
    labels: str | Path | None = None,
    held_out: str | Path | None = None,
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
        held_out: where to list the pictures that had no part in the fit, as a TSV that `blurvote
            evaluate` reads; needs `labels`.
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
    if held_out and not labels:
        raise ExportError("a list of held-out pictures needs their labels; give --labels, too")
    source, target = Path(guard), Path(output or guard)
    proto, metadata = _open(source)
    _check_views(source, metadata)
    _check_parts(source, metadata, coverage, noisy_coverage)
    check_target(target, overwrite)
    pictures = list_pictures(Path(images), Path(labels) if labels else None)
    plan = Plan(proto, metadata, pictures, coverage, noisy_coverage, seed, say)
    fit = plan.adaptive(labels is not None) if metadata.defense.adaptive else plan.plain()
    accuracy_accepted, accuracy_all = _accuracies(fit.reporting)
    report = CalibrationReport(
        path=target,
        threshold=fit.threshold,
        target_coverage=coverage,
        seed=seed,
        fitted_on=len(fit.fitting),
        reported_on=len(fit.reporting),
        fitted_coverage=_coverage(fit.fitting),
        coverage=_coverage(fit.reporting),
        accuracy_accepted=accuracy_accepted,
        accuracy_all=accuracy_all,
        skipped=fit.skipped,
        noise=fit.noise,
    )
    if held_out:
        write_list(fit.held_out, Path(held_out))
    say(f"writing {target}")
    write_guard(_with_threshold(proto, metadata, report), target)
    return report


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


def _coverage(judged: list[Judged]) -> float:
    return sum(one.accepted for one in judged) / len(judged)


def _accuracies(judged: list[Judged]) -> tuple[float | None, float | None]:
    """Accuracy on accepted pictures and on all (a rejected one counts as wrong), where known."""
    known = [one for one in judged if one.right is not None]
    accepted = [one for one in known if one.accepted]
    right = sum(bool(one.right) for one in known)
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
