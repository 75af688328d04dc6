"""What an ONNX classifier takes and gives: read from its graph and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx
from onnx import TensorProto

from blurvote.export.classifier import ModelOptions
from blurvote.export.graph_passes import foreign_operators, real_inputs
from blurvote.runtime.errors import ExportError

__all__ = ["Interface", "read_interface"]

DEFAULT_CROP = (224, 224)


@dataclass(frozen=True)
class Interface:
    """The input and the output of a classifier.

    Attributes:
        input_name, output_name: of its graph.
        layout: `"nchw"` or `"nhwc"`.
        element: the input's TensorProto type: FLOAT, FLOAT16 or DOUBLE.
        output_element: the same of the output.
        batch: the first dimension where it is fixed, else None.
        crop: `(height, width)` in pixels.
    """

    input_name: str
    output_name: str
    layout: Literal["nchw", "nhwc"]
    element: int
    output_element: int
    batch: int | None
    crop: tuple[int, int]


def read_interface(
    model: onnx.ModelProto, origin: str, options: ModelOptions, crop: tuple[int, int] | None
) -> Interface:
    """The interface of `model`.

    Args:
        origin: how to call the model in errors.
        crop: `(height, width)` that the caller wants; None takes what the model fixes, or 224.

    Raises:
        ExportError: it is not a classifier of one picture per row, or cannot serve as a backbone.
    """
    foreign = foreign_operators(model)
    if foreign:
        raise ExportError(
            f"{origin} uses operators outside the ONNX standard: {', '.join(foreign[:5])}. A guard "
            "must run anywhere; export the model without them (for ONNX Runtime's own "
            "optimisations: from the file before it was optimised)"
        )
    value = _only_input(model, origin)
    element, dims = value.type.tensor_type.elem_type, _dims(value)
    described = _describe(value)
    if element not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE):
        raise ExportError(
            f"{origin} takes {described}; a guard feeds it normalised float views. Export the "
            "model with a float input, before its quantisation or scaling node"
        )
    if dims is None or len(dims) != 4:
        raise ExportError(
            f"{origin} takes {described}; expected pictures: a float tensor (N, 3, H, W) or "
            "(N, H, W, 3)"
        )
    layout = _layout(dims, options, origin, described)
    channels, height, width = (
        (dims[1], dims[2], dims[3]) if layout == "nchw" else (dims[3], dims[1], dims[2])
    )
    if channels not in (3, None):
        raise ExportError(
            f"{origin} takes {described}: {channels} channels as {layout}; expected 3. Another "
            "order is chosen with --layout"
        )
    output = _output(model, origin, options)
    return Interface(
        input_name=value.name,
        output_name=output.name,
        layout=layout,
        element=element,
        output_element=output.type.tensor_type.elem_type,
        batch=dims[0],
        crop=_crop(height, width, crop, origin),
    )


def _only_input(model: onnx.ModelProto, origin: str) -> onnx.ValueInfoProto:
    inputs = real_inputs(model.graph)
    if len(inputs) != 1:
        listed = ", ".join(f"{value.name} {_describe(value)}" for value in inputs) or "none"
        raise ExportError(
            f"{origin} has {len(inputs)} inputs ({listed}); expected one, the pictures. Make the "
            "others constants in the model"
        )
    return inputs[0]


def _layout(
    dims: list[int | None], options: ModelOptions, origin: str, described: str
) -> Literal["nchw", "nhwc"]:
    if options.layout != "auto":
        return options.layout
    if dims[1] == 3 or (dims[1] is None and dims[3] != 3):
        return "nchw"
    if dims[3] == 3:
        return "nhwc"
    raise ExportError(
        f"{origin} takes {described}; expected 3 colour channels, as (N, 3, H, W) or (N, H, W, 3)"
    )


def _crop(
    height: int | None, width: int | None, wanted: tuple[int, int] | None, origin: str
) -> tuple[int, int]:
    default = wanted or DEFAULT_CROP
    crop = (height or default[0], width or default[1])
    if wanted is not None and crop != wanted:
        raise ExportError(
            f"{origin} takes pictures of {crop[1]}x{crop[0]} px, not {wanted[1]}x{wanted[0]} px; "
            f"leave --crop out, or export the model for that size"
        )
    return crop


def _output(model: onnx.ModelProto, origin: str, options: ModelOptions) -> onnx.ValueInfoProto:
    outputs = {value.name: value for value in model.graph.output}
    listed = ", ".join(f"{name} {_describe(value)}" for name, value in outputs.items())
    if options.output_name is not None:
        if options.output_name not in outputs:
            raise ExportError(
                f"{origin} has no output called {options.output_name!r}; it has {listed}"
            )
        chosen: onnx.ValueInfoProto = outputs[options.output_name]
    elif len(outputs) == 1:
        (chosen,) = outputs.values()
    else:
        raise ExportError(
            f"{origin} has {len(outputs)} outputs ({listed}); choose the one that holds the "
            "classes with --output-name"
        )
    dims = _dims(chosen)
    shaped = dims is None or len(dims) == 2 or (len(dims) == 4 and set(dims[2:]) <= {1, None})
    floats = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    if chosen.type.tensor_type.elem_type not in floats or not shaped:
        raise ExportError(
            f"{origin} gives {_describe(chosen)}; expected the scores of a classifier: float (N, C)"
        )
    return chosen


def _dims(value: onnx.ValueInfoProto) -> list[int | None] | None:
    """Each dimension, None where it is dynamic; None where the shape is not stated."""
    if not value.type.tensor_type.HasField("shape"):
        return None
    return [
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in value.type.tensor_type.shape.dim
    ]


def _describe(value: onnx.ValueInfoProto) -> str:
    """Such as `float (N, 3, 224, 224)`."""
    kind = value.type.WhichOneof("value")
    if kind != "tensor_type":
        return str(kind or "a value of unknown type").removesuffix("_type")
    element = TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    if not value.type.tensor_type.HasField("shape"):
        return f"{element} of unstated shape"
    names = [
        str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]
    return f"{element} ({', '.join(names)})"
