"""`blurvote explain` from the command line: what it writes, says and refuses."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.explain import cli
from blurvote.benchmarks.robustness.explain.baselines import NAMES
from blurvote.benchmarks.robustness.explain.cases import Case
from blurvote.benchmarks.robustness.explain.explaining import Explained
from blurvote.benchmarks.robustness.explain.figure import _view_title
from blurvote.benchmarks.robustness.explain.methods import METHODS
from blurvote.runtime import Defense
from blurvote.runtime.decision import Outcome
from blurvote.runtime.errors import GuardError, ProviderError, SinkError, SourceError
from tests.conftest import ONE_THREAD

QUICK = ("--ig-steps", "2", "--occlusion-patch", "0.5", "--occlusion-stride", "0.5")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A 31x23 px PNG."""
    path = tmp_path / "picture.png"
    pixels = np.random.default_rng(3).integers(0, 256, (23, 31, 3), dtype=np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


def explain(*words: object) -> int:
    parser = ArgumentParser()
    cli.COMMAND.configure(parser)
    # One thread: the frames are tiny, and other tests may run beside these.
    return cli.COMMAND.run(parser.parse_args([*map(str, words), "--threads", "1"]))


def read(folder: Path) -> dict:
    return json.loads((folder / "explain.json").read_text())


def test_everything_it_writes(
    conv_guard: Callable[..., Path],
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, guard = tmp_path / "out", conv_guard(classes=5)
    assert explain(guard, picture, "-o", out, "--maps", "--epsilon", "8/255", *QUICK) == 0
    found = read(out)
    assert found["schema"] == "blurvote.explain/1"
    assert found["complete"] is True
    assert found["skipped"] == []
    methods, rows = cli.METHODS, ("clean", "attacked")
    views = ("clean", "single-blur", "double-blur", "vote")
    keys = [(e["method"], e["row"], e["view"]) for e in found["maps"]]
    assert keys == [(m, r, v) for m in methods for r in rows for v in views]
    for entry in found["maps"]:
        assert (entry["convergence_delta"] is None) == (entry["method"] != "integrated-gradients")
        assert 0.1 <= entry["top_tenth_share"] <= 1
    # Three pairs of views in each row, and each map with that of the other row.
    assert len(found["correlations"]) == len(methods) * (2 * 3 + 4)
    assert all(-1 <= entry["spearman"] <= 1 for entry in found["correlations"])
    assert found["figures"] == [f"picture-{method}.png" for method in methods]
    for name in found["figures"]:
        drawn = cv2.imread(str(out / name))
        assert drawn.shape[1] > drawn.shape[0] > 300
    with np.load(out / "picture-maps.npz") as arrays:
        assert sorted(arrays) == sorted(f"{m}/{r}/{v}" for m, r, v in keys)
        assert {arrays[name].dtype for name in arrays} == {np.dtype(np.float32)}
        assert {arrays[name].shape for name in arrays} == {(3, 23, 31)}
    assert found["check"]["frames"] == 1
    text = capsys.readouterr().out
    assert "the twin's label equals the guard's in" in text
    assert f"wrote 3 figures and {out / 'explain.json'}" in text


def test_verdicts_are_the_deployed_guards(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    guard = conv_guard(classes=5)
    assert explain(guard, picture, "-o", tmp_path, "--method", "gradient-x-input") == 0
    clean = read(tmp_path)["cases"][0]
    deployed = Deployed(guard, ONE_THREAD)
    logits = deployed.logits(cv2.imread(str(picture))[..., ::-1].copy())
    assert [view["label"] for view in clean["views"]] == logits.argmax(axis=1).tolist()
    outcome = deployed.decide(logits)
    assert (clean["label"], clean["reason"]) == (outcome.label, outcome.reason)


def test_target_by_name_and_the_same_class_in_both_rows(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    guard = conv_guard(classes=3, labels=("ash", "Beech", "cedar"))
    quick = ("--method", "gradient-x-input", "-o", tmp_path)
    assert explain(guard, picture, *quick, "--target", "beech", "--attack", "none") == 0
    assert {entry["explained_name"] for entry in read(tmp_path)["maps"]} == {"Beech"}
    assert {entry["row"] for entry in read(tmp_path)["maps"]} == {"clean"}
    attacked = ("--epsilon", "0.5", "--same-class")
    assert explain(guard, picture, *quick, *attacked) == 0
    found = read(tmp_path)
    assert len({entry["explained_class"] for entry in found["maps"]}) == 1
    assert found["cases"][0]["label"] != found["cases"][1]["label"]  # half of [0, 1] moves anything
    assert all(entry["same_class"] for entry in found["correlations"])


def test_attacked_file_is_what_is_explained(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    """The same picture once more: every map correlates fully with its twin."""
    words = (conv_guard(), picture, "--method", "gradient-x-input", "-o", tmp_path)
    assert explain(*words, "--attacked", picture) == 0
    between = [e for e in read(tmp_path)["correlations"] if e["between"][1].startswith("attacked")]
    rows = [e["spearman"] for e in between if e["between"][0].startswith("clean")]
    assert len(rows) == 4
    assert rows == pytest.approx([1.0] * 4)


def test_unreadable_pictures_are_skipped_and_reported(
    conv_guard: Callable[..., Path],
    picture: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken, tiny = tmp_path / "broken.png", tmp_path / "tiny.png"
    broken.write_bytes(b"no picture")
    cv2.imwrite(str(tiny), np.zeros((2, 2, 3), np.uint8))
    words = ("--method", "gradient-x-input", "--attack", "none", "-o", tmp_path / "out", "--json")
    assert explain(conv_guard(), broken, tiny, picture, *words) == 1
    written = capsys.readouterr()
    found = json.loads(written.out)
    assert found == read(tmp_path / "out")
    assert [entry["picture"] for entry in found["skipped"]] == [str(broken), str(tiny)]
    assert f"skipped: {broken} is not a picture that OpenCV can decode" in written.err
    assert "cannot be blurred by 5 taps" in written.err
    assert found["figures"] == ["picture-gradient-x-input.png"]
    with pytest.raises(SourceError, match="none of the 1 pictures can be explained"):
        explain(conv_guard(), broken, *words)


def test_pictures_of_one_name_do_not_overwrite_each_other(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / picture.name
    other.parent.mkdir()
    other.write_bytes(picture.read_bytes())
    words = ("--method", "gradient-x-input", "--attack", "none", "-o", tmp_path / "out")
    assert explain(conv_guard(), picture, other, *words) == 0
    names = ["picture-gradient-x-input.png", "picture-2-gradient-x-input.png"]
    assert read(tmp_path / "out")["figures"] == names
    assert all((tmp_path / "out" / name).is_file() for name in names)


@pytest.mark.parametrize(
    ("target", "labels", "message"),
    [
        ("3", ("ash", "beech", "cedar"), "no class 3: the guard has 3 classes, 0 to 2"),
        ("-1", ("ash", "beech", "cedar"), "no class -1"),
        ("beach", ("ash", "beech", "cedar"), "no class 'beach' .*did you mean 'beech'"),
        ("xyz", ("ash", "beech", "cedar"), "such as 'ash'"),
        ("ash", ("ash", "crane", "Ash"), "2 classes are called 'ash'; give the index: 0, 2"),
        ("ash", (), "the guard has no class names; give an index from 0 to 2"),
    ],
)
def test_no_such_target(
    conv_guard: Callable[..., Path],
    picture: Path,
    target: str,
    labels: tuple[str, ...],
    message: str,
) -> None:
    with pytest.raises(GuardError, match=message):
        explain(conv_guard(labels=labels), picture, f"--target={target}")


def test_foreign_file_is_no_guard(picture: Path, tmp_path: Path) -> None:
    with pytest.raises(GuardError, match=r"picture\.png"):
        explain(picture, picture, "-o", tmp_path)


def test_guard_that_has_no_twin_says_what_to_do(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    path = conv_guard()
    model = onnx.load(path)
    model.graph.node[1].output[0] = "r0"
    model.graph.initializer.extend(
        [
            helper.make_tensor("zero", TensorProto.UINT8, [], [0]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
        ]
    )
    for n, (operator, source, target) in enumerate(
        (("QuantizeLinear", "r0", "q"), ("DequantizeLinear", "q", "r1"))
    ):
        node = helper.make_node(operator, [source, "scale", "zero"], [target])
        model.graph.node.insert(2 + n, node)
    onnx.save(model, path)
    with pytest.raises(GuardError, match="pass that as --twin"):
        explain(path, picture, "-o", tmp_path)


def test_missing_captum_gives_the_pip_line(
    conv_guard: Callable[..., Path], picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ProviderError, match="pip install torch onnx onnx2torch captum"):
        explain(conv_guard(), picture)


def test_attacked_file_of_another_size(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.png"
    cv2.imwrite(str(other), np.zeros((31, 23, 3), np.uint8))
    with pytest.raises(SourceError, match="is 23x31 px and the clean picture is 31x23 px"):
        explain(conv_guard(), picture, "--attacked", other, "-o", tmp_path)
    with pytest.raises(SourceError, match="--attacked goes with one IMAGE; got 2"):
        explain(conv_guard(), picture, other, "--attacked", other)


def test_output_that_cannot_be_written(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    words = (conv_guard(), picture, "--method", "gradient-x-input", "--attack", "none")
    with pytest.raises(SinkError, match="cannot be written"):
        explain(*words, "-o", picture)


def test_baseline_is_refused_before_any_work(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r"the baseline 'nothing\.png' is neither"):
        explain(conv_guard(), picture, "--occlusion-baseline", "nothing.png", "-o", tmp_path / "o")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("text", ["0", "0.5/255", "2", "x", "4/0", "nan"])
def test_epsilon_out_of_range(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="expected 1/255"):
        cli._epsilon(text)


def test_epsilon_of_grey_levels() -> None:
    assert cli._epsilon("4/255") == 4 / 255
    assert cli._epsilon("0.1") == 0.1


def test_command_line_names_every_method_and_baseline() -> None:
    assert cli.METHODS == METHODS  # written out there, so that --help needs no torch
    assert all(name in cli.BASELINES for name in NAMES)


@pytest.mark.parametrize("text", ["", "saliency", "occlusion,saliency"])
def test_unknown_method(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="gradient-x-input, integrated-gradients, occl"):
        cli._methods(text)


def test_decision_mean_and_single_are_explained(
    conv_guard: Callable[..., Path], picture: Path, tmp_path: Path
) -> None:
    for decision, threshold, counted in (("single", None, 1), ("mean", 0.0, 3)):
        defense = Defense(resize=20, crop=(16, 16), decision=decision, threshold=threshold)
        guard = conv_guard(defense=defense)
        words = ("--method", "gradient-x-input", "--attack", "none", "-o", tmp_path)
        assert explain(guard, picture, *words) == 0
        (vote,) = (entry for entry in read(tmp_path)["maps"] if entry["view"] == "vote")
        assert len(vote["counted_views"]) == counted


def test_title_of_the_vote_says_whose_mean_it_is() -> None:
    pixels = np.zeros((20, 20, 3), np.uint8)
    defense, labels = Defense(), ("ash", "beech", "cedar")
    titles = []
    for target, counted in ((1, ("clean", "double-blur")), (2, ("clean",) * 3)):
        case = Case("clean", pixels, (1, 0, 1), (0.9, 0.5, 0.6), Outcome(1, None, 0.7), 1, target)
        titles.append(_view_title(Explained(case, {}, {}, counted), "vote", labels, defense)[0])
    assert titles == [
        "the vote (2 of 3 views),\nfor beech",
        "no vote (mean of all views),\nfor cedar",
    ]
