"""The export from end to end: resolve, normalise, assemble, compare, write."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from blurvote.export.backbone import Backbone, normalise
from blurvote.export.classifier import Classifier, ModelOptions
from blurvote.export.guard_graph import assemble, finish
from blurvote.export.models import resolve
from blurvote.export.onnx_models import load_proto
from blurvote.export.parity import ParityReport, check_parity
from blurvote.export.precision.convert import convert
from blurvote.export.precision.cost import Cost
from blurvote.export.precision.options import PrecisionOptions
from blurvote.export.writer import check_target, is_guard, write_guard
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import ExportError, GuardError
from blurvote.runtime.metadata import GuardMetadata

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
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> ExportReport:
    """Turns a classifier into a guard, and writes it if it computes what the classifier does.

    Args:
        model: `torchvision:NAME`, `package.module:factory`, the path of an ONNX file, or a
            `torch.nn.Module`, whose attribute `classes` may name its classes. With `precision`
            also the path of an fp32 guard, which keeps its kind and its defence.
        output: the guard to write. A guard that is there is replaced.
        kind: `"views"` takes views that blurvote builds; `"frames"` takes uint8 frames and needs
            nothing but an ONNX runtime.
        frame_size: of a `"frames"` guard: `(height, width)` in pixels, or `"dynamic"`.
        options: what the model itself does not say.
        defense: fields of `Defense` that replace what the model says (`mean` and `std` in the
            model's channel order), or a whole `Defense` (in R, G, B), which replaces all of it.
        precision: what to convert the backbone to, once the fp32 guard has passed the comparison;
            None leaves it in fp32.
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
    size = _frame_size(kind, frame_size)
    check_target(path, overwrite)
    if precision and isinstance(model, (str, Path)) and is_guard(Path(model)):
        if kind != "views" or frame_size or defense or options != ModelOptions():
            raise ExportError(
                f"{model} is a guard already, and keeps its kind, its defence and its labels: only "
                "--precision and what belongs to it can be chosen for it"
            )
        say(f"loading {model}")
        made = _opened(Path(model))
    else:
        made = _assembled(model, kind, size, options, defense, say)
    guard, metadata, cost = made.guard, made.metadata, None
    if precision:
        converted = convert(guard, metadata, precision, say)
        guard, metadata, cost = converted.guard, converted.metadata, converted.cost
    say(f"writing {path}")
    size_bytes = write_guard(guard, path)
    opset = next(item.version for item in guard.opset_import if item.domain in ("", "ai.onnx"))
    return ExportReport(
        path,
        size_bytes,
        time.perf_counter() - started,
        opset,
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
    say: Callable[[str], None],
) -> _Made:
    """The guard of a classifier, compared with it."""
    wanted = _wanted_crop(defense)
    say(f"loading {model if isinstance(model, (str, Path)) else type(model).__qualname__}")
    classifier = resolve(model, options.weights, wanted)
    say("turning it into a backbone and trying batches of 1, 2 and 3")
    backbone = normalise(classifier, options, wanted)
    metadata = GuardMetadata(
        kind=kind,
        defense=_defense(defense, classifier, backbone, options),
        labels=_labels(classifier, options, backbone.classes),
        frame_size=size,
        provenance=_provenance(classifier, backbone),
    )
    say("assembling the guard")
    guard = assemble(backbone, metadata)
    say("comparing it with the model on drawn frames")
    parity = check_parity(backbone, guard, metadata)
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


def _frame_size(
    kind: str, frame_size: tuple[int, int] | Literal["dynamic"] | None
) -> tuple[int, int] | None:
    if kind not in ("views", "frames"):
        raise ExportError(f"kind is {kind!r}; expected 'views' or 'frames'")
    if kind == "views":
        if frame_size is not None:
            raise ExportError(
                "a views guard takes frames of any size, so it has no frame size; leave "
                "--frame-size out, or use --input frames"
            )
        return None
    if frame_size is None:
        raise ExportError(
            "a frames guard needs --frame-size HEIGHTxWIDTH, such as 1080x1920, or dynamic"
        )
    return None if frame_size == "dynamic" else frame_size


def _wanted_crop(defense: Defense | Mapping[str, Any] | None) -> tuple[int, int] | None:
    if isinstance(defense, Defense):
        return defense.crop
    if defense is None or "crop" not in defense:
        return None
    # A Defense checks and widens the value; stretch keeps it from comparing it with a resize.
    return Defense(fit="stretch", crop=defense["crop"]).crop


def _defense(
    given: Defense | Mapping[str, Any] | None,
    classifier: Classifier,
    backbone: Backbone,
    options: ModelOptions,
) -> Defense:
    """What the model says, overridden by what the caller says; `mean` and `std` turned to RGB."""
    if isinstance(given, Defense):
        return given
    fields = {**classifier.preprocessing, **(given or {}), "crop": backbone.crop}
    if options.channels == "bgr":
        for name in ("mean", "std"):
            if name in fields:
                fields[name] = tuple(fields[name])[::-1]
    if "resize" not in fields or ("resize" not in (given or {}) and _cropped(given)):
        # The usual margin around the crop: 256 for 224.
        fields["resize"] = round(max(backbone.crop) * 256 / 224)
    return Defense(**fields)


def _cropped(given: Mapping[str, Any] | None) -> bool:
    return given is not None and "crop" in given


def _labels(classifier: Classifier, options: ModelOptions, classes: int) -> tuple[str, ...]:
    if options.labels is not None:
        if len(options.labels) != classes:
            raise ExportError(
                f"{len(options.labels)} labels were given, but {classifier.origin} has {classes} "
                "classes"
            )
        return options.labels
    # Labels that the model carries but that do not fit (a replaced head) are none.
    return classifier.labels if len(classifier.labels) == classes else ()


def _provenance(classifier: Classifier, backbone: Backbone) -> dict[str, Any]:
    tools = {}
    for package in ("blurvote", "onnx", "onnxruntime"):
        try:
            tools[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        **classifier.provenance,
        **tools,
        "adaptations": list(backbone.adaptations),
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
