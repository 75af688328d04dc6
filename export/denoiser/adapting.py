"""Rewrites a denoiser's graph to the one form that guards are built from (see `loading`)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from blurvote.export.denoiser.roles import NoiseLevel, Roles
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.graph_passes import (
    add_prefix,
    deduplicate_initializers,
    inline_functions,
    keep_reachable,
    rename_value,
    strip_notes,
)
from blurvote.export.opset import opset_of, raise_opset
from blurvote.runtime.errors import ExportError

__all__ = ["DENOISED", "IMAGES", "LEVELS", "NETWORK", "PREFIX", "adapt"]

PREFIX = "denoise/"
NETWORK = PREFIX + "network/"
IMAGES, LEVELS, DENOISED = PREFIX + "images", PREFIX + "levels", PREFIX + "denoised"
MIN_OPSET = 18
_IMAGE, _LEVEL = PREFIX + "image", PREFIX + "level"  # of one step of a Scan


def adapt(
    original: onnx.ModelProto, roles: Roles, crop: tuple[int, int], sides: tuple[int, int]
) -> onnx.ModelProto:
    """The denoiser with the inputs `IMAGES`, `LEVELS` and the output `DENOISED`, as a copy.

    Args:
        roles: of its inputs.
        crop: `(height, width)` of the images, in pixels.
        sides: what they are padded to.

    Raises:
        ExportError: it cannot be brought to opset 18.
    """
    network = _network(original)
    graph = GraphBuilder(PREFIX)
    padded = IMAGES
    if sides != crop:
        pads = [0, 0, 0, 0, 0, 0, sides[0] - crop[0], sides[1] - crop[1]]
        padded = graph.op("Pad", [IMAGES, graph.constant("pads", pads)], "padded", mode="edge")
    # One number for the batch, or a batch of one: image after image.
    result = DENOISED if sides == crop else PREFIX + "padded_denoised"
    alone = roles.batch == 1 or (roles.level is not None and roles.level.shape == "scalar")
    if alone:
        _one_by_one(graph, network, roles, padded, sides, result)
    else:
        rename_value(network, NETWORK + roles.image, padded)
        if roles.level is not None:
            _told(graph, network, roles.level, LEVELS, sides)
        rename_value(network, network.graph.output[0].name, result)
        graph.nodes.extend(network.graph.node)
    if sides != crop:
        starts, ends = graph.constant("top_left", [0, 0]), graph.constant("crop", list(crop))
        axes = graph.constant("side_axes", [2, 3])
        graph.op("Slice", [result, starts, ends, axes], "denoised")
    image: list[str | int | None] = ["B", 3, *crop]
    adapted = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "denoiser",
            [
                helper.make_tensor_value_info(IMAGES, TensorProto.FLOAT, image),
                helper.make_tensor_value_info(LEVELS, TensorProto.FLOAT, ["B", 1]),
            ],
            [helper.make_tensor_value_info(DENOISED, TensorProto.FLOAT, image)],
            [*graph.initializers, *network.graph.initializer],
        ),
        opset_imports=network.opset_import,
        ir_version=max(network.ir_version, 8),
    )
    deduplicate_initializers(adapted)
    return adapted


def _network(original: onnx.ModelProto) -> onnx.ModelProto:
    """A copy without what is no part of its first output, under the network's prefix."""
    network = onnx.ModelProto()
    network.CopyFrom(original)
    network = inline_functions(network)
    strip_notes(network)
    keep_reachable(network, network.graph.output[0].name)
    try:
        network = raise_opset(network, MIN_OPSET, ("",))
    except ExportError as error:
        raise ExportError(
            f"the denoiser is of opset {opset_of(original)} and cannot be raised to {MIN_OPSET}: "
            f"{error}. Export it at opset {MIN_OPSET}"
        ) from error
    return add_prefix(network, NETWORK)


def _told(
    graph: GraphBuilder,
    network: onnx.ModelProto,
    level: NoiseLevel,
    levels: str,
    sides: tuple[int, int],
) -> None:
    """Brings `levels` (`(B, 1)`, or `(1,)` of one image) into the form of the network's input."""
    if level.shape == "map":
        column = graph.constant("level_shape", [-1, 1, 1, 1])
        value = graph.op("Reshape", [levels, column], "level_per_image")
        shape = graph.constant("map_shape", [1, level.channels, *sides])
        value = graph.op("Expand", [value, shape], "level_map")
    else:
        rank = np.array([-1, 1, 1, 1][: level.rank], np.int64)
        shape = graph.constant("level_shape", rank)
        value = graph.op("Reshape", [levels, shape], "level_told")
    rename_value(network, NETWORK + level.name, value)


def _one_by_one(
    graph: GraphBuilder,
    network: onnx.ModelProto,
    roles: Roles,
    images: str,
    sides: tuple[int, int],
    output: str,
) -> None:
    """A Scan over the batch, whose body is the network on a batch of one."""
    body = GraphBuilder(PREFIX)
    axis = graph.constant("batch_axis", [0])
    single = body.op("Unsqueeze", [_IMAGE, axis], "single_image")
    rename_value(network, NETWORK + roles.image, single)
    if roles.level is not None:
        _told(body, network, roles.level, _LEVEL, sides)
        graph.initializers.extend(body.initializers)
    body.nodes.extend(network.graph.node)
    result = body.op("Squeeze", [network.graph.output[0].name, axis], "single_denoised")
    plane = [3, *sides]
    inner = helper.make_graph(
        body.nodes,
        "one_image",
        [
            helper.make_tensor_value_info(_IMAGE, TensorProto.FLOAT, plane),
            helper.make_tensor_value_info(_LEVEL, TensorProto.FLOAT, [1]),
        ],
        [helper.make_tensor_value_info(result, TensorProto.FLOAT, plane)],
    )
    graph.op("Scan", [images, LEVELS], "one_by_one", output, body=inner, num_scan_inputs=2)
