"""What a classifier sees of an image, for a loss that asks for that instead of for pixels.

A denoiser trained on pixels alone gives the mean of what may have been there: grey levels close,
fur and grass gone. So the loss also compares a classifier's own feature maps of the denoised and
of the clean image (Johnson, Alahi, Fei-Fei: Perceptual losses, ECCV 2016; for classification
Liu et al., When image denoising meets high-level vision tasks, IJCAI 2018).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import torch
from torch import fx

from blurvote.export.ort_session import one_line
from blurvote.export.precision.folding import fold
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import ExportError

__all__ = ["FeatureLoss"]

_SHARE = 0.8  # of the classifier's convolutions, from the first


class FeatureLoss:
    """The distance of two images in the feature maps of a classifier.

    Args:
        path: the classifier, ONNX, normalised images `(B, 3, h, w)` at its entry. Its maps are
            taken behind the first convolution and behind every second one that narrows (1x1, fewer
            channels out than in: a bottleneck's end), up to four fifths of its depth.

    Raises:
        ExportError: it cannot be read or turned into a torch module, or has no bottlenecks.
    """

    def __init__(self, path: Path) -> None:
        module = _torch_module(path)
        convolutions: list[tuple[fx.Node, Any]] = [
            (node, module.get_submodule(node.target))
            for node in module.graph.nodes
            if node.op == "call_module"
            and isinstance(module.get_submodule(node.target), torch.nn.Conv2d)
        ]
        convolutions = convolutions[: round(_SHARE * len(convolutions))]
        narrow = [
            node
            for node, layer in convolutions
            if layer.kernel_size == (1, 1) and layer.out_channels < layer.in_channels
        ]
        if not narrow:
            raise ExportError(
                f"{path} has no bottlenecks to take feature maps from; expected a "
                "classifier such as MobileNetV2 or ResNet50"
            )
        output = next(node for node in module.graph.nodes if node.op == "output")
        output.args = ((convolutions[0][0], *narrow[::2]),)
        module.graph.eliminate_dead_code()
        cut: Any = fx.GraphModule(module, module.graph)
        self._module = cut.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        defense = Defense()
        self._mean = torch.tensor(defense.mean)[:, None, None]
        self._std = torch.tensor(defense.std)[:, None, None]

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """`(B, 3, h, w)` float32 RGB in [0, 1] to feature maps."""
        images = images.contiguous(memory_format=torch.channels_last)
        return list(self._module((images - self._mean) / self._std))

    def __call__(self, images: torch.Tensor, wanted: list[torch.Tensor]) -> torch.Tensor:
        """Mean over the maps of the absolute difference by the wanted map's mean magnitude."""
        found = self.features(images)
        parts = [(a - b).abs().mean() / b.abs().mean() for a, b in zip(found, wanted, strict=True)]
        return torch.stack(parts).mean()


def _torch_module(path: Path) -> Any:
    try:
        import onnx2torch

        converted = onnx2torch.convert(fold(onnx.load(path)))
    except ImportError as error:
        raise ExportError(
            f"--features needs onnx2torch ({error}); pip install onnx2torch"
        ) from error
    except Exception as error:  # converters raise whatever they like
        raise ExportError(
            f"{path} cannot be turned into a torch module: {one_line(error)}"
        ) from error
    return converted
