"""What onnx2torch 1.5 lacks: of the ONNX that torch's exporter writes today, and of denoisers'."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

__all__ = ["register", "without_allowzero"]


@lru_cache(maxsize=1)  # registering twice is an error
def register() -> None:
    """Teaches onnx2torch `ReduceMean` and `Pad` of opset 18, whose axes became an input.

    The exporter writes the first for every mean, global average pooling included. And
    `SpaceToDepth`, by which denoisers shrink their images.
    """
    import torch
    from onnx2torch.node_converters.registry import add_converter, get_converter
    from onnx2torch.onnx_graph import OnnxGraph
    from onnx2torch.onnx_node import OnnxNode
    from onnx2torch.utils.common import (
        OnnxMapping,
        OperationConverterResult,
        get_const_value,
        onnx_mapping_from_node,
    )

    class Mean(torch.nn.Module):
        """The mean over fixed axes."""

        def __init__(self, axes: list[int], keep: bool) -> None:
            super().__init__()
            self.axes, self.keep = axes, keep

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return values.mean(dim=self.axes, keepdim=self.keep)

    def mean(node: OnnxNode, graph: OnnxGraph) -> Any:
        inputs = [name for name in node.input_values if name]
        axes = get_const_value(inputs[1], graph).tolist() if len(inputs) > 1 else []
        if not axes:
            raise NotImplementedError("ReduceMean without axes")
        return OperationConverterResult(
            torch_module=Mean(axes, bool(node.attributes.get("keepdims", 1))),
            onnx_mapping=OnnxMapping((inputs[0],), node.output_values),
        )

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

    def shrunk(node: OnnxNode, graph: OnnxGraph) -> Any:
        return OperationConverterResult(
            torch_module=Shrunk(int(node.attributes["blocksize"])),
            onnx_mapping=onnx_mapping_from_node(node),
        )

    older = get_converter("Pad", 13)

    def pad(node: OnnxNode, graph: OnnxGraph) -> Any:
        if len(node.input_values) > 3 and node.input_values[3]:
            raise NotImplementedError("Pad of some axes")
        return older(node, graph)

    add_converter(operation_type="ReduceMean", version=18)(mean)
    for version in (1, 13):
        add_converter(operation_type="SpaceToDepth", version=version)(shrunk)
    for version in (18, 19, 21):
        add_converter(operation_type="Pad", version=version)(pad)


def without_allowzero(model: Any) -> Any:
    """The model with `allowzero` taken from every Reshape whose shape has no zero to allow.

    The exporter always writes it, and the converter refuses it.
    """
    from onnx import numpy_helper

    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in shapes and shapes[node.input[1]].all():
            kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
            del node.attribute[:]
            node.attribute.extend(kept)
    return model
