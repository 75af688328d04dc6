"""Puts a guard together from its parts, and takes it apart again.

Both kinds carry their metadata, name their opset, hold no initialiser twice, and pass the full
check of onnx.checker and strict shape inference. In a `frames` guard the names of the parts are
`preprocess/`, `backbone/` (with `adapt/`) and `vote/`.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import TensorProto, helper, version_converter

from blurvote.export import backbone as backbone_graph
from blurvote.export import view_graph, vote_graph
from blurvote.export.backbone import LOGITS, VIEWS, Backbone
from blurvote.export.graph_builder import GraphBuilder
from blurvote.export.graph_passes import (
    deduplicate_initializers,
    ensure_prefix,
    foreign_operators,
    rename_value,
)
from blurvote.export.onnx_models import MAX_BYTES
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
]

MIN_OPSET = 18  # of frames guards: the first where the operators of the vote have their final form
MIN_IR = 8
ROW_LOGITS = "backbone/row_logits"  # (N * V, C), before the views of each frame are put together


def assemble(backbone: Backbone, metadata: GuardMetadata) -> onnx.ModelProto:
    """The guard that `metadata` describes.

    Raises:
        ExportError: the model cannot be brought to the opset of a `frames` guard, or the guard
            would have more than 2 GB.
        DefenseError: frames of the guard's size cannot be served.
    """
    views = metadata.kind == "views"
    guard = _copy(backbone.proto) if views else _frames_guard(backbone, metadata)
    guard.graph.name = "blurvote"
    return finish(guard, metadata)


def finish(guard: onnx.ModelProto, metadata: GuardMetadata) -> onnx.ModelProto:
    """`guard` with its metadata (in place of any other), cleaned and checked."""
    guard.producer_name = "blurvote"
    guard.producer_version = str(metadata.provenance.get("blurvote", ""))
    guard.ir_version = max(guard.ir_version, MIN_IR)
    deduplicate_initializers(guard, apart=vote_graph.THRESHOLD)
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
    _keep_parts(inner, (view_graph.PREFIX,))
    views = helper.make_tensor_value_info(VIEWS, TensorProto.FLOAT, ["B", 3, *defense.crop])
    _set_interface(inner, guard.graph.input[0], [views])
    return inner


def replace_vote(guard: onnx.ModelProto, metadata: GuardMetadata) -> onnx.ModelProto:
    """A `frames` guard with another decision over the same views."""
    changed = _copy(guard)
    _keep_parts(changed, (view_graph.PREFIX, backbone_graph.PREFIX, backbone_graph.ADAPT))
    _append_vote(changed, metadata.defense)
    return finish(changed, metadata)


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
    _keep_parts(outer, (view_graph.PREFIX, vote_graph.PREFIX))
    # Equal constants are stored once: the vote may read one under a name of the old backbone's.
    own = {value.name for value in (*graph.input, *graph.output)}
    own |= {VIEWS, ROW_LOGITS, vote_graph.THRESHOLD}
    ensure_prefix(outer, (vote_graph.PREFIX, view_graph.PREFIX), own)
    before = [node for node in graph.node if node.name.startswith(view_graph.PREFIX)]
    after = [node for node in graph.node if node.name.startswith(vote_graph.PREFIX)]
    rename_value(backbone, LOGITS, ROW_LOGITS)
    del graph.node[:]
    graph.node.extend([*before, *backbone.graph.node, *after])
    graph.initializer.extend(backbone.graph.initializer)
    return outer


def _frames_guard(backbone: Backbone, metadata: GuardMetadata) -> onnx.ModelProto:
    defense = metadata.defense
    guard = upgrade(backbone.proto)
    rename_value(guard, LOGITS, ROW_LOGITS)
    before = GraphBuilder(view_graph.PREFIX)
    view_graph.add_views(before, "frames", defense, metadata.frame_size)
    nodes = [*before.nodes, *guard.graph.node]
    del guard.graph.node[:]
    guard.graph.node.extend(nodes)
    guard.graph.initializer.extend(before.initializers)
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
    _set_interface(guard, frames, outputs)
    _append_vote(guard, defense)
    return guard


def _append_vote(guard: onnx.ModelProto, defense: Defense) -> None:
    vote = GraphBuilder(vote_graph.PREFIX)
    classes = guard.graph.output[0].type.tensor_type.shape.dim[2].dim_value
    shape = vote.constant("logits_shape", [-1, len(defense.views), classes])
    vote.op("Reshape", [ROW_LOGITS, shape], "logits", output=LOGITS)
    vote_graph.add_vote(vote, LOGITS, defense.decision, defense.threshold)
    guard.graph.node.extend(vote.nodes)
    guard.graph.initializer.extend(vote.initializers)


def upgrade(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a backbone at opset 18 at least.

    Raises:
        ExportError: onnx cannot convert it.
    """
    opset = next(item.version for item in proto.opset_import if item.domain in ("", "ai.onnx"))
    if opset >= MIN_OPSET:
        return _copy(proto)
    try:
        upgraded = version_converter.convert_version(proto, MIN_OPSET)
    except Exception as error:  # the converter raises whatever its C++ part does
        reason = " ".join(str(error).split())
        raise ExportError(
            f"the model is of opset {opset} and cannot be raised to {MIN_OPSET}, which a frames "
            f"guard and one of lower precision need: {reason[:200]}. Export it at opset "
            f"{MIN_OPSET}, or as a views guard of fp32"
        ) from error
    del upgraded.graph.value_info[:]
    for number, node in enumerate(upgraded.graph.node):
        if not node.name.startswith((backbone_graph.PREFIX, backbone_graph.ADAPT)):
            node.name = f"{backbone_graph.PREFIX}upgraded_{number}"
    result: onnx.ModelProto = upgraded
    return result


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
    read = {name for node in nodes for name in node.input}
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
