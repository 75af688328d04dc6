"""Reading ONNX files and label lists; every refusal."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from blurvote.export.models import resolve
from blurvote.export.onnx_models import MAX_BYTES, load_onnx, parse_labels, read_labels
from blurvote.runtime import ExportError


def test_source_hash_and_labels_come_from_the_file(save_model: Callable[..., Path]) -> None:
    path = save_model(metadata={"names": "{0: 'a', 1: 'b', 2: 'c', 3: 'd', 4: 'e'}"})
    classifier = resolve(str(path), "default", None)
    assert classifier.labels == ("a", "b", "c", "d", "e")
    assert classifier.provenance == {
        "source": "model.onnx",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ('["cat", "dog"]', ("cat", "dog")),
        ("cat\ndog\n\n", ("cat", "dog")),
        ("['cat', 'dog']", ("cat", "dog")),
        ('{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ("{0: 'cat', 1: 'dog'}", ("cat", "dog")),
        ("{0: 'cat', 2: 'dog'}", ()),
        ("{'cat': 0}", ()),
        ("tench, Tinca tinca\ngreat white shark", ("tench, Tinca tinca", "great white shark")),
        ("", ()),
        ("12\n13", ("12", "13")),
    ],
)
def test_label_lists(text: str, labels: tuple[str, ...], tmp_path: Path) -> None:
    assert parse_labels(text) == labels
    file = tmp_path / "labels.txt"
    file.write_text(text, encoding="utf-8")
    if labels:
        assert read_labels(file) == labels
    else:
        with pytest.raises(ExportError) as caught:
            read_labels(file)
        assert str(caught.value) == (
            f"{file} holds no labels; expected one name per line, or a JSON list"
        )


def test_label_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"cannot read the labels in .*: .*No such file"):
        read_labels(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ExportError, match=r"cannot read the labels in .*codec"):
        read_labels(tmp_path / "binary.txt")


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def prose(path: Path) -> None:
    path.write_text("this is not a model")


def zipped(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 and so on")


def absent(path: Path) -> None:
    path.unlink()


def huge(path: Path) -> None:
    os.truncate(path, MAX_BYTES + 1)  # sparse: takes no space


def guarded(path: Path) -> None:
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"blurvote.defense": "{}"})
    onnx.save(model, str(path))


def outside(path: Path) -> None:
    onnx.save(
        onnx.load(path),
        str(path),
        save_as_external_data=True,
        location="model.bin",
        size_threshold=0,
    )
    (path.parent / "model.bin").unlink()


def huge_outside(path: Path) -> None:
    onnx.save(
        onnx.load(path),
        str(path),
        save_as_external_data=True,
        location="model.bin",
        size_threshold=0,
    )
    os.truncate(path.parent / "model.bin", MAX_BYTES + 1)


REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (truncated, "{path} is not an ONNX file, or is cut off (700 bytes read)"),
    (empty, "{path} is empty; expected an ONNX file"),
    (prose, "{path} is not an ONNX file, or is cut off (19 bytes read)"),
    (
        zipped,
        "{path} is not ONNX; it looks like a PyTorch checkpoint. For a torchvision model: "
        "blurvote export torchvision:NAME --weights {path}; else write a function that builds the "
        "model and name it as package.module:factory",
    ),
    (
        absent,
        "there is no model at {path}. MODEL is a path of an ONNX file, torchvision:NAME or "
        "package.module:factory",
    ),
    (huge, "{path} has 2.1 GB; an ONNX file of more than 2 GB is not supported"),
    (
        guarded,
        "{path} is a guard already; export from the model it was made of, or convert the guard "
        "with --precision",
    ),
    (
        outside,
        "{path} keeps its weights in other files, and {folder}/model.bin is missing: put it "
        "back beside the model",
    ),
    (
        huge_outside,
        "{path} has 2.1 GB of weights in other files; a guard is one file, and one ONNX "
        "file of more than 2 GB is not supported",
    ),
]


@pytest.mark.parametrize(("harm", "text"), REFUSED, ids=[case[0].__name__ for case in REFUSED])
def test_refuses(save_model: Callable[..., Path], harm: Callable[[Path], None], text: str) -> None:
    path = save_model()
    harm(path)
    with pytest.raises(ExportError) as caught:
        load_onnx(path)
    assert str(caught.value) == text.format(path=path, folder=path.parent)


def test_weights_in_other_files_are_brought_in(save_model: Callable[..., Path]) -> None:
    path = save_model()
    expected = onnx.load(path)
    onnx.save(
        onnx.load(path),
        str(path),
        save_as_external_data=True,
        location="model.bin",
        size_threshold=0,
    )
    proto = load_onnx(path).proto
    for tensor, original in zip(proto.graph.initializer, expected.graph.initializer, strict=True):
        assert onnx.numpy_helper.to_array(tensor).tolist() == (
            onnx.numpy_helper.to_array(original).tolist()
        )
    assert not any(tensor.external_data for tensor in proto.graph.initializer)


def test_weights_are_torchvisions_matter(save_model: Callable[..., Path]) -> None:
    path = save_model()
    with pytest.raises(ExportError) as caught:
        resolve(str(path), "weights.pth", None)
    assert str(caught.value) == (
        f"--weights weights.pth is for torchvision models; {path} brings its own weights"
    )


def test_json_labels_of_the_blog() -> None:
    names = [f"class {index}" for index in range(1000)]
    assert parse_labels(json.dumps(names)) == tuple(names)
