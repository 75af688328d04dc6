"""A guard whose backbone has gradients, for the tests of the lab."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Defense, GuardMetadata
from blurvote.runtime.metadata import DenoiserEntry

SMALL = Defense(resize=20, crop=(16, 16))
ADAPTIVE = Defense(
    resize=36,
    crop=(32, 32),
    noisy_views=("denoised", "50%-denoised", "double-blur"),
    noise_switch=(0.03, 0.05),
)


def conv_backbone(
    classes: int, seed: int, size: tuple[int, int], batch: int | str = "B"
) -> onnx.GraphProto:
    """Logits `(B, classes)` of views `(B, 3, h, w)`: two convolutions, a ReLU between, a mean."""
    random = np.random.default_rng(seed)

    def weights(name: str, *shape: int) -> onnx.TensorProto:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 1
        drawn = random.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        return numpy_helper.from_array(drawn, name)

    return helper.make_graph(
        [
            helper.make_node("Conv", ["views", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["c1"], ["r1"]),
            helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], strides=[2, 2]),
            helper.make_node("Relu", ["c2"], ["r2"]),
            helper.make_node("GlobalAveragePool", ["r2"], ["pooled"]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w3", "b3"], ["logits"], transB=1),
        ],
        "conv",
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, [batch, 3, *size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])],
        [
            weights("w1", 8, 3, 3, 3),
            weights("b1", 8),
            weights("w2", 8, 8, 3, 3),
            weights("b2", 8),
            weights("w3", classes, 8),
            numpy_helper.from_array(np.zeros(classes, np.float32), "b3"),
        ],
    )


def stand_in_denoiser(defense: Defense) -> bytes:
    """A 3x3 mean of the clean view, as far as the kind's strength says, less 0.3 of the level.

    One convolution, which onnx2torch converts and `stand_in_views` computes once more.
    """
    kinds = defense.denoised_kinds
    weights = np.zeros((len(kinds), 3, 4, 3, 3), np.float32)
    for k, kind in enumerate(kinds):
        for c in range(3):
            weights[k, c, c] = kind.strength / 100 / 9
            weights[k, c, c, 1, 1] += 1 - kind.strength / 100
            weights[k, c, 3, 1, 1] = -0.3
    height, width = defense.crop
    shape = [-1, len(kinds), 3, height, width]
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["noisy", "w"], ["flat"], pads=[1, 1, 1, 1]),
            helper.make_node("Reshape", ["flat", "shape"], ["views"]),
        ],
        "denoiser",
        [helper.make_tensor_value_info("noisy", TensorProto.FLOAT, ["B", 4, height, width])],
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", *shape[1:]])],
        [
            numpy_helper.from_array(weights.reshape(-1, 4, 3, 3), "w"),
            numpy_helper.from_array(np.array(shape, np.int64), "shape"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def stand_in_views(defense: Defense, clean: np.ndarray, level: float) -> np.ndarray:
    """What `stand_in_denoiser` makes of a clean view `(3, h, w)`: `(K, 3, h, w)` float64."""
    padded = np.pad(clean.astype(np.float64), [(0, 0), (1, 1), (1, 1)])
    height, width = clean.shape[1:]
    mean = sum(padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)) / 9
    parts = [kind.strength / 100 for kind in defense.denoised_kinds]
    return np.stack([part * mean + (1 - part) * clean - 0.3 * level for part in parts])


@pytest.fixture
def conv_guard(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small `views` guard that onnx2torch converts; weights are drawn by `seed`.

    `make(name, defense, classes, seed, labels=None, batch="B") -> Path`; labels are `class 0`,
    `class 1`, ... unless given. An adaptive defence gets `stand_in_denoiser`.
    """

    def make(
        name: str = "conv.onnx",
        defense: Defense = SMALL,
        classes: int = 3,
        seed: int = 0,
        labels: tuple[str, ...] | None = None,
        batch: int | str = "B",
    ) -> Path:
        model = helper.make_model(
            conv_backbone(classes, seed, defense.crop, batch),
            opset_imports=[helper.make_opsetid("", 17)],
            ir_version=8,
        )
        names = tuple(f"class {n}" for n in range(classes)) if labels is None else labels
        denoiser = None
        if defense.adaptive:
            denoiser = DenoiserEntry("stand-in", "0" * 64, stand_in_denoiser(defense))
        metadata = GuardMetadata(
            "views", defense, names, provenance={"source": "test"}, denoiser=denoiser
        )
        for key, value in metadata.to_map().items():
            model.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(model, full_check=True)
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return make
