"""A guard's denoiser as a torch module, for gradients."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blurvote.benchmarks.torch_module import torch_module

__all__ = ["denoiser_module"]


def denoiser_module(data: bytes, crop: tuple[int, int]) -> Any:
    """The `onnx` of a `DenoiserEntry` as a `torch.nn.Module`: `(1, 4, h, w)` to `(1, K, 3, h, w)`.

    Raises:
        ProviderError: a package is missing, or onnx2torch cannot convert it.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "denoiser.onnx"
        file.write_bytes(data)
        with _unwarned():
            return _without_warnings(torch_module(file, (1, 4, *crop)))


@contextmanager
def _unwarned() -> Iterator[None]:
    """Without torch's warning about how onnx2torch writes a slice."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using a non-tuple sequence", UserWarning)
        yield


def _without_warnings(module: Any) -> Any:
    import torch

    class Unwarned(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, noisy: torch.Tensor) -> torch.Tensor:
            with _unwarned():
                views: torch.Tensor = self.module(noisy)
            return views

    return Unwarned().eval()
