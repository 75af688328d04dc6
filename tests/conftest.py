"""What all tests share: the optional real models and images, and a guard one can reason about."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Defense, GuardMetadata
from blurvote.runtime.engines.protocol import EngineSettings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder of real models, images and video; skips where it is absent."""
    folder = Path(os.environ.get("BLURVOTE_ASSETS", ROOT.parent / "shared" / "assets"))
    if not (folder / "images" / "imagenet-half").is_dir():
        pytest.skip(f"no assets at {folder}; set BLURVOTE_ASSETS to the folder that has them")
    return folder


SMALL = Defense(resize=20, crop=(16, 16))
ONE_THREAD = EngineSettings("cpu", threads=1)


def colour_classifier() -> onnx.GraphProto:
    """Logits (B, 3) = 50 times the mean of each channel of the views (B, 3, 16, 16)."""
    weights = numpy_helper.from_array(np.eye(3, dtype=np.float32) * 50, "weights")
    return helper.make_graph(
        [
            helper.make_node("ReduceMean", ["views", "axes"], ["means"], keepdims=0),
            helper.make_node("MatMul", ["means", "weights"], ["logits"]),
        ],
        "colour",
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 16, 16])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 3])],
        [weights, numpy_helper.from_array(np.array([2, 3], np.int64), "axes")],
    )


@pytest.fixture
def make_guard(tmp_path: Path) -> Callable[..., Path]:
    """Writes a `views` guard that names the strongest of red, green and blue."""

    def make(name: str = "guard.onnx", defense: Defense = SMALL, labels: bool = True) -> Path:
        model = helper.make_model(
            colour_classifier(), opset_imports=[helper.make_opsetid("", 18)], ir_version=10
        )
        names = ("red", "green", "blue") if labels else ()
        metadata = GuardMetadata("views", defense, names, provenance={"source": "test"})
        for key, value in metadata.to_map().items():
            model.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(model, full_check=True)
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return make


@pytest.fixture
def red_frame() -> np.ndarray:
    """A (48, 64, 3) uint8 RGB frame that is mostly red, with some texture."""
    frame = np.random.default_rng(0).integers(0, 60, (48, 64, 3), dtype=np.uint8)
    frame[..., 0] += 180
    return frame
