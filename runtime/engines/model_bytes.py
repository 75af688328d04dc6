"""A model that lies in memory and not in a file of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Model", "ModelBytes"]


@dataclass(frozen=True)
class ModelBytes:
    """An ONNX model that a guard carries beside its graph; as text, what errors call it.

    Attributes:
        guard: the guard's file.
        role: what the model is to the guard, such as `"denoiser"`.
        data: the ONNX file's bytes.
        input_name: of its one input.
        item: shape of one item of a batch, which engines that are built before they run need.
    """

    guard: Path
    role: str
    data: bytes = field(repr=False)
    input_name: str
    item: tuple[int, ...]

    def __str__(self) -> str:
        return f"the {self.role} of {self.guard}"


Model = str | Path | ModelBytes
"""What an engine loads: the path of an ONNX file, or a model in memory."""
