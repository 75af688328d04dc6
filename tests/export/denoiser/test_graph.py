"""The shipped network as ONNX against torch, and the file that is shipped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from blurvote.export.denoiser import graph as graph_module
from blurvote.export.denoiser.graph import MULTIPLE, denoiser_model, load_weights
from blurvote.export.denoiser.loading import SHIPPED_FILE, load_denoiser
from blurvote.export.denoiser.network import MULTIPLE as NETWORK_MULTIPLE
from blurvote.export.denoiser.network import DenoisingNetwork
from blurvote.export.ort_session import Session
from blurvote.runtime import ExportError


def network(**sizes: int) -> DenoisingNetwork:
    torch.manual_seed(0)
    model = DenoisingNetwork(**sizes).eval()
    for weights in model.tail.parameters():  # which begin at zero
        torch.nn.init.normal_(weights, std=0.05)
    return model


def denoised(model: DenoisingNetwork, images: np.ndarray, levels: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return np.asarray(model(torch.from_numpy(images), torch.from_numpy(levels)).numpy())


@pytest.mark.parametrize("sizes", [{}, {"fine": 8, "coarse": 24, "blocks": 3}], ids=str)
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 32, 48), (2, 8, 8)], ids=str)
def test_equals_torch(sizes: dict[str, int], shape: tuple[int, int, int]) -> None:
    model = network(**sizes)
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    batch, height, width = shape
    rng = np.random.default_rng(0)
    images = rng.random((batch, 3, height, width), np.float32)
    levels = rng.uniform(0, 0.5, (batch, 1)).astype(np.float32)
    session = Session(denoiser_model(weights), "the denoiser")
    (found,) = session.feed({"images": images, "noise": levels})
    expected = denoised(model, images, levels)
    assert np.abs(expected - images).max() > 1e-3  # it does something
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_its_names_and_its_multiple_are_the_networks() -> None:
    weights = {name: value.numpy() for name, value in network().state_dict().items()}
    model = denoiser_model(weights)
    stored = {tensor.name for tensor in model.graph.initializer}
    assert {name for name in weights if not name.endswith("bias")} <= stored
    assert all(node.name and node.output[0] for node in model.graph.node)
    assert {item.key: item.value for item in model.metadata_props} == {
        "blurvote.multiple": str(MULTIPLE)
    }
    assert MULTIPLE == NETWORK_MULTIPLE


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_command_writes_what_it_reads(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    checkpoint: bool,
) -> None:
    model, source, target = network(), tmp_path / "weights.pt", tmp_path / "denoiser.onnx"
    state = model.state_dict()
    torch.save({"averaged": state, "steps": 1} if checkpoint else state, source)
    monkeypatch.setattr(sys, "argv", ["graph", str(source), "-o", str(target)])
    graph_module.main()
    assert capsys.readouterr().out == f"wrote {target}: {target.stat().st_size / 1e6:.2f} MB\n"
    images, levels = np.full((1, 3, 8, 8), 0.5, np.float32), np.full((1, 1), 0.2, np.float32)
    (found,) = Session(onnx.load(target), "it").feed({"images": images, "noise": levels})
    np.testing.assert_allclose(found, denoised(model, images, levels), rtol=0, atol=1e-5)


def test_what_holds_no_weights_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"weights\.pt does not hold the weights that blurvote"):
        load_weights(path)


def test_the_shipped_file_denoises_and_is_small() -> None:
    assert SHIPPED_FILE.stat().st_size < 2_000_000
    model = load_denoiser("shipped", (64, 64))  # tries it on noise
    assert model.name == "blurvote"
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64] / 64
    clean = np.stack([x, y, (x + y) / 2])[None].astype(np.float32)
    for level in (0.15, 0.3):
        drawn = level * rng.standard_normal(clean.shape, np.float32)
        noisy = np.clip(clean + drawn, 0, 1)
        found = model.reference(noisy, np.array([level], np.float32))
        assert np.mean((found - clean) ** 2) < 0.8 * np.mean((noisy - clean) ** 2)
