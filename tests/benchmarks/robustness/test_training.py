"""`blurvote train` on pictures that a net learns at once: weights, guard, record, gradients."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from blurvote.benchmarks.robustness.training import files as files_module  # noqa: E402
from blurvote.benchmarks.robustness.training import session  # noqa: E402
from blurvote.benchmarks.robustness.training.catalogue import dataset_kind, net_kind  # noqa: E402
from blurvote.benchmarks.robustness.training.cli import COMMAND  # noqa: E402
from blurvote.benchmarks.robustness.training.loop import Trainer  # noqa: E402
from blurvote.benchmarks.robustness.training.nets import build_net  # noqa: E402
from blurvote.runtime import ExportError, Guard, SinkError, SourceError  # noqa: E402
from tests.benchmarks.robustness.test_training_loop import bars  # noqa: E402

MNIST = dataset_kind("mnist")


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Small nets are no quicker on more, and sums come in one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """400 bars as idx files of a test set; no training set."""
    folder = tmp_path / "data"
    folder.mkdir()
    pictures = bars(400)
    for name, array in (
        ("images-idx3", pictures.pixels[:, 0]),
        ("labels-idx1", pictures.labels.astype(np.uint8)),
    ):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes()
        (folder / f"t10k-{name}-ubyte").write_bytes(header + array.tobytes())
    return folder


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """An export of no guard, which takes no seconds, for tests of what comes before it."""

    def export(module: Any, path: Path, **options: Any) -> Any:
        path.write_bytes(b"")
        return SimpleNamespace(parity=SimpleNamespace(to_dict=lambda: {"worst": {}}))

    monkeypatch.setattr(session, "export_guard", export)
    monkeypatch.setattr(session, "check_target", lambda path, overwrite: None)


def train(*arguments: str | Path) -> int:
    parser = argparse.ArgumentParser()
    COMMAND.configure(parser)
    return COMMAND.run(parser.parse_args([str(argument) for argument in arguments]))


def test_a_guard_its_weights_and_its_record(data: Path, tmp_path: Path, capsys: Any) -> None:
    out, pictures = tmp_path / "models" / "new", tmp_path / "test"
    arguments = ["--net", "mlp", "--augment", "noise", "--noise-sigma", "0.1", "--epochs", "4"]
    options = ["--batch-size", "32", "--gradient-samples", "3", "--export-test", pictures]
    assert train("mnist", *arguments, "--data", data, "-o", out, *options) == 0
    said = capsys.readouterr()
    assert "80 test pictures" in said.out
    assert "... epoch 4/4: loss " in said.err

    record = json.loads((out / "mnist-mlp-noise.json").read_text())
    assert record["schema"] == "blurvote.training/1"
    assert record["augmentation"] == {"kind": "noise", "sigma": 0.1}
    assert record["recipe"]["learning_rate"] == 0.005
    assert (record["data"]["train"], record["data"]["test"]) == (320, 80)
    assert record["parameters"] == 784 * 50 + 50 + 500 + 10
    losses = [epoch["loss"] for epoch in record["epochs"]]
    assert len(losses) == 4
    assert losses[-1] < losses[0] / 2
    assert record["test_accuracy"] == record["epochs"][-1]["test_accuracy"] > 0.9
    assert record["gradient_sum"]["steps"] == 4 * 10
    lines = [line.split("\t") for line in (pictures / "labels.tsv").read_text().splitlines()]
    with np.load(out / "mnist-mlp-noise-gradient-sum.npz") as stored:
        assert stored["gradient"].shape == stored["image"].shape == (3, 1, 28, 28)
        assert stored["label"].tolist() == [int(label) for _, label in lines[:3]]
        assert np.abs(stored["gradient"]).max() > 0
    assert cv2.imread(str(out / "mnist-mlp-noise-gradient-sum.png")).std() > 5
    assert sorted(path.suffix for path in out.iterdir()) == [
        ".json",
        ".npz",
        ".onnx",
        ".png",
        ".pt",
    ]

    net = build_net(net_kind("mlp"), MNIST, 0)
    net.load_state_dict(torch.load(out / "mnist-mlp-noise.pt", weights_only=True))
    right = 0
    with Guard(out / "mnist-mlp-noise.onnx", provider="cpu", plan="batched", threads=1) as guard:
        assert guard.labels == MNIST.classes
        for file, label in lines:
            frame = cv2.imread(str(pictures / file))
            with torch.no_grad():
                expected = int(
                    net(torch.from_numpy(frame[None, None, ..., 0]).float() / 255).argmax()
                )
            assert guard.classify(frame, colour="bgr").view_labels[0] == expected
            right += expected == int(label)
    assert right / len(lines) == pytest.approx(record["test_accuracy"])


@pytest.mark.usefixtures("quick_export")
def test_the_same_seed_gives_the_same_weights(data: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> dict[str, Any]:
        options = ["--epochs", "1", "--seed", str(seed), "--augment", "geometric"]
        train("mnist", "--net", "mlp", "--data", data, "-o", tmp_path, "--name", name, *options)
        state: dict[str, Any] = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        return state

    one, same, other = weights("a", 7), weights("b", 7), weights("c", 8)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("quick_export")
def test_ctrl_c_keeps_the_epochs_that_are_done(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    base = ["mnist", "--net", "mlp", "--data", data, "--epochs", "3", "--gradient-samples", "2"]
    train(*base, "-o", tmp_path / "whole")

    epoch = Trainer._epoch

    def interrupted(self: Trainer, number: int) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return epoch(self, number)

    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(*base, "-o", out)
    assert "2 of 3 epochs are kept in" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["mnist-mlp-none.partial.pt"]

    assert train(*base, "-o", out) == 0
    assert "going on after 2 of 3 epochs" in capsys.readouterr().err
    assert not list(out.glob("*.partial.pt"))
    whole, resumed = (
        torch.load(folder / "mnist-mlp-none.pt", weights_only=True)
        for folder in (tmp_path / "whole", out)
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    # Other settings begin anew, whatever lies there.
    (out / "mnist-mlp-none.partial.pt").write_bytes(b"no torch file")
    assert train(*base, "-o", out, "--seed", "5") == 0
    assert "going on" not in capsys.readouterr().err


def test_given_weights_become_a_guard_without_training(tmp_path: Path) -> None:
    net = build_net(net_kind("resnet"), MNIST, 3)
    torch.save(net.state_dict(), tmp_path / "given.pt")
    given = ["mnist", "--net", "resnet", "--weights", tmp_path / "given.pt", "-o", tmp_path]
    assert train(*given) == 0
    record = json.loads((tmp_path / "mnist-resnet-given.json").read_text())
    assert (record["data"], record["test_accuracy"]) == (None, None)
    assert "epochs" not in record
    # onnx2torch, which attacks go through, knows these; Pad and ReduceMean of opset 18 it does not.
    operators = {
        node.op_type for node in onnx.load(tmp_path / "mnist-resnet-given.onnx").graph.node
    }
    assert operators <= {"Conv", "Relu", "Add", "AveragePool", "Reshape", "Gemm"}
    frame = bars(10).pixels[7, 0]
    with torch.no_grad():
        expected = int(net.eval()(torch.from_numpy(frame[None, None]).float() / 255).argmax())
    with Guard(
        tmp_path / "mnist-resnet-given.onnx", provider="cpu", plan="batched", threads=1
    ) as guard:
        verdict = guard.classify(np.repeat(frame[..., None], 3, 2), colour="rgb")
    assert verdict.view_labels[0] == expected


@pytest.mark.usefixtures("quick_export")
def test_given_weights_are_measured_where_there_is_data(
    data: Path, tmp_path: Path, capsys: Any
) -> None:
    net = build_net(net_kind("mlp"), MNIST, 3)
    torch.save(net.state_dict(), tmp_path / "given.pt")
    weights = ["--weights", tmp_path / "given.pt", "--name", "taken"]
    assert train("mnist", "--net", "mlp", *weights, "-o", tmp_path, "--data", data, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record == json.loads((tmp_path / "taken.json").read_text())
    assert 0 <= record["test_accuracy"] < 0.5  # it never saw a bar
    assert record["weights"]["file"] == "given.pt"


def test_a_full_disk(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files_module, "write_whole", full)
    with pytest.raises(SinkError, match=r"partial\.pt cannot be written: No space left on device"):
        train("mnist", "--net", "mlp", "--data", data, "-o", tmp_path, "--epochs", "1")


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["mnist"], SourceError, "nothing to do: give --net NET, --export-test FOLDER, or both"),
        (["svhn", "--net", "mlp"], SourceError, "no data set called 'svhn'"),
        (["mnist", "--net", "mlp", "-o", "x"], SourceError, "--data PATH is missing"),
        (["mnist", "--net", "mlp", "--data", "x"], SinkError, "-o FOLDER is missing"),
        (["mnist", "--net", "vgg", "--data", "x", "-o", "x"], SourceError, "no net called 'vgg'"),
        (["mnist", "--net", "mlp", "--data", "none", "-o", "x"], SourceError, "nothing at none"),
        (
            ["mnist", "--net", "mlp", "--weights", "w.pt", "--gradient-samples", "2", "-o", "x"],
            SourceError,
            "sums over training steps, and --weights has none",
        ),
        (["mnist", "--net", "mlp", "--weights", "w.pt", "-o", "x"], SourceError, r"file at w\.pt"),
    ],
)
def test_mistakes(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    error: type[Exception],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        train(*arguments)


def test_what_is_no_guard_is_not_replaced(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_text("mine")
    with pytest.raises(ExportError, match=r"mine\.onnx exists and is not a guard"):
        train("mnist", "--net", "mlp", "--data", data, "-o", tmp_path, "--name", "mine")
    assert (tmp_path / "mine.onnx").read_text() == "mine"


@pytest.mark.parametrize(
    "option",
    [["--noise-sigma", "0"], ["--learning-rate", "nan"], ["--seed", "-1"], ["--epochs", "0"]],
)
def test_options_out_of_range(option: list[str], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        train("mnist", *option)
    assert option[0] in capsys.readouterr().err
