"""A classifier on its way to becoming a guard: its graph, and what is known about its input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Classifier", "ModelOptions", "Reference"]

Channels = Literal["rgb", "bgr"]
Layout = Literal["auto", "nchw", "nhwc"]
Output = Literal["auto", "logits", "probabilities"]

Reference = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""`(B, 3, h, w)` float32 views (RGB, normalised) to `(B, C)` float64 logits."""


@dataclass(frozen=True)
class ModelOptions:
    """What the caller says about a model; each default means "read it from the model".

    Attributes:
        weights: of a torchvision model: `"default"` (downloaded), `"none"` (random), or the path
            of a state dict.
        channels: order of the channels that the model was trained on.
        layout: of the model's input; `"auto"` takes the axis that is 3 long.
        output: whether the model ends in logits or in probabilities; `"auto"` looks at values.
        output_name: which output holds the classes, where the model has several.
        labels: class names in index order.
    """

    weights: str = "default"
    channels: Channels = "rgb"
    layout: Layout = "auto"
    output: Output = "auto"
    output_name: str | None = None
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Classifier:
    """A model as it was found.

    Attributes:
        proto: its graph, with weights inside.
        origin: how to call it in messages.
        provenance: where it comes from: at least `source` and `sha256`.
        preprocessing: fields of `Defense` that the model itself states, in its channel order.
        labels: class names that the model itself states; empty where it does not.
        reference: the model outside the exported graph (its torch module), for the parity report;
            None where the graph is all there is.
    """

    proto: onnx.ModelProto
    origin: str
    provenance: Mapping[str, Any]
    preprocessing: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    reference: Reference | None = None
