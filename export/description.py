"""What a guard says about itself, from what its model and its maker say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

from blurvote.export.backbone import Backbone
from blurvote.export.classifier import Classifier, ModelOptions
from blurvote.runtime.defense import NOISY_FIELDS, Defense
from blurvote.runtime.errors import ExportError

__all__ = [
    "adaptive",
    "check_thresholds",
    "defense_of",
    "frame_size_of",
    "labels_of",
    "provenance_of",
    "wanted_crop",
]

DEFAULT_NOISY_VIEWS = ("60%-denoised", "90%-denoised", "70%-denoised-single-blur")


def frame_size_of(
    kind: str, frame_size: tuple[int, int] | Literal["dynamic"] | None
) -> tuple[int, int] | None:
    """The frame size of a guard of this kind; None where it has none.

    Raises:
        ExportError: the kind does not exist, or does not fit the frame size.
    """
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


def wanted_crop(defense: Defense | Mapping[str, Any] | None) -> tuple[int, int] | None:
    """The crop that the caller asks for."""
    if isinstance(defense, Defense):
        return defense.crop
    if defense is None or "crop" not in defense:
        return None
    # A Defense checks and widens the value; stretch keeps it from comparing it with a resize.
    return Defense(fit="stretch", crop=defense["crop"]).crop


def defense_of(
    given: Defense | Mapping[str, Any] | None,
    classifier: Classifier,
    backbone: Backbone,
    options: ModelOptions,
    denoised: bool,
) -> Defense:
    """What the model says, overridden by what the caller says; `mean` and `std` turned to RGB.

    Args:
        denoised: whether noisy frames are to have views of their own.

    Raises:
        DefenseError: the defence is impossible.
        ExportError: see `adaptive`.
    """
    if isinstance(given, Defense):
        return adaptive(given, {}, denoised)
    fields = {**classifier.preprocessing, **(given or {}), "crop": backbone.crop}
    if options.channels == "bgr":
        for name in ("mean", "std"):
            if name in fields:
                fields[name] = tuple(fields[name])[::-1]
    if "resize" not in fields or ("resize" not in (given or {}) and _cropped(given)):
        # The usual margin around the crop: 256 for 224.
        fields["resize"] = round(max(backbone.crop) * 256 / 224)
    noisy = {name: fields.pop(name) for name in NOISY_FIELDS if name in fields}
    return adaptive(Defense(**fields), noisy, denoised)


def adaptive(defense: Defense, noisy: Mapping[str, Any], denoised: bool) -> Defense:
    """`defense` with the usual views of noisy frames, unless it has or is given some.

    Args:
        defense: what is known already.
        noisy: the fields of `NOISY_FIELDS` that the caller gives.
        denoised: whether noisy frames are to have views of their own.

    Raises:
        DefenseError: the fields are impossible.
        ExportError: there are no usual views for so many, or there are some and no denoiser.
    """
    views = noisy.get("noisy_views", defense.noisy_views)
    if not denoised:
        if views:
            raise ExportError(
                f"noisy frames are to have the views {', '.join(views)}, which need "
                "a denoiser: --denoiser takes the one that blurvote ships, or a path"
            )
        return replace(defense, **noisy)
    if views:
        return replace(defense, **noisy)
    if len(defense.passes) != len(DEFAULT_NOISY_VIEWS):
        raise ExportError(
            f"quiet frames have {len(defense.passes)} views: name as many of noisy frames with "
            f"--noisy-views (the usual three are {', '.join(DEFAULT_NOISY_VIEWS)})"
        )
    return replace(defense, **{**noisy, "noisy_views": DEFAULT_NOISY_VIEWS})


def check_thresholds(kind: str, defense: Defense) -> None:
    """Raises for what could never be calibrated.

    Raises:
        ExportError: a frames guard with a denoiser is to decide by `mean` without a threshold.
    """
    if kind != "frames" or not defense.adaptive or defense.decision != "mean":
        return
    fields = {"--threshold": defense.threshold, "--noisy-threshold": defense.noisy_threshold}
    missing = [option for option, value in fields.items() if value is None]
    if missing:
        raise ExportError(
            f"a frames guard with a denoiser that decides by mean needs {' and '.join(missing)}: "
            "blurvote calibrate fits them for a views guard of the same model"
        )


def labels_of(classifier: Classifier, options: ModelOptions, classes: int) -> tuple[str, ...]:
    """The class names; empty where there are none.

    Raises:
        ExportError: those that were given are too few or too many.
    """
    if options.labels is not None:
        if len(options.labels) != classes:
            raise ExportError(
                f"{len(options.labels)} labels were given, but {classifier.origin} has {classes} "
                "classes"
            )
        return options.labels
    # Labels that the model carries but that do not fit (a replaced head) are none.
    return classifier.labels if len(classifier.labels) == classes else ()


def provenance_of(classifier: Classifier, backbone: Backbone) -> dict[str, Any]:
    """Where a guard comes from."""
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


def _cropped(given: Mapping[str, Any] | None) -> bool:
    return given is not None and "crop" in given
