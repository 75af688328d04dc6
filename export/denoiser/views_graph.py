"""Denoised views as a graph: the clean view and its noise level to the views of noisy frames.

A denoiser knows pixels in [0, 1], views are normalised: the clean view is brought back and clamped
(FFDNet's `clip` weights know clamped noise only), denoised, clamped, blurred on the backbone's
grid and normalised again. Each Gaussian pass is a separable depthwise convolution over a reflected
border, three times as fast in ONNX Runtime on a CPU as two dense matrices.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from blurvote.export.denoiser.adapting import DENOISED, IMAGES, LEVELS, PREFIX
from blurvote.export.denoiser.loading import DenoiserModel
from blurvote.export.graph_builder import GraphBuilder
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError, ExportError
from blurvote.runtime.view_kind import ViewKind

__all__ = ["NOISY", "VIEWS", "add_denoised_views", "denoised_views_model"]

NOISY, VIEWS = "noisy", "views"


def denoised_views_model(denoiser: DenoiserModel, defense: Defense) -> onnx.ModelProto:
    """The model that a `views` guard carries in its `blurvote.denoiser` entry.

    Input `noisy` float32 `(B, 4, h, w)`: the normalised clean view and, as a fourth channel, the
    noise level on the grid, constant per image. Output `views` float32 `(B, K, 3, h, w)`,
    normalised: one for each of `defense.denoised_kinds`.

    Raises:
        DefenseError: the crop is too small for the kernel.
        ExportError: the model would not be valid ONNX.
    """
    graph = GraphBuilder(PREFIX)
    channel = graph.constant("channel_axis", [1])
    ends = [graph.constant(f"channel_{k}", [k]) for k in (0, 3, 4)]
    clean = graph.op("Slice", [NOISY, ends[0], ends[1], channel], "clean_view")
    # The level is the same in every pixel; one of them is read.
    first = graph.constant("first_level", [3, 0, 0])
    after = graph.constant("after_first_level", [4, 1, 1])
    axes = graph.constant("level_axes", [1, 2, 3])
    pixel = graph.op("Slice", [NOISY, first, after, axes], "level_pixel")
    graph.op("Reshape", [pixel, graph.constant("levels_shape", [-1, 1])], "levels")
    kinds = defense.denoised_kinds
    views = add_denoised_views(graph, denoiser, clean, defense, kinds)
    axis = graph.constant("channel_axis", [1])
    apart = [
        graph.op("Unsqueeze", [view, axis], f"view_{number}") for number, view in enumerate(views)
    ]
    graph.op("Concat", apart, "views", output=VIEWS, axis=1)
    crop = defense.crop
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "denoised views",
            [helper.make_tensor_value_info(NOISY, TensorProto.FLOAT, ["B", 4, *crop])],
            [helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, ["B", len(kinds), 3, *crop])],
            graph.initializers,
        ),
        opset_imports=denoiser.proto.opset_import,
        ir_version=denoiser.proto.ir_version,
        producer_name="blurvote",
    )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"the denoiser would not be valid ONNX: {reason[:300]}") from error
    return model


def add_denoised_views(
    graph: GraphBuilder,
    denoiser: DenoiserModel,
    clean: str,
    defense: Defense,
    kinds: tuple[ViewKind, ...],
) -> list[str]:
    """Adds the denoiser and its views.

    Args:
        graph: of the prefix `denoise/`, with a value `denoise/levels` float32 `(B, 1)`.
        clean: name of the normalised clean view, float32 `(B, 3, h, w)`.
        kinds: of the views.

    Returns:
        Names of the views, float32 `(B, 3, h, w)`, normalised.

    Raises:
        DefenseError: the crop is too small for the kernel.
    """
    radius = defense.kernel_size // 2
    if max(kind.passes for kind in kinds) > 0 and min(defense.crop) <= radius:
        raise DefenseError(
            f"views of {defense.crop[1]}x{defense.crop[0]} px cannot be blurred by "
            f"{defense.kernel_size} taps after denoising: reflection at the border needs more than "
            f"{radius} px"
        )
    assert graph.prefix + "levels" == LEVELS
    mean = np.array(defense.mean, np.float32)[:, None, None]
    std = np.array(defense.std, np.float32)[:, None, None]
    means, stds = graph.constant("mean", mean), graph.constant("std", std)
    lowest = graph.constant("black", np.array(0, np.float32))
    highest = graph.constant("white", np.array(1, np.float32))
    scaled = graph.op("Mul", [clean, stds], "scaled")
    pixels = graph.op("Add", [scaled, means], "pixels")
    graph.op("Clip", [pixels, lowest, highest], "clamped", output=IMAGES)
    graph.nodes.extend(denoiser.proto.graph.node)
    graph.initializers.extend(denoiser.proto.graph.initializer)
    value = graph.op("Clip", [DENOISED, lowest, highest], "denoised_clamped")

    taps = np.array(defense.gaussian_taps(), np.float32)
    views = []
    for kind in kinds:
        name = kind.name.replace("%", "")
        view = value
        if kind.strength < 100:
            kept = np.array(1 - kind.strength / 100, np.float32)
            taken = graph.constant(f"{name}_strength", 1 - kept)
            part = graph.op("Mul", [value, taken], f"{name}_part")
            rest = graph.op("Mul", [IMAGES, graph.constant(f"{name}_kept", kept)], f"{name}_rest")
            view = graph.op("Add", [part, rest], f"{name}_mixed")
        for count in range(kind.passes):
            view = _blur(graph, view, taps, f"{name}_pass_{count + 1}")
        centred = graph.op("Sub", [view, means], f"{name}_centred")
        views.append(graph.op("Div", [centred, stds], f"{name}_normalised"))
    return views


def _blur(graph: GraphBuilder, value: str, taps: np.ndarray, name: str) -> str:
    """One Gaussian pass of `(B, 3, h, w)`, its border reflected without repeating the edge."""
    radius = len(taps) // 2
    pads = graph.constant("reflected", [0, 0, radius, radius] * 2)
    value = graph.op("Pad", [value, pads], f"{name}_reflected", mode="reflect")
    column = np.tile(taps[:, None], (3, 1, 1, 1))
    down = graph.constant("taps_down", column)
    across = graph.constant("taps_across", column.swapaxes(2, 3))
    value = graph.op("Conv", [value, down], f"{name}_down", group=3)
    return graph.op("Conv", [value, across], f"{name}_across", group=3)
