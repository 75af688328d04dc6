"""Finds the model that a MODEL argument names."""

from __future__ import annotations

import re
from pathlib import Path

from blurvote.export.classifier import Classifier
from blurvote.export.onnx_models import load_onnx
from blurvote.runtime.errors import ExportError

__all__ = ["resolve"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
TORCHVISION = "torchvision:"


def resolve(model: str, weights: str, crop: tuple[int, int] | None) -> Classifier:
    """The classifier that `model` names.

    Args:
        model: `torchvision:NAME`, `package.module:factory`, or the path of an ONNX file.
        weights: see `ModelOptions`; only torchvision's models have them apart.
        crop: `(height, width)` of the views that it is to take; None takes its own.

    Raises:
        ExportError: there is no such model, or it is not one that can be exported.
    """
    if model.startswith(TORCHVISION):
        from blurvote.export.torch_models import load_torchvision

        return load_torchvision(model.removeprefix(TORCHVISION), weights, crop)
    if weights != "default":
        raise ExportError(
            f"--weights {weights} is for torchvision models; {model} brings its own weights"
        )
    if _FACTORY.fullmatch(model) and not Path(model).exists():
        from blurvote.export.torch_models import load_factory

        return load_factory(model, crop or (224, 224))
    return load_onnx(Path(model))
