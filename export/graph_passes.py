"""Passes over a whole ONNX graph. Each changes the model it is given, and does one thing.

Precondition of all: a model that onnx.checker accepts. Postcondition: it still does, and computes
the same, except where `make_batch_dynamic` says otherwise.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import onnx
from onnx import compose, helper, inliner, numpy_helper

__all__ = [
    "add_prefix",
    "constant_value",
    "deduplicate_initializers",
    "ensure_prefix",
    "foreign_operators",
    "inline_functions",
    "keep_reachable",
    "make_batch_dynamic",
    "real_inputs",
    "rename_value",
    "strip_notes",
    "values_read",
]


def real_inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """The inputs that a caller must feed: those without an initialiser."""
    stored = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in stored]


def foreign_operators(model: onnx.ModelProto) -> list[str]:
    """Operators that are not in the ONNX standard, as `domain.Operator`, sorted."""
    return sorted(
        {
            f"{node.domain}.{node.op_type}"
            for node in _all_nodes(model.graph)
            if node.domain not in ("", "ai.onnx")
        }
    )


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with calls of its own functions replaced by their bodies."""
    return inliner.inline_local_functions(model) if model.functions else model


def strip_notes(model: onnx.ModelProto) -> None:
    """Removes what tools note on a graph, such as stack traces and paths of their machine."""
    del model.metadata_props[:]
    model.doc_string = ""
    for graph in _all_graphs(model.graph):
        graph.doc_string = ""
        del graph.metadata_props[:]
        # Shapes between nodes are inferred anew; stale ones would contradict a dynamic batch.
        del graph.value_info[:]
        for values in (graph.input, graph.output, graph.node, graph.initializer):
            for item in values:
                item.doc_string = ""
                del item.metadata_props[:]


def keep_reachable(model: onnx.ModelProto, output: str) -> None:
    """Makes `output` the only output; removes nodes, initialisers and inputs it does not need."""
    graph = model.graph
    needed = {output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(values_read(node))
    nodes.reverse()
    outputs = [value for value in graph.output if value.name == output]
    feeds = {value.name for value in real_inputs(graph)}
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    # Initialisers listed as inputs too (the custom before IR 4) would be overridable inputs.
    inputs = [value for value in graph.input if value.name in feeds & needed]
    _replace(graph.node, nodes)
    _replace(graph.output, outputs)
    _replace(graph.initializer, tensors)
    _replace(graph.input, inputs)
    model.ir_version = max(model.ir_version, 4)  # first to allow initialisers that are no inputs


def deduplicate_initializers(model: onnx.ModelProto, apart: Collection[str] = ()) -> None:
    """Keeps one of each set of equal initialisers, and lets every node read that one.

    Those called as one of `apart` are left alone, whatever equals them.
    """
    graph = model.graph
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    replaced: dict[str, str] = {}
    kept = []
    for tensor in graph.initializer:
        data = numpy_helper.to_array(tensor).tobytes()
        key = (tensor.data_type, tuple(tensor.dims), data)
        if tensor.name in apart:
            kept.append(tensor)
        elif key in first:
            replaced[tensor.name] = first[key]
        else:
            first[key] = tensor.name
            kept.append(tensor)
    if not replaced:
        return
    outputs = {value.name for value in graph.output}
    assert not outputs & replaced.keys()
    _replace(graph.initializer, kept)
    for node in _all_nodes(graph):
        for position, name in enumerate(node.input):
            node.input[position] = replaced.get(name, name)


def add_prefix(model: onnx.ModelProto, prefix: str) -> onnx.ModelProto:
    """The model with `prefix` before the name of every node and value; unnamed nodes get names."""
    counts: dict[str, int] = {}
    for node in _all_nodes(model.graph):
        if not node.name:
            counts[node.op_type] = counts.get(node.op_type, 0) + 1
            node.name = f"{node.op_type}_{counts[node.op_type]}"
    prefixed: onnx.ModelProto = compose.add_prefix(model, prefix)
    return prefixed


def ensure_prefix(model: onnx.ModelProto, prefixes: tuple[str, ...], apart: set[str]) -> None:
    """Puts `prefixes[0]` before every name of a node or value that has none of `prefixes`.

    Tools name the nodes that they add by rules of their own. Values in `apart` keep their names.
    """

    def named(name: str) -> str:
        bare = not name or name in apart or name.startswith(prefixes)
        return name if bare else prefixes[0] + name

    for graph in _all_graphs(model.graph):
        for tensor in graph.initializer:
            tensor.name = named(tensor.name)
        for number, node in enumerate(graph.node):
            node.name = named(node.name or f"{node.op_type}_{number}")
            for names in (node.input, node.output):
                for position, name in enumerate(names):
                    names[position] = named(name)
        if graph is not model.graph:
            for value in (*graph.input, *graph.output):
                value.name = named(value.name)


def values_read(node: onnx.NodeProto) -> set[str]:
    """The values that a node reads, and those that its subgraphs may read."""
    inside = {
        name
        for attribute in node.attribute
        for graph in (attribute.g, *attribute.graphs)
        for inner in _all_nodes(graph)
        for name in inner.input
    }
    return inside.union(node.input)


def rename_value(model: onnx.ModelProto, old: str, new: str) -> None:
    """Renames one value wherever it is made or read."""
    graph = model.graph
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new
    for node in _all_nodes(graph):
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name == old:
                    names[position] = new


def make_batch_dynamic(model: onnx.ModelProto) -> None:
    """Frees the first dimension of the input, and of Reshapes that repeat it as a constant.

    Rules, for a batch that was fixed to `n`, on Reshapes that the input flows into:

    1. `[n, ...]` without -1 becomes `[-1, ...]`.
    2. `[n, ..., -1, ...]` becomes `[0, ..., -1, ...]`, 0 meaning "as it came".

    Both are guesses about what the first dimension means; the caller must check that the model
    now computes for every batch what it computed for one frame.
    """
    graph = model.graph
    dimension = real_inputs(graph)[0].type.tensor_type.shape.dim[0]
    fixed = dimension.dim_value if dimension.HasField("dim_value") else None
    dimension.Clear()
    dimension.dim_param = "B"
    if fixed is None:
        return
    flowing = {real_inputs(graph)[0].name}
    for node in graph.node:
        if not flowing.intersection(node.input):
            continue
        flowing.update(node.output)
        if node.op_type == "Reshape" and node.input[0] in flowing:
            _free_first(graph, node, fixed)


def constant_value(graph: onnx.GraphProto, name: str) -> onnx.TensorProto | None:
    """The initialiser or Constant node called `name`, if there is one."""
    tensor: onnx.TensorProto
    for tensor in graph.initializer:
        if tensor.name == name:
            return tensor
    for node in graph.node:
        if node.op_type == "Constant" and name in node.output:
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensor = attribute.t
                    return tensor
                if attribute.name == "value_ints":
                    ints = list(attribute.ints)
                    return helper.make_tensor(name, onnx.TensorProto.INT64, [len(ints)], ints)
    return None


def _free_first(graph: onnx.GraphProto, node: onnx.NodeProto, fixed: int) -> None:
    tensor = constant_value(graph, node.input[1])
    if tensor is None:
        return
    shape = numpy_helper.to_array(tensor).copy()
    if shape.ndim != 1 or len(shape) < 2 or shape[0] != fixed:
        return
    if -1 in shape:
        if 0 in shape:
            return  # 0 has a meaning of its own here
        kept = [attribute for attribute in node.attribute if attribute.name != "allowzero"]
        _replace(node.attribute, kept)
    shape[0] = 0 if -1 in shape else -1
    name = f"{node.output[0]}_shape"
    graph.initializer.append(numpy_helper.from_array(shape, name))
    node.input[1] = name


def _all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                if inner.node:
                    yield from _all_graphs(inner)


def _all_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for inner in _all_graphs(graph):
        yield from inner.node


def _replace(container: object, items: Iterable[object]) -> None:
    kept = list(items)
    del container[:]  # type: ignore[attr-defined]
    container.extend(kept)  # type: ignore[attr-defined]
