"""What `blurvote attack` says of mistakes, and of pictures and guards that do not fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.runtime import Defense
from blurvote.runtime.cli import main
from tests.benchmarks.robustness.conftest import ADAPTIVE

Make = Callable[..., Path]


@pytest.fixture
def guard(conv_guard: Make) -> Path:
    return conv_guard()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for n in range(3):
        folder = tmp_path / "pictures" / f"class {n}"
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / f"{n}.png"), random.integers(0, 256, (23, 29, 3), dtype=np.uint8))
    return tmp_path / "pictures"


def attack(out: Path, *words: object) -> int:
    quick = ("--workers", "1", "--provider", "cpu", "--steps", "2", "--epsilon", "8/255")
    return main(["attack", *map(str, words), *quick, "-o", str(out / "out")])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--attack", "cw"), "attack 'cw' is unknown; expected random, fgsm"),
        (("--threats", "white-box"), "threat 'white-box' is unknown"),
        (("--threats", "transfer"), "transfer needs another model: --surrogate GUARD"),
        (("--attack", "pgd-l2", "--epsilon-l2", "0.001"), "less than one grey level"),
        (("--attack", "pgd-l2", "--epsilon-l2", "x"), "epsilon 'x' is no number above 0"),
        (("--device", "nonsense"), "torch cannot compute on 'nonsense'"),
    ],
)
def test_mistakes(
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    words: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert attack(tmp_path, guard, pictures, *words) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert said.out == ""


def test_models_that_do_not_belong_together(
    conv_guard: Make,
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(message: str, *words: object) -> None:
        assert attack(tmp_path, *words) == 2
        assert message in capsys.readouterr().err

    four = conv_guard("four.onnx", classes=4, labels=())
    refused("has 4 classes and", guard, pictures, "--surrogate", four)
    refused("is " + str(guard) + " itself", guard, pictures, "--surrogate", guard)
    refused("is no twin of", guard, pictures, "--twin", conv_guard("seed.onnx", seed=5))
    refused("has 4 classes, but", guard, pictures, "--twin", four)
    (tmp_path / "again").mkdir()
    again = tmp_path / "again" / "conv.onnx"
    again.write_bytes(guard.read_bytes())
    refused("two guards have the same file name", guard, again, pictures)
    one = conv_guard("one.onnx", classes=1, labels=())
    refused("has one class", one, _indexed(tmp_path))
    refused("class index 3, but the guard has 3 classes", guard, _indexed(tmp_path, 3))


def _indexed(place: Path, index: int = 0) -> Path:
    folder = place / f"indexed {index}" / str(index)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / "a.png"), np.full((23, 23, 3), 90, np.uint8))
    return folder.parent


def test_a_surrogate_of_other_names_is_doubted(
    conv_guard: Make,
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = conv_guard("other.onnx", seed=2, labels=("Class 0, first", "dog", "class 2"))
    assert attack(tmp_path, guard, pictures, "--attack", "fgsm", "--surrogate", other) == 0
    assert "other.onnx calls 1 of 3 classes by other names (class 1 is 'dog', not 'class 1')" in (
        capsys.readouterr().out
    )


def test_unreadable_pictures_are_listed(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "class 1" / "broken.png").write_bytes(b"no picture")
    assert attack(tmp_path, guard, pictures, "--attack", "fgsm") == 1
    assert "1 pictures could not be attacked:\n- class 1/broken.png: " in capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "conv" / "attack.json").read_text())
    assert [entry["key"] for entry in found["skipped"]] == ["class 1/broken.png"]
    assert {row["images"] for row in found["rows"]} == {3}
    assert "class 1/broken.png" in (tmp_path / "out" / "conv" / "attack.md").read_text()


def test_nothing_to_attack(guard: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "bad" / "0"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(b"no picture")
    assert attack(tmp_path, guard, tmp_path / "bad") == 2
    assert "none of 1 pictures could be attacked; the first: " in capsys.readouterr().err


def test_frames_too_small(
    conv_guard: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Reflection needs more pixels than half a kernel has.
    guard = conv_guard(defense=Defense(kernel_size=31, sigma=5, resize=20, crop=(16, 16)))
    folder = tmp_path / "sizes" / "0"
    folder.mkdir(parents=True)
    for side in (9, 40):
        cv2.imwrite(str(folder / f"{side}.png"), np.full((side, side, 3), 90, np.uint8))
    assert attack(tmp_path, guard, tmp_path / "sizes", "--attack", "fgsm") == 1
    assert "- 0/9.png: " in capsys.readouterr().out


def test_other_settings_are_not_mixed_in(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert attack(tmp_path, guard, pictures, "--attack", "random") == 0
    assert attack(tmp_path, guard, pictures, "--attack", "random", "--seed", 1) == 2
    assert "holds results of other settings (seed was 0, is 1)" in capsys.readouterr().err
    assert attack(tmp_path, guard, pictures, "--attack", "random", "--seed", 1, "--fresh") == 0


def test_the_second_guard_is_refused_before_the_first_is_attacked(
    conv_guard: Make,
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    denoising = conv_guard("denoising.onnx", ADAPTIVE)
    assert attack(tmp_path, denoising, guard, pictures, "--attack", "random,force") == 2
    assert "conv.onnx judges all frames by the same views" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    # Results of other settings are found as early.
    assert attack(tmp_path, guard, pictures, "--attack", "random") == 0
    other = ("--attack", "random", "--seed", 1)
    assert attack(tmp_path, denoising, guard, pictures, *other) == 2
    assert "(seed was 0, is 1)" in capsys.readouterr().err
    assert not (tmp_path / "out" / "denoising").exists()


def test_an_integer_guard_is_attacked_through_its_float_twin_and_labelled(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    integer = _quantised(guard, tmp_path / "int8.onnx")
    assert attack(tmp_path, integer, pictures, "--attack", "fgsm") == 2
    assert "computes in integers, which have no gradients" in capsys.readouterr().err
    assert attack(tmp_path, integer, pictures, "--attack", "fgsm", "--twin", guard) == 0
    label = "of the fp32 twin conv.onnx, not of the int8 guard itself"
    assert label in capsys.readouterr().out
    folder = tmp_path / "out" / "int8"
    assert label in (folder / "attack.md").read_text()
    assert "through its fp32 twin conv.onnx" in (folder / "card.md").read_text()


def _quantised(guard: Path, path: Path) -> Path:
    """The guard with its views rounded to 8 bits before the first convolution."""
    model = onnx.load(str(guard))
    constants = (np.array(0.04, np.float32), np.array(128, np.uint8))
    for name, value in zip(("scale", "zero"), constants, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    first = model.graph.node[0]
    first.input[0] = "rounded"
    rounding = [
        helper.make_node("QuantizeLinear", ["views", "scale", "zero"], ["levels"]),
        helper.make_node("DequantizeLinear", ["levels", "scale", "zero"], ["rounded"]),
    ]
    for node in reversed(rounding):
        model.graph.node.insert(0, node)
    assert model.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path
