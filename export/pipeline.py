"""The export from end to end: resolve, normalise, assemble, compare, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from blurvote.export.backbone import LOGITS, Backbone, logit_tolerance, normalise
from blurvote.export.classifier import ModelOptions
from blurvote.export.denoiser.loading import DenoiserModel, load_denoiser
from blurvote.export.denoiser.views_graph import denoised_views_model
from blurvote.export.description import (
    adaptive,
    check_thresholds,
    defense_of,
    frame_size_of,
    labels_of,
    provenance_of,
    wanted_crop,
)
from blurvote.export.guard_graph import assemble, backbone_of, finish
from blurvote.export.models import resolve
from blurvote.export.onnx_models import load_proto
from blurvote.export.opset import opset_of
from blurvote.export.ort_session import Session
from blurvote.export.parity import ParityReport, check_parity
from blurvote.export.precision.convert import convert
from blurvote.export.precision.cost import Cost
from blurvote.export.precision.options import PrecisionOptions
from blurvote.export.writer import check_target, is_guard, write_guard
from blurvote.runtime.defense import NOISY_FIELDS, Defense
from blurvote.runtime.errors import ExportError, GuardError
from blurvote.runtime.metadata import DenoiserEntry, GuardMetadata

if TYPE_CHECKING:
    import onnx
    import torch

__all__ = ["ExportReport", "export_guard"]


@dataclass(frozen=True)
class ExportReport:
    """What was written.

    Attributes:
        path: the guard.
        size_bytes: of the file.
        seconds: that the export took.
        opset: of the guard's operators.
        classes: number of classes.
        metadata: what the guard says about itself.
        parity: the comparison that it passed, in fp32.
        adaptations: what was changed to make the model a backbone, in sentences.
        cost: what a precision below fp32 costs; None for fp32.
    """

    path: Path
    size_bytes: int
    seconds: float
    opset: int
    classes: int
    metadata: GuardMetadata
    parity: ParityReport
    adaptations: tuple[str, ...]
    cost: Cost | None = None


def export_guard(
    model: str | Path | torch.nn.Module,
    output: str | Path,
    *,
    kind: Literal["views", "frames"] = "views",
    frame_size: tuple[int, int] | Literal["dynamic"] | None = None,
    options: ModelOptions | None = None,
    defense: Defense | Mapping[str, Any] | None = None,
    precision: PrecisionOptions | None = None,
    denoiser: str | Path | None = None,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> ExportReport:
    """Turns a classifier into a guard, and writes it if it computes what the classifier does.

    Args:
        model: `torchvision:NAME`, `package.module:factory`, the path of an ONNX file, or a
            `torch.nn.Module`, whose attribute `classes` may name its classes. With `precision`
            also the path of an fp32 guard, with `denoiser` that of any guard; it keeps its kind
            and its defence, but for what `denoiser` adds.
        output: the guard to write. A guard that is there is replaced.
        kind: `"views"` takes views that blurvote builds; `"frames"` takes uint8 frames and needs
            nothing but an ONNX runtime.
        frame_size: of a `"frames"` guard: `(height, width)` in pixels, or `"dynamic"`.
        options: what the model itself does not say.
        defense: fields of `Defense` that replace what the model says (`mean` and `std` in the
            model's channel order), or a whole `Defense` (in R, G, B), which replaces all of it.
        precision: what to convert the backbone to, once the fp32 guard has passed the comparison;
            None leaves it in fp32.
        denoiser: gives noisy frames views of their own (`Defense.noisy_views`; unless they are
            named, and where there are three: 60 % denoised, 90 %, and 70 % and blurred):
            `"shipped"` is blurvote's own denoiser, else the path of an ONNX file, see
            `export.denoiser.roles`. None: all frames have the same views.
        overwrite: replace a file at `output` that is not a guard.
        progress: called with a line of text before each step.

    Raises:
        ExportError: the model cannot be turned into a guard, or the file cannot be written.
        ParityError: the guard would not compute what its model computes; nothing is written.
        PrecisionError: the lower precision would lose too much; nothing is written.
        GuardError: `model` is a guard whose metadata is broken.
        DefenseError: the defence is impossible, or cannot serve frames of `frame_size`.
        ProviderError: onnxruntime is not installed.
    """
    started = time.perf_counter()
    say = progress or (lambda line: None)
    options = options or ModelOptions()
    path = Path(output)
    size = frame_size_of(kind, frame_size)
    check_target(path, overwrite)
    if (precision or denoiser) and isinstance(model, (str, Path)) and is_guard(Path(model)):
        if isinstance(defense, Defense):
            changes = {"defense"}
        else:
            changes = set(defense or {}).difference(NOISY_FIELDS if denoiser else ())
        if kind != "views" or frame_size or changes or options != ModelOptions():
            raise ExportError(
                f"{model} is a guard already, and keeps its kind, its defence and its labels: only "
                "--precision and --denoiser and what belongs to them can be chosen for it"
            )
        say(f"loading {model}")
        made = _opened(Path(model))
        if denoiser:
            assert not isinstance(defense, Defense)
            made = _with_denoiser(made, denoiser, dict(defense or {}), say)
    else:
        made = _assembled(model, kind, size, options, defense, denoiser, say)
    guard, metadata, cost = made.guard, made.metadata, None
    if precision:
        converted = convert(guard, metadata, precision, say)
        guard, metadata, cost = converted.guard, converted.metadata, converted.cost
    say(f"writing {path}")
    size_bytes = write_guard(guard, path)
    return ExportReport(
        path,
        size_bytes,
        time.perf_counter() - started,
        opset_of(guard),
        made.classes,
        metadata,
        made.parity,
        made.adaptations,
        cost,
    )


@dataclass(frozen=True)
class _Made:
    """An fp32 guard in memory."""

    guard: onnx.ModelProto
    metadata: GuardMetadata
    classes: int
    parity: ParityReport
    adaptations: tuple[str, ...]


def _assembled(
    model: str | Path | torch.nn.Module,
    kind: Literal["views", "frames"],
    size: tuple[int, int] | None,
    options: ModelOptions,
    defense: Defense | Mapping[str, Any] | None,
    denoiser: str | Path | None,
    say: Callable[[str], None],
) -> _Made:
    """The guard of a classifier, compared with it."""
    wanted = wanted_crop(defense)
    say(f"loading {model if isinstance(model, (str, Path)) else type(model).__qualname__}")
    classifier = resolve(model, options.weights, wanted)
    say("turning it into a backbone and trying batches of 1, 2 and 3")
    backbone = normalise(classifier, options, wanted)
    metadata = GuardMetadata(
        kind=kind,
        defense=defense_of(defense, classifier, backbone, options, denoised=denoiser is not None),
        labels=labels_of(classifier, options, backbone.classes),
        frame_size=size,
        provenance=provenance_of(classifier, backbone),
    )
    check_thresholds(metadata.kind, metadata.defense)
    loaded = _load(denoiser, metadata.defense, say)
    metadata = replace(metadata, denoiser=_entry(loaded, metadata))
    say("assembling the guard")
    guard = assemble(backbone, metadata, loaded)
    say("comparing it with the model on drawn frames")
    parity = check_parity(backbone, guard, metadata, loaded)
    metadata = replace(metadata, parity=parity.to_dict())
    guard = finish(guard, metadata)
    return _Made(guard, metadata, backbone.classes, parity, backbone.adaptations)


def _opened(path: Path) -> _Made:
    """A guard that is there; it passed its comparison when it was written."""
    guard = load_proto(path)
    entries = {entry.key: entry.value for entry in guard.metadata_props}
    metadata = GuardMetadata.from_map(entries, str(path))
    classes = guard.graph.output[0].type.tensor_type.shape.dim[-1].dim_value
    adaptations = tuple(map(str, metadata.provenance.get("adaptations", ())))
    try:
        parity = ParityReport.from_dict(metadata.parity)
    except (TypeError, ValueError) as error:
        raise GuardError(
            f"{path} has a broken parity report in its guard metadata ({error}); export it again"
        ) from error
    return _Made(guard, metadata, classes, parity, adaptations)


def _with_denoiser(
    made: _Made, denoiser: str | Path, fields: dict[str, Any], say: Callable[[str], None]
) -> _Made:
    """The same guard with a denoiser, compared with itself; its own comparison is kept."""
    guard, metadata = made.guard, made.metadata
    defense = adaptive(metadata.defense, fields, denoised=True)
    check_thresholds(metadata.kind, defense)
    proto = backbone_of(guard)
    session = Session(proto, "the guard's backbone")
    backbone = Backbone(
        proto=proto,
        crop=defense.crop,
        classes=made.classes,
        tolerance=logit_tolerance(proto),
        reference=lambda views: session.run(views, LOGITS)[0].astype(np.float64),
        adaptations=made.adaptations,
    )
    loaded = _load(denoiser, defense, say)
    metadata = replace(metadata, defense=defense)
    metadata = replace(metadata, denoiser=_entry(loaded, metadata))
    say("assembling the guard")
    guard = assemble(backbone, metadata, loaded)
    say("comparing it with the denoiser on drawn frames with noise")
    compared = check_parity(backbone, guard, metadata, loaded)
    parity = made.parity.with_noisy(compared)
    metadata = replace(metadata, parity=parity.to_dict())
    return replace(made, guard=finish(guard, metadata), metadata=metadata, parity=parity)


def _load(
    denoiser: str | Path | None, defense: Defense, say: Callable[[str], None]
) -> DenoiserModel | None:
    if denoiser is None:
        return None
    say(f"loading the denoiser ({denoiser})")
    return load_denoiser(denoiser, defense.crop)


def _entry(denoiser: DenoiserModel | None, metadata: GuardMetadata) -> DenoiserEntry | None:
    """What a guard says about its denoiser; a `frames` guard has it in its graph."""
    if denoiser is None:
        return None
    data = b""
    if metadata.kind == "views":
        data = denoised_views_model(denoiser, metadata.defense).SerializeToString()
    return DenoiserEntry(denoiser.name, denoiser.sha256, data)
