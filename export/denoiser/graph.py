"""The shipped denoiser's network as plain ONNX, and the file that it is shipped in.

    python -m blurvote.export.denoiser.graph weights.pt -o denoiser.onnx

`weights.pt` is what `train` writes (or its `.partial` checkpoint, whose averaged weights are
taken). The graph computes what `network.DenoisingNetwork` does:

- `images` `(B, 3, h, w)` float32 RGB in [0, 1], sides multiples of 8, and `noise` `(B, 1)` float32,
  the standard deviation on that scale, to
- `denoised` `(B, 3, h, w)` float32, not clamped.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from blurvote.export.graph_builder import GraphBuilder
from blurvote.runtime.errors import ExportError
from blurvote.runtime.whole_file import write_whole

__all__ = ["MULTIPLE", "MULTIPLE_KEY", "OPSET", "denoiser_model", "main"]

MULTIPLE = 8  # the same as network's, which cannot be imported without torch
MULTIPLE_KEY = "blurvote.multiple"  # metadata: what the sides must be multiples of
OPSET = 18

Weights = Mapping[str, NDArray[np.float32]]


def denoiser_model(weights: Weights) -> onnx.ModelProto:
    """The network with these weights, named as in its `state_dict`."""
    graph = GraphBuilder("")
    weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}

    def convolve(layer: str, value: str, stride: int = 1) -> str:
        names = [
            graph.constant(f"{layer}.{part}", weights[f"{layer}.{part}"])
            for part in ("weight", "bias")
        ]
        side = weights[f"{layer}.weight"].shape[2]
        pads = [side // 2] * 4 if side % 2 else [0] * 4
        return graph.op("Conv", [value, *names], layer, pads=pads, strides=[stride, stride])

    def level_bias(layer: str) -> str:
        kernel = graph.constant(f"{layer}.weight", weights[f"{layer}.weight"])
        bias = graph.constant(f"{layer}.bias", weights[f"{layer}.bias"])
        per_channel = graph.op("Gemm", ["noise", kernel, bias], layer, transB=1)
        axes = graph.constant("pixel_axes", [2, 3])
        return graph.op("Unsqueeze", [per_channel, axes], f"{layer}_per_pixel")

    def rectified(value: str, name: str) -> str:
        return graph.op("Relu", [value], name)

    def residual(layer: str, value: str) -> str:
        inner = convolve(layer, rectified(value, f"{layer}_before"))
        return graph.op("Add", [value, inner], f"{layer}_residual")

    def block(name: str, value: str) -> str:
        inner = convolve(f"{name}.1", rectified(value, f"{name}.first"))
        inner = convolve(f"{name}.3", rectified(inner, f"{name}.second"))
        return graph.op("Add", [value, inner], name)

    def entered(layer: str, level: str, value: str) -> str:
        smaller = convolve(layer, value, stride=2)
        return graph.op("Add", [smaller, level_bias(level)], f"{layer}_levelled")

    def enlarged(layer: str, value: str) -> str:
        up = convolve(layer, rectified(value, f"{layer}_before"))
        return graph.op("DepthToSpace", [up], f"{layer}_shuffle", blocksize=2, mode="CRD")

    # ONNX orders the unshuffled channels by offset, then colour; torch by colour, then offset.
    kernel = weights["head.weight"]
    by_offset = kernel.reshape(len(kernel), 3, 4, 3, 3).swapaxes(1, 2).reshape(kernel.shape)
    weights["head.weight"] = by_offset
    unshuffled = graph.op("SpaceToDepth", ["images"], "unshuffle", blocksize=2)
    half = graph.constant("mid_grey", np.array(0.5, np.float32))
    pixels = graph.op("Sub", [unshuffled, half], "centred")
    # As in network: the noise enters with about the same deviation whatever its level.
    softening = graph.constant("softening", np.array(0.02, np.float32))
    entry = graph.constant("noise_at_entry", np.array(0.25, np.float32))
    softened = graph.op("Add", ["noise", softening], "softened_noise")
    scale = graph.op("Div", [entry, softened], "entry_scale_per_image")
    scale = graph.op("Unsqueeze", [scale, graph.constant("pixel_axes", [2, 3])], "entry_scale")
    pixels = graph.op("Mul", [scale, pixels], "scaled")
    fine = graph.op("Add", [convolve("head", pixels), level_bias("head_level")], "head_levelled")
    fine = residual("enter", fine)
    coarse = block("before", entered("down", "down_level", fine))
    deep = entered("deep_down", "deep_level", coarse)
    for number in range(len({name.split(".")[1] for name in weights if name[:5] == "deep."})):
        deep = block(f"deep.{number}", deep)
    coarse = graph.op("Add", [coarse, enlarged("deep_up", deep)], "deep_skip")
    coarse = block("after", coarse)
    fine = graph.op("Add", [fine, enlarged("up", coarse)], "skip")
    fine = residual("leave", fine)
    noise = graph.op("DepthToSpace", [convolve("tail", fine)], "shuffle", blocksize=2, mode="CRD")
    level = graph.op("Unsqueeze", ["noise", graph.constant("pixel_axes", [2, 3])], "level")
    noise = graph.op("Mul", [level, noise], "predicted_noise")
    graph.op("Sub", ["images", noise], "subtract", output="denoised")
    return _model(graph)


def _model(graph: GraphBuilder) -> onnx.ModelProto:
    image: list[str | int | None] = ["B", 3, "h", "w"]
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "denoiser",
            [
                helper.make_tensor_value_info("images", TensorProto.FLOAT, image),
                helper.make_tensor_value_info("noise", TensorProto.FLOAT, ["B", 1]),
            ],
            [helper.make_tensor_value_info("denoised", TensorProto.FLOAT, image)],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="blurvote",
    )
    helper.set_model_props(model, {MULTIPLE_KEY: str(MULTIPLE)})
    onnx.checker.check_model(model, full_check=True)
    return model


def load_weights(path: Path) -> Weights:
    """The `state_dict` that `train` wrote, or the averaged one of its checkpoint.

    Raises:
        ExportError: the file is neither.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        state = state.get("averaged", state)
        return {name: value.float().numpy() for name, value in state.items()}
    except Exception as error:  # pickle, zip and torch each have their own
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"{path} does not hold the weights that blurvote.export.denoiser.train writes: {reason}"
        ) from error


def main() -> None:
    """Write the shipped file."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="example: python -m blurvote.export.denoiser.graph denoiser.pt -o denoiser.onnx",
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        data = denoiser_model(load_weights(args.weights)).SerializeToString()
        write_whole(args.out, data)
    except (ExportError, OSError) as error:
        parser.exit(1, f"{error}\n")
    print(f"wrote {args.out}: {len(data) / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
