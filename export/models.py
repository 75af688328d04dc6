"""Finds the model that a MODEL argument names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from blurvote.export.classifier import Classifier
from blurvote.export.onnx_models import load_onnx
from blurvote.runtime.errors import ExportError

__all__ = ["resolve"]

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
TORCHVISION = "torchvision:"


def resolve(model: Any, weights: str, crop: tuple[int, int] | None) -> Classifier:
    """The classifier that `model` is or names.

    Args:
        model: `torchvision:NAME`, `package.module:factory`, the path of an ONNX file, or a
            `torch.nn.Module`.
        weights: see `ModelOptions`; only torchvision's models have them apart.
        crop: `(height, width)` of the views that it is to take; None takes its own.

    Raises:
        ExportError: there is no such model, or it is not one that can be exported.
    """
    if not isinstance(model, (str, Path)):
        from blurvote.export.torch_models import load_module

        return load_module(model, type(model).__qualname__, crop or (224, 224))
    model = str(model)
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
