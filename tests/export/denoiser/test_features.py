"""The loss that compares what a classifier sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from blurvote.export.denoiser.features import FeatureLoss
from blurvote.runtime import Defense, ExportError


def classifier(channels: tuple[int, ...]) -> onnx.ModelProto:
    """A 3x3 convolution, then 1x1 ones with rectifiers between, to these channels; then a mean."""
    rng = np.random.default_rng(0)
    nodes, weights, value, before = [], [], "views", 3
    for k, after in enumerate(channels):
        side = 1 if k else 3
        drawn = rng.normal(0, before**-0.5, (after, before, side, side)).astype(np.float32)
        weights.append(numpy_helper.from_array(drawn, f"w{k}"))
        pads = [side // 2] * 4
        nodes.append(helper.make_node("Conv", [value, f"w{k}"], [f"c{k}"], f"conv{k}", pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{k}"], [f"r{k}"], f"relu{k}"))
        value, before = f"r{k}", after
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["pool"], "pool"))
    nodes.append(helper.make_node("Flatten", ["pool"], ["logits"], "flat"))
    entry = helper.make_tensor_value_info("views", TensorProto.FLOAT, ["n", 3, "h", "w"])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", channels[-1]])
    graph = helper.make_graph(nodes, "classifier", [entry], [logits], weights)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10)


def test_maps_are_the_bottlenecks_outputs(tmp_path: Path) -> None:
    """Of ten convolutions the first, and of what narrows among the first eight every second."""
    model = classifier((8, 4, 8, 4, 8, 4, 8, 4, 8, 4))
    path = tmp_path / "classifier.onnx"
    onnx.save(model, path)
    images = np.random.default_rng(1).random((2, 3, 16, 24), np.float32)
    maps = FeatureLoss(path).features(torch.from_numpy(images))

    for name in ("c0", "c1", "c5"):
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    defense = Defense()
    mean, std = (np.array(v, np.float32)[:, None, None] for v in (defense.mean, defense.std))
    _, first, *others = ReferenceEvaluator(model).run(None, {"views": (images - mean) / std})
    # A rectifier may work in place on the first.
    assert len(maps) == 3
    for found, expected in zip(maps, [first, *others], strict=True):
        np.testing.assert_allclose(found.relu(), np.maximum(expected, 0), rtol=1e-4, atol=1e-5)


def test_the_loss_is_a_share_of_the_maps_and_has_a_gradient(tmp_path: Path) -> None:
    path = tmp_path / "classifier.onnx"
    onnx.save(classifier((8, 4, 8)), path)
    loss = FeatureLoss(path)
    clean = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    wanted = loss.features(clean)
    assert float(loss(clean, wanted)) == 0
    other = (clean * 0.9).requires_grad_()
    value = loss(other, wanted)
    found = loss.features(other.detach())
    expected = np.mean(
        [float((a - b).abs().sum() / b.abs().sum()) for a, b in zip(found, wanted, strict=True)]
    )
    assert value.item() == pytest.approx(expected, rel=1e-5)
    value.backward()
    assert other.grad is not None
    assert float(other.grad.abs().max()) > 0


def test_what_has_no_bottlenecks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "classifier.onnx"
    onnx.save(classifier((4, 8, 16)), path)
    with pytest.raises(ExportError, match="no bottlenecks"):
        FeatureLoss(path)
    with pytest.raises(ExportError, match="cannot be turned into a torch module"):
        FeatureLoss(tmp_path / "missing.onnx")
