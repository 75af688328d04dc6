"""Puts a guard together from its parts, and takes it apart again.

Both kinds carry their metadata, name their opset, hold no initialiser twice, and pass the full
check of onnx.checker and strict shape inference. In a `frames` guard the names of the parts are
`preprocess/` (where noisy frames have views of their own also `noise/` and `denoise/`), `backbone/`
(with `adapt/`) and `vote/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from blurvote.export import backbone as backbone_graph
from blurvote.export import judged_graph, noise_graph, vote_graph
from blurvote.export.backbone import LOGITS, VIEWS, Backbone
from blurvote.export.denoiser.adapting import NETWORK
from blurvote.export.denoiser.loading import DenoiserModel
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.graph_passes import (
    deduplicate_initializers,
    ensure_prefix,
    foreign_operators,
    rename_value,
    values_read,
)
from blurvote.export.onnx_models import MAX_BYTES
from blurvote.export.opset import opset_of, raise_opset
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import ExportError
from blurvote.runtime.metadata import GuardMetadata

__all__ = [
    "MIN_OPSET",
    "assemble",
    "backbone_of",
    "check",
    "finish",
    "preprocessing_model",
    "replace_backbone",
    "replace_vote",
    "upgrade",
    "with_switch_input",
]

MIN_OPSET = 18  # of frames guards: the first where the operators of the vote have their final form
MIN_IR = 8
# Constants that are found by their names and rewritten.
PARAMETERS = (vote_graph.THRESHOLD, vote_graph.NOISY_THRESHOLD, noise_graph.SWITCH)
ROW_LOGITS = "backbone/row_logits"  # (N * V, C), before the views of each frame are put together


def assemble(
    backbone: Backbone, metadata: GuardMetadata, denoiser: DenoiserModel | None = None
) -> onnx.ModelProto:
    """The guard that `metadata` describes.

    Args:
        denoiser: of a defence that has views of noisy frames; a `frames` guard gets it into its
            graph, a `views` guard has it in its metadata.

    Raises:
        ExportError: the model cannot be brought to the opset of a `frames` guard, or the guard
            would have more than 2 GB.
        DefenseError: frames of the guard's size cannot be served.
    """
    views = metadata.kind == "views"
    guard = _copy(backbone.proto) if views else _frames_guard(backbone, metadata, denoiser)
    guard.graph.name = "blurvote"
    return finish(guard, metadata)


def finish(guard: onnx.ModelProto, metadata: GuardMetadata) -> onnx.ModelProto:
    """`guard` with its metadata (in place of any other), cleaned and checked."""
    guard.producer_name = "blurvote"
    guard.producer_version = str(metadata.provenance.get("blurvote", ""))
    guard.ir_version = max(guard.ir_version, MIN_IR)
    deduplicate_initializers(guard, apart=PARAMETERS)
    del guard.metadata_props[:]
    helper.set_model_props(guard, metadata.to_map())
    check(guard)
    return guard


def check(guard: onnx.ModelProto) -> None:
    """Raises ExportError unless the graph is valid ONNX with consistent shapes."""
    size = guard.ByteSize()
    if size > MAX_BYTES:
        raise ExportError(
            f"the guard would have {size / 1e9:.1f} GB; one ONNX file of more than 2 GB is not "
            "supported"
        )
    try:
        onnx.checker.check_model(guard, full_check=True)
        onnx.shape_inference.infer_shapes(guard, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())
        raise ExportError(f"the guard would not be valid ONNX: {reason[:300]}") from error


def backbone_of(guard: onnx.ModelProto) -> onnx.ModelProto:
    """The backbone inside a guard of either kind: `views` `(B, 3, h, w)` to `logits` `(B, C)`."""
    inner = _copy(guard)
    if guard.graph.input[0].name == VIEWS:
        return inner
    defense = GuardMetadata.from_map(
        {entry.key: entry.value for entry in guard.metadata_props}, "the guard"
    ).defense
    _keep_parts(inner, (backbone_graph.PREFIX, backbone_graph.ADAPT))
    rename_value(inner, ROW_LOGITS, LOGITS)
    classes = guard.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    _set_interface(
        inner,
        helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, ["B", 3, *defense.crop]),
        [helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["B", classes])],
    )
    return inner


def preprocessing_model(guard: onnx.ModelProto, defense: Defense) -> onnx.ModelProto:
    """The first part of a `frames` guard: `frames` to `views` `(N * V, 3, h, w)`."""
    inner = _copy(guard)
    _keep_parts(inner, judged_graph.PREFIXES)
    views = helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, ["B", 3, *defense.crop])
    _set_interface(inner, guard.graph.input[0], [views])
    return inner


def replace_vote(guard: onnx.ModelProto, metadata: GuardMetadata) -> onnx.ModelProto:
    """A `frames` guard with another decision over the same views, and another noise switch."""
    changed = _copy(guard)
    _keep_parts(changed, (*judged_graph.PREFIXES, backbone_graph.PREFIX, backbone_graph.ADAPT))
    for tensor in changed.graph.initializer:
        if tensor.name == noise_graph.SWITCH:
            high = np.array(metadata.defense.noise_switch[1], np.float32)
            tensor.CopyFrom(numpy_helper.from_array(high, tensor.name))
    _append_vote(changed, metadata.defense)
    return finish(changed, metadata)


def with_switch_input(guard: onnx.ModelProto) -> onnx.ModelProto:
    """A `frames` guard, or its preprocessing, whose noise switch may be fed at every run.

    The input is float32 of the switch's shape, called `noise_graph.SWITCH`: the level on the grid
    from which a frame is noisy. Without it the guard's own is taken.
    """
    changed = _copy(guard)
    (stored,) = (item for item in changed.graph.initializer if item.name == noise_graph.SWITCH)
    changed.graph.input.append(
        helper.make_tensor_value_info(noise_graph.SWITCH, TensorProto.FLOAT, stored.dims)
    )
    return changed


def replace_backbone(
    guard: onnx.ModelProto, backbone: onnx.ModelProto, metadata: GuardMetadata
) -> onnx.ModelProto:
    """`guard` with another backbone of the same interface and opset in place of its own.

    Args:
        backbone: as `backbone_of` gives it: `views` `(B, 3, h, w)` to `logits` `(B, C)`.
        metadata: of the new guard.
    """
    inner = _copy(backbone)
    ensure_prefix(inner, (backbone_graph.PREFIX, backbone_graph.ADAPT), {VIEWS, LOGITS})
    del inner.graph.value_info[:]
    changed = inner if metadata.kind == "views" else _around(guard, inner)
    # Only the domains in use: ONNX Runtime lists all that it knows.
    used = {"", *(name.rpartition(".")[0] for name in foreign_operators(inner))}
    opsets = [item for item in backbone.opset_import if item.domain in used]
    del changed.opset_import[:]
    changed.opset_import.extend(opsets)
    changed.graph.name = "blurvote"
    changed.ir_version = max(changed.ir_version, backbone.ir_version)
    return finish(changed, metadata)


def _around(guard: onnx.ModelProto, backbone: onnx.ModelProto) -> onnx.ModelProto:
    """The views and the vote of a `frames` guard around another backbone, which is changed."""
    outer = _copy(guard)
    graph = outer.graph
    _keep_parts(outer, (*judged_graph.PREFIXES, vote_graph.PREFIX))
    # Equal constants are stored once: the vote may read one under a name of the old backbone's.
    own = {value.name for value in (*graph.input, *graph.output)}
    own |= {VIEWS, ROW_LOGITS, *PARAMETERS}
    ensure_prefix(outer, (vote_graph.PREFIX, *judged_graph.PREFIXES), own)
    before = [node for node in graph.node if node.name.startswith(judged_graph.PREFIXES)]
    after = [node for node in graph.node if node.name.startswith(vote_graph.PREFIX)]
    rename_value(backbone, LOGITS, ROW_LOGITS)
    del graph.node[:]
    graph.node.extend([*before, *backbone.graph.node, *after])
    graph.initializer.extend(backbone.graph.initializer)
    return outer


def _frames_guard(
    backbone: Backbone, metadata: GuardMetadata, denoiser: DenoiserModel | None
) -> onnx.ModelProto:
    defense = metadata.defense
    guard = upgrade(backbone.proto)
    if denoiser is not None:
        guard, denoiser = _same_opset(guard, denoiser)
    rename_value(guard, LOGITS, ROW_LOGITS)
    parts = judged_graph.add_judged_views("frames", defense, metadata.frame_size, denoiser)
    nodes = [*(node for part in parts for node in part.nodes), *guard.graph.node]
    del guard.graph.node[:]
    guard.graph.node.extend(nodes)
    for part in parts:
        guard.graph.initializer.extend(part.initializers)
    height, width = metadata.frame_size or ("H", "W")
    frames = helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", height, width, 3])
    outputs = [
        helper.make_tensor_value_info(
            LOGITS, TensorProto.FLOAT, ["N", len(defense.views), backbone.classes]
        ),
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("count", TensorProto.INT64, ["N"]),
        helper.make_tensor_value_info("view_labels", TensorProto.INT64, ["N", len(defense.views)]),
    ]
    if defense.adaptive:
        outputs.append(helper.make_tensor_value_info(noise_graph.NOISE, TensorProto.FLOAT, ["N"]))
    _set_interface(guard, frames, outputs)
    _append_vote(guard, defense)
    return guard


def _same_opset(
    guard: onnx.ModelProto, denoiser: DenoiserModel
) -> tuple[onnx.ModelProto, DenoiserModel]:
    """Both at the higher of their opsets, since one graph has one."""
    opset = max(opset_of(guard), opset_of(denoiser.proto))
    try:
        guard = raise_opset(guard, opset, (backbone_graph.PREFIX, backbone_graph.ADAPT))
        raised = raise_opset(denoiser.proto, opset, (NETWORK,))
    except ExportError as error:
        raise ExportError(
            f"the model and the denoiser cannot both be brought to opset {opset}: {error}. Export "
            "both at the same opset"
        ) from error
    return guard, replace(denoiser, proto=raised)


def _append_vote(guard: onnx.ModelProto, defense: Defense) -> None:
    vote = GraphBuilder(vote_graph.PREFIX)
    classes = guard.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    shape = vote.constant("logits_shape", [-1, len(defense.views), classes])
    vote.op("Reshape", [ROW_LOGITS, shape], "logits", output=LOGITS)
    noisy = None
    if defense.adaptive:
        noisy = vote_graph.NoisyFrames(judged_graph.IS_NOISY, defense.noisy_threshold)
    vote_graph.add_vote(vote, LOGITS, defense.decision, defense.threshold, noisy)
    guard.graph.node.extend(vote.nodes)
    guard.graph.initializer.extend(vote.initializers)


def upgrade(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a backbone at opset 18 at least.

    Raises:
        ExportError: onnx cannot convert it.
    """
    try:
        return raise_opset(proto, MIN_OPSET, (backbone_graph.PREFIX, backbone_graph.ADAPT))
    except ExportError as error:
        raise ExportError(
            f"the model is of opset {opset_of(proto)} and cannot be raised to {MIN_OPSET}, which a "
            f"frames guard and one of lower precision need: {error}. Export it at opset "
            f"{MIN_OPSET}, or as a views guard of fp32"
        ) from error


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def _keep_parts(model: onnx.ModelProto, prefixes: tuple[str, ...]) -> None:
    """Keeps the nodes of these parts and the initialisers that they read."""
    graph = model.graph
    nodes = [node for node in graph.node if node.name.startswith(prefixes)]
    del graph.node[:]
    graph.node.extend(nodes)
    read = {name for node in nodes for name in values_read(node)}
    tensors = [
        tensor
        for tensor in graph.initializer
        if tensor.name in read or tensor.name.startswith(prefixes)
    ]
    del graph.initializer[:]
    graph.initializer.extend(tensors)


def _set_interface(
    model: onnx.ModelProto, value: onnx.ValueInfoProto, outputs: Sequence[onnx.ValueInfoProto]
) -> None:
    del model.graph.input[:]
    model.graph.input.append(value)
    del model.graph.output[:]
    model.graph.output.extend(outputs)
