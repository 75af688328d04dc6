"""What a caller chooses about a guard of lower precision."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from blurvote.runtime.errors import ExportError

__all__ = ["METHODS", "Activations", "Method", "PrecisionOptions"]

Activations = Literal["uint8", "int8"]
Method = Literal[
    "auto", "minmax", "percentile-99.9", "percentile-99.99", "percentile-99.999", "mse"
]
METHODS: tuple[Method, ...] = tuple(name for name in get_args(Method) if name != "auto")


@dataclass(frozen=True)
class PrecisionOptions:
    """How the backbone is to be converted.

    Attributes:
        name: `"fp16"` or `"int8"`.
        images: folder of pictures like those to come. int8 needs it; fp16 is measured on them.
        truth: TSV of file and class index; without it the cost is told as agreement with fp32.
        activations: of int8. `"uint8"` with a zero point is what ONNX Runtime's CPU kernels fuse;
            `"int8"` with the zero point 0 is what TensorRT takes. OpenVINO runs both.
        method: how the ranges of activations are set; `"auto"` tries all and takes the one that is
            closest to fp32 on the pictures of the second part.
        seed: of the split into parts, and of the noise.
        search_s: seconds that the search for tensors to keep in float may take; 0 keeps none.
        max_loss: percentage points of clean accuracy (without truth: of clean verdicts, see
            `Cost.loss`) beyond which nothing is written.

    Raises:
        ExportError: a value is impossible, or int8 has no pictures.
    """

    name: Literal["fp16", "int8"]
    images: Path | None = None
    truth: Path | None = None
    activations: Activations = "uint8"
    method: Method = "auto"
    seed: int = 0
    search_s: float = 120.0
    max_loss: float = 3.0

    def __post_init__(self) -> None:
        for field, choices in (
            ("name", ("fp16", "int8")),
            ("activations", get_args(Activations)),
            ("method", get_args(Method)),
        ):
            if getattr(self, field) not in choices:
                raise ExportError(
                    f"{field} of the precision is {getattr(self, field)!r}; expected one of "
                    + ", ".join(map(repr, choices))
                )
        for field in ("search_s", "max_loss"):
            value = getattr(self, field)
            if not (value >= 0 and math.isfinite(value)):
                raise ExportError(f"{field} is {value!r}; expected a number of at least 0")
        if self.seed < 0:
            raise ExportError(f"seed is {self.seed!r}; expected an integer of at least 0")
        if self.name == "int8" and self.images is None:
            raise ExportError(
                "int8 needs pictures to set the ranges of activations by; name a folder of "
                "pictures like those to come: --calibrate IMAGES"
            )
        if self.truth is not None and self.images is None:
            raise ExportError("--truth names the classes of pictures; add --calibrate IMAGES")
