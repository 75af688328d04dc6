"""From an fp32 guard to one of lower precision, with the report of what that cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.calibration_images import Picture
from blurvote.export.guard_graph import backbone_of, replace_backbone
from blurvote.export.ort_session import Session
from blurvote.export.parity_frames import draw_frames
from blurvote.export.precision.cost import Cost, measure_cost, plain
from blurvote.export.precision.folding import fold
from blurvote.export.precision.half import to_half
from blurvote.export.precision.options import PrecisionOptions
from blurvote.export.precision.quantise import OP_TYPES, Quantiser
from blurvote.export.precision.ranges import collect
from blurvote.export.precision.samples import Parts, Samples, split
from blurvote.export.precision.search import Judge, choose
from blurvote.runtime.errors import ExportError, PrecisionError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["Converted", "convert"]

JUDGED_AT = (0.0, 0.25)  # noise of the frames that choices are made by: a clean one, a hard one

CHECKED = 16  # pictures whose activations are compared with fp16's range, besides drawn frames

Say = Callable[[str], None]
Views = NDArray[np.float32]


@dataclass(frozen=True)
class Converted:
    """A guard of lower precision: its graph, what it says about itself, and what it cost."""

    guard: onnx.ModelProto
    metadata: GuardMetadata
    cost: Cost


def convert(
    guard: onnx.ModelProto, metadata: GuardMetadata, options: PrecisionOptions, say: Say
) -> Converted:
    """The guard with its backbone in another precision; views and vote stay as they are.

    Args:
        guard: of either kind, in fp32.
        metadata: of `guard`.
        options: what to make of it.
        say: called with a line of text now and then.

    Raises:
        PrecisionError: the new guard would lose more than `options.max_loss`.
        ExportError: the guard cannot be converted, or the pictures cannot be used.
    """
    if metadata.precision != "fp32":
        raise ExportError(
            f"the guard is {metadata.precision} already; --precision starts from an fp32 guard"
        )
    backbone = backbone_of(guard)
    folded = fold(backbone)
    drawn = _drawn_views(metadata)
    samples: Samples | None = None
    if options.images is not None:
        samples = Samples(options.images, options.truth, metadata.defense, options.seed, say)
        _check_truth(samples.pictures, backbone, options)
    parts = split(samples.pictures if samples else (), options.seed)
    if options.name == "int8":
        assert samples is not None  # the options say so
        low, settings = _int8(backbone, folded, samples, parts, options, say)
    else:
        checking = parts.calibrate[:CHECKED]
        parts = Parts(checking, (), (*parts.calibrate[CHECKED:], *parts.choose, *parts.report))
        checked = samples.views(checking, 0.0) if samples else ()
        low, in_float = to_half(folded, itertools.chain(drawn, checked), say)
        settings = {"kept_in_fp32": list(in_float)}
    if options.truth and all(picture.truth is None for picture in parts.report):
        raise ExportError(
            f"{options.truth} names the class of none of the {len(parts.report)} pictures that are "
            "to report the accuracy; name more, or leave --truth out"
        )
    _check_finite(low, drawn, options.name)
    lowered = replace(metadata, precision=options.name)
    sizes = (guard.ByteSize(), replace_backbone(guard, low, lowered).ByteSize())
    cost = measure_cost(
        backbone, low, samples, parts.report, drawn, metadata.defense, sizes, options.seed, say
    )
    _check_loss(cost, options)
    report = {
        **settings,
        "seed": options.seed,
        "decision": metadata.defense.decision,
        "pictures": {name: len(part) for name, part in asdict(parts).items()},
        "skipped": len(samples.skipped) if samples else 0,
        **asdict(cost),
    }
    lowered = replace(lowered, precision_report=plain(report))
    return Converted(replace_backbone(guard, low, lowered), lowered, cost)


def _int8(
    backbone: onnx.ModelProto,
    folded: onnx.ModelProto,
    samples: Samples,
    parts: Parts,
    options: PrecisionOptions,
    say: Say,
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The int8 backbone, and how it was made."""
    say(f"choosing scales of weights; then the ranges of {len(parts.calibrate)} pictures")
    quantiser = Quantiser(folded, options.activations)
    histograms = collect(folded, OP_TYPES, samples.views(parts.calibrate, 0.0), say)
    say(f"comparing on {len(parts.choose)} other pictures, clean and noisy")
    judged = [views for sigma in JUDGED_AT for views in samples.views(parts.choose, sigma)]
    low, choice = choose(
        quantiser, histograms, Judge(backbone, judged), options.method, options.search_s, say
    )
    return low, {"activations": options.activations, "choice": asdict(choice)}


def _drawn_views(metadata: GuardMetadata) -> list[Views]:
    builder = ViewBuilder(metadata.defense)
    return [
        builder.build(frame, views=metadata.defense.views)
        for frame in draw_frames(metadata.defense, metadata.frame_size)
    ]


def _check_truth(
    pictures: Sequence[Picture], backbone: onnx.ModelProto, options: PrecisionOptions
) -> None:
    """Refuses class indices that the model has not, which would count as wrong for ever."""
    classes = backbone.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for picture in pictures:
        if picture.truth is not None and picture.truth >= classes:
            raise ExportError(
                f"{options.truth} says that {picture.path.name} is of class {picture.truth}, but "
                f"the model's {classes} classes are 0 to {classes - 1}"
            )


def _check_finite(low: onnx.ModelProto, drawn: Sequence[Views], name: str) -> None:
    session = Session(low, f"the {name} backbone")
    if not all(np.isfinite(session.run(views, LOGITS)[0]).all() for views in drawn):
        raise PrecisionError(
            f"in {name} the model gives infinite or undefined logits on drawn frames, so nothing "
            "was written; use --precision fp32"
        )


def _check_loss(cost: Cost, options: PrecisionOptions) -> None:
    if cost.loss <= options.max_loss:
        return
    if not cost.noise:
        what = "points of agreement with fp32 on drawn frames"
    elif cost.noise[0].first_view_gap is None:
        what = "points of clean verdicts, which contradict fp32's or are rejected more often"
    else:
        what = "points of clean accuracy"
    if options.name == "int8":
        advice = "Calibrate on more pictures like those to come"
    elif not cost.noise:
        advice = "Measure it on pictures like those to come (--calibrate IMAGES)"
    else:
        advice = "Use --precision fp32"
    raise PrecisionError(
        f"{options.name} would lose {cost.loss:.1f} {what} (at most {options.max_loss:g}), so "
        f"nothing was written. {advice}, or accept the loss with --max-loss "
        f"{np.ceil(cost.loss):g}"
    )
