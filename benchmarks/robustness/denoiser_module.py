"""A guard's denoiser as a torch module, for gradients."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.torch_module import torch_module

__all__ = ["denoiser_module"]


def denoiser_module(data: bytes, crop: tuple[int, int]) -> Any:
    """The `onnx` of a `DenoiserEntry` as a `torch.nn.Module`: `(1, 4, h, w)` to `(1, K, 3, h, w)`.

    Raises:
        ProviderError: a package is missing, or onnx2torch cannot convert it.
    """
    packages = ("torch", "onnx", "onnx2torch")
    require("a denoiser as a torch module", packages, " ".join(packages))
    _register()
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


@lru_cache(maxsize=1)  # registering twice is an error
def _register() -> None:
    """Teaches onnx2torch `SpaceToDepth`, by which denoisers shrink their images."""
    import torch
    from onnx2torch.node_converters.registry import add_converter
    from onnx2torch.onnx_graph import OnnxGraph
    from onnx2torch.onnx_node import OnnxNode
    from onnx2torch.utils.common import OperationConverterResult, onnx_mapping_from_node

    class Shrunk(torch.nn.Module):
        """Blocks of pixels as channels, the place in the block first: unlike pixel_unshuffle."""

        def __init__(self, side: int) -> None:
            super().__init__()
            self.side = side

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            count, channels = images.shape[:2]
            blocks = torch.nn.functional.pixel_unshuffle(images, self.side)
            blocks = blocks.reshape(count, channels, self.side**2, *blocks.shape[2:])
            return blocks.transpose(1, 2).flatten(1, 2)

    def convert(node: OnnxNode, graph: OnnxGraph) -> Any:
        return OperationConverterResult(
            torch_module=Shrunk(int(node.attributes["blocksize"])),
            onnx_mapping=onnx_mapping_from_node(node),
        )

    for version in (1, 13):
        add_converter(operation_type="SpaceToDepth", version=version)(convert)
