"""A small guard with views of their own for noisy frames, and a denoiser that marks what it did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Defense, GuardMetadata, ViewBuilder
from blurvote.runtime.metadata import DenoiserEntry
from tests.conftest import SMALL, colour_classifier

ADAPTIVE = replace(
    SMALL,
    noisy_views=("denoised", "denoised-single-blur", "double-blur"),
    noise_switch=(0.004, 0.006),  # on a grid that takes a seventh of frames' noise
)
BETWEEN = 0.036  # noise of a frame between the two levels of the switch
MARKS = (2.0, 3.0, 5.0)  # what each of the denoised views multiplies the clean one by


def marked(clean: NDArray[Any], level: float, k: int) -> NDArray[Any]:
    """What `denoiser_model` makes of a clean view (3, h, w) as its view `k`."""
    return clean * MARKS[k] - level * (k + 1)


def denoiser_model(count: int, height: int, width: int) -> bytes:
    """An ONNX denoiser with `count` views, see `marked`."""
    nodes = [
        helper.make_node("Slice", ["noisy", "zero", "three", "one"], ["clean"]),
        helper.make_node("Slice", ["noisy", "three", "four", "one"], ["level"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([value], np.int64), name)
        for name, value in (("zero", 0), ("one", 1), ("three", 3), ("four", 4))
    ]
    for k in range(count):
        constants += [
            numpy_helper.from_array(np.float32(MARKS[k]), f"mark {k}"),
            numpy_helper.from_array(np.float32(k + 1), f"times {k}"),
        ]
        nodes += [
            helper.make_node("Mul", ["clean", f"mark {k}"], [f"marked {k}"]),
            helper.make_node("Mul", ["level", f"times {k}"], [f"less {k}"]),
            helper.make_node("Sub", [f"marked {k}", f"less {k}"], [f"view {k}"]),
            helper.make_node("Unsqueeze", [f"view {k}", "one"], [f"views {k}"]),
        ]
    nodes.append(
        helper.make_node("Concat", [f"views {k}" for k in range(count)], ["views"], axis=1)
    )
    graph = helper.make_graph(
        nodes,
        "denoiser",
        [helper.make_tensor_value_info("noisy", TensorProto.FLOAT, ["B", 4, height, width])],
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", count, 3, height, width])],
        constants,
    )
    return _bytes(graph)


def write_adaptive_guard(
    path: Path, defense: Defense = ADAPTIVE, denoiser: bytes | None = None, entry: bool = True
) -> Path:
    """A `views` guard that names the strongest of red, green and blue, as `make_guard`'s does.

    Args:
        path: the file to write.
        defense: an adaptive one, of SMALL's grid.
        denoiser: None takes `denoiser_model`.
        entry: whether to write a denoiser's entry at all.
    """
    if denoiser is None:
        denoiser = denoiser_model(len(defense.denoised_kinds), *defense.crop)
    metadata = GuardMetadata(
        "views",
        defense,
        ("red", "green", "blue"),
        provenance={"source": "test"},
        denoiser=DenoiserEntry("marks", "0" * 64, denoiser) if entry else None,
    )
    model = onnx.load_from_string(_bytes(colour_classifier()))
    for key, value in metadata.to_map().items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


def grainy(
    seed: int, sigma: float, shape: tuple[int, int] = (96, 128), colour: Any = (150, 110, 90)
) -> NDArray[np.uint8]:
    """A plain (H, W, 3) uint8 frame with white Gaussian noise of `sigma` in [0, 1] RGB units."""
    noise = np.random.default_rng(seed).normal(0, sigma * 255, (*shape, 3))
    return (np.array(colour) + noise).round().clip(0, 255).astype(np.uint8)


def level_on_grid(defense: Defense, frame: NDArray[np.uint8]) -> float:
    """The estimate of a frame's noise, on the backbone's grid."""
    builder = ViewBuilder(defense)
    noise = builder.build_noise(frame, np.empty((1, 3, *defense.crop), np.float32), range(1))
    assert noise is not None
    return noise * builder.noise_gain(*frame.shape[:2])


def _bytes(graph: onnx.GraphProto) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data
