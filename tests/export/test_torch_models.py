"""Models that torch builds."""

from __future__ import annotations

import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from blurvote.export import ModelOptions, export_guard
from blurvote.export.models import resolve
from blurvote.export.reference import build_views
from blurvote.runtime import Defense, ExportError, Guard

NAME = "mobilenet_v3_small"

FACTORIES = """
import torch
def small():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Dropout(0.5),
        torch.nn.Linear(8, 3),
    )
def named():
    model = small()
    model.classes = ["a", "b", "c"]
    return model
def fails():
    raise KeyError("weights")
def number():
    return 3
def pair():
    class Pair(torch.nn.Module):
        def forward(self, x):
            return x, x
    return Pair()
def rows():
    return torch.nn.Linear(7, 3)
def branching():
    class Branching(torch.nn.Module):
        def forward(self, x):
            total = x.mean((1, 2, 3))
            return torch.stack([total, total * 2], 1) if total.sum() > 0 else torch.zeros(2, 2)
    return Branching()
"""


@pytest.fixture
def factories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working folder; its name."""
    name = f"factories_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield name
    sys.modules.pop(name, None)


def test_a_factory_in_the_working_folder(factories: str, tmp_path: Path) -> None:
    report = export_guard(
        f"{factories}:named",
        tmp_path / "guard.onnx",
        defense={"crop": 32},
        kind="frames",
        frame_size=(60, 80),
    )
    assert report.metadata.labels == ("a", "b", "c")
    assert report.metadata.provenance["source"] == f"{factories}:named"
    assert report.metadata.defense == Defense(resize=37, crop=32)
    operators = {node.op_type for node in _graph(tmp_path / "guard.onnx")}
    assert not operators & {"BatchNormalization", "Dropout"}


def test_torchvision_takes_its_preprocessing_from_the_weights() -> None:
    classifier = resolve(f"torchvision:{NAME}", "none", None)
    weights = torchvision.models.get_model_weights(NAME).DEFAULT
    transforms = weights.transforms()
    assert classifier.preprocessing == {
        "resize": transforms.resize_size[0],
        "crop": transforms.crop_size[0],
        "interpolation": "bilinear",
        "antialias": True,
        "mean": tuple(transforms.mean),
        "std": tuple(transforms.std),
    }
    assert classifier.labels == tuple(weights.meta["categories"])


def test_weights_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    module = torchvision.models.get_model(NAME, weights=None).eval()
    state = tmp_path / "weights.pth"
    torch.save(module.state_dict(), state)
    report = export_guard(
        f"torchvision:{NAME}",
        tmp_path / "guard.onnx",
        options=ModelOptions(weights=str(state)),
        defense={"crop": 64, "resize": 64},
        kind="frames",
        frame_size=(72, 64),
    )
    assert report.metadata.provenance["weights"] == "weights.pth"
    frame = np.random.default_rng(0).integers(0, 256, (72, 64, 3), dtype=np.uint8)
    views = build_views(report.metadata.defense, frame).astype(np.float32)
    with torch.inference_mode():
        expected = module(torch.from_numpy(views)).numpy()
    with Guard(tmp_path / "guard.onnx", "cpu") as guard:
        verdict = guard.classify(frame)
    assert list(verdict.view_labels) == expected.argmax(axis=1).tolist()


def test_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(
        sys.modules["torchvision.models._api"], "load_state_dict_from_url", unreachable
    )
    with pytest.raises(ExportError) as caught:
        resolve(f"torchvision:{NAME}", "default", None)
    text = str(caught.value)
    assert text.startswith(f"cannot download the weights of torchvision:{NAME} from https://")
    assert text.endswith(
        "Without a network, name a local file: --weights FILE.pth, or --weights none for random "
        "weights"
    )


def test_weights_that_are_absent_or_do_not_fit(tmp_path: Path) -> None:
    absent = tmp_path / "absent.pth"
    with pytest.raises(ExportError) as caught:
        resolve(f"torchvision:{NAME}", str(absent), None)
    assert str(caught.value) == (
        f"there is no weights file at {absent}; --weights is a path, 'default' or 'none'"
    )
    other = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, other)
    with pytest.raises(ExportError, match=r"other.pth does not fit torchvision:.*: Error\(s\) in"):
        resolve(f"torchvision:{NAME}", str(other), None)
    other.write_bytes(b"nothing")
    with pytest.raises(ExportError, match=r"other\.pth does not fit"):
        resolve(f"torchvision:{NAME}", str(other), None)


def test_unknown_torchvision_names() -> None:
    with pytest.raises(ExportError) as caught:
        resolve("torchvision:resnet51", "default", None)
    assert str(caught.value).startswith(
        "torchvision has no classifier called 'resnet51'. Did you mean resnet50, "
    )


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (
            "absent",
            "cannot import {name}:absent: module '{name}' has no attribute 'absent'. "
            "Expected package.module:factory, importable from {folder} or installed",
        ),
        ("fails", "{name}:fails() failed: KeyError: 'weights'"),
        ("number", "{name}:number() returned int; expected a torch.nn.Module"),
        ("pair", "{name}:pair returns tuple; expected one tensor (N, C) of logits"),
        ("rows", "{name}:rows cannot classify views of 224x224 px: RuntimeError: "),
        ("branching", "torch cannot turn {name}:branching into ONNX: "),
    ],
)
def test_factories_that_are_refused(
    factories: str, tmp_path: Path, factory: str, text: str
) -> None:
    with pytest.raises(ExportError) as caught:
        resolve(f"{factories}:{factory}", "default", None)
    assert str(caught.value).startswith(text.format(name=factories, folder=tmp_path))


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ExportError, match=r"cannot import absent_package.models:build: No module"):
        resolve("absent_package.models:build", "default", None)


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(ExportError) as caught:
        resolve("torchvision:resnet18", "none", None)
    assert str(caught.value).startswith("this model needs torchvision, which cannot be imported")
    assert "pip install torch torchvision onnxscript" in str(caught.value)


def _graph(path: Path) -> Any:
    import onnx

    return onnx.load(path).graph.node


def test_a_module_itself(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(48, 2)
    )
    module.classes = ["dark", "light"]  # type: ignore[assignment]
    report = export_guard(module, tmp_path / "guard.onnx", defense={"crop": 32})
    assert report.metadata.labels == ("dark", "light")
    assert report.metadata.provenance["source"] == "Sequential"
    assert Guard(report.path, "cpu").classify(np.zeros((50, 60, 3), np.uint8)).accepted


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="of type dict; expected a torch"):
        export_guard({}, tmp_path / "guard.onnx")  # type: ignore[arg-type]
