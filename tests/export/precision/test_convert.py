"""Guards of lower precision from end to end: files, reports, refusals."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from blurvote.export import PrecisionOptions, calibrate, export_guard
from blurvote.export.parity_frames import draw_frame
from blurvote.export.precision import convert as convert_module
from blurvote.export.precision.samples import Samples, split
from blurvote.export.precision.search import WORTH
from blurvote.runtime import ExportError, Guard, GuardError, PrecisionError
from blurvote.runtime.cli import main
from blurvote.runtime.defense import Defense

COUNT = 24
FRAMES: dict[str, Any] = {"kind": "frames", "frame_size": (60, 80)}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(COUNT):
        cv2.imwrite(str(folder / f"{seed:02}.png"), draw_frame(60, 80, seed)[..., ::-1])
    return folder


@pytest.fixture
def guard(save_model: Callable[..., Path], tmp_path: Path) -> Path:
    """An fp32 guard of kind `frames`."""
    path = tmp_path / "guard.onnx"
    export_guard(save_model(), path, **FRAMES)
    return path


def int8(pictures: Path, **changes: Any) -> PrecisionOptions:
    return PrecisionOptions("int8", images=pictures, **{"search_s": 0, "max_loss": 100, **changes})


CASES = ["fp16", "uint8", "int8"]


def options(case: str, pictures: Path) -> PrecisionOptions:
    return PrecisionOptions("fp16") if case == "fp16" else int8(pictures, activations=case)


@pytest.mark.parametrize("case", CASES)
def test_a_frames_guard_keeps_its_interface_and_its_vote(
    guard: Path, pictures: Path, tmp_path: Path, case: str
) -> None:
    target = tmp_path / "low.onnx"
    report = export_guard(guard, target, precision=options(case, pictures))
    model, before = onnx.load(target), onnx.load(guard)
    onnx.checker.check_model(model, full_check=True)
    assert list(model.graph.input) == list(before.graph.input)
    assert list(model.graph.output) == list(before.graph.output)
    assert [item.domain for item in model.opset_import] == [""]
    assert all(
        node.name.startswith(("preprocess/", "backbone/", "vote/")) for node in model.graph.node
    )
    for part in ("preprocess/", "vote/"):
        old, new = (
            [node for node in each.graph.node if node.name.startswith(part)]
            for each in (before, model)
        )
        assert [node.op_type for node in old] == [node.op_type for node in new]
    half = [t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16]
    assert all(tensor.name.startswith("backbone/") for tensor in half)
    assert bool(half) == (case == "fp16")

    assert report.cost is not None
    assert report.size_bytes == target.stat().st_size
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    with Guard(target, "cpu") as low, Guard(guard, "cpu") as full:
        assert low.metadata.precision == ("fp16" if case == "fp16" else "int8")
        assert low.metadata.parity == full.metadata.parity
        assert low.defense == full.defense
        same = 0
        for seed in range(40, 52):
            frame = draw_frame(60, 80, seed)
            labels = low.classify(frame).view_labels
            (logits,) = session.run(["logits"], {"frames": frame[None]})
            assert labels == tuple(logits[0].argmax(axis=1))
            same += labels == full.classify(frame).view_labels
        assert same >= 10


@pytest.mark.parametrize("case", ["fp16", "uint8"])
def test_a_views_guard_of_a_model_that_ends_in_probabilities(
    save_model: Callable[..., Path], pictures: Path, tmp_path: Path, case: str
) -> None:
    # Opset 11 has no Q/DQ per channel, so the backbone is raised.
    path = save_model(opset=11, tail="Softmax", layout="nhwc", batch=1)
    target = tmp_path / "guard.onnx"
    report = export_guard(path, target, precision=options(case, pictures))
    assert report.opset >= 13 or case == "fp16"
    onnx.checker.check_model(onnx.load(target), full_check=True)
    with Guard(target, "cpu", plan="cascade") as low:
        for seed in range(3):
            assert low.classify(draw_frame(60, 80, seed)).view_labels[0] is not None
    calibrated = calibrate(target, pictures, 0.75)
    assert calibrated.reported_on == COUNT // 2
    with Guard(target, "cpu") as low:
        assert low.metadata.precision == report.metadata.precision
        assert low.metadata.precision_report == report.metadata.precision_report


def test_a_constant_that_vote_and_backbone_share(
    save_model: Callable[..., Path], pictures: Path, tmp_path: Path
) -> None:
    path, target = save_model(), tmp_path / "guard.onnx"
    model = onnx.load(path)
    (relu,) = (node for node in model.graph.node if node.op_type == "Relu")
    relu.CopyFrom(onnx.helper.make_node("Max", [relu.input[0], "least"], list(relu.output)))
    least = onnx.numpy_helper.from_array(np.array([0], np.float32), "least")
    model.graph.initializer.append(least)
    onnx.save(model, path)
    mean = {"decision": "mean", "threshold": 0.5}
    export_guard(path, target, defense=mean, **FRAMES)
    stored = {tensor.name for tensor in onnx.load(target).graph.initializer}
    assert "backbone/least" in stored
    assert "vote/zero_float" not in stored  # the vote reads the backbone's
    with Guard(target, "cpu") as full:
        expected = [full.classify(draw_frame(60, 80, seed)) for seed in range(6)]
    export_guard(target, target, precision=PrecisionOptions("fp16"))
    with Guard(target, "cpu") as low:
        for seed, verdict in enumerate(expected):
            got = low.classify(draw_frame(60, 80, seed))
            assert got.view_labels == verdict.view_labels
            assert got.confidence == pytest.approx(verdict.confidence, abs=0.01)


def test_a_calibrated_frames_guard_stays_of_its_precision(
    guard: Path, pictures: Path, tmp_path: Path
) -> None:
    target = tmp_path / "low.onnx"
    export_guard(guard, target, precision=int8(pictures))
    report = calibrate(target, pictures, 0.5)
    with Guard(target, "cpu") as low:
        assert low.metadata.precision == "int8"
        assert low.threshold == report.threshold
        accepted = sum(low.classify(draw_frame(60, 80, seed)).accepted for seed in range(COUNT))
    assert accepted == round(12 * report.fitted_coverage + 12 * report.coverage)


def test_the_report_is_of_pictures_that_neither_calibrated_nor_chose(
    guard: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[float, tuple[str, ...]]] = []
    original = Samples.views

    def views(self: Samples, chosen: Any, sigma: float) -> Any:
        served.append((sigma, tuple(picture.path.name for picture in chosen)))
        return original(self, chosen, sigma)

    monkeypatch.setattr(Samples, "views", views)
    truth = tmp_path / "truth.tsv"
    truth.write_text("".join(f"{seed:02}.png\t{seed % 5}\n" for seed in range(COUNT)))
    target = tmp_path / "low.onnx"
    report = export_guard(guard, target, precision=int8(pictures, truth=truth, seed=7))
    (_, calibrating), *rest = served
    choosing = rest[:2]
    reporting = rest[2:]
    assert [sigma for sigma, _ in choosing] == [0.0, 0.25]
    assert [sigma for sigma, _ in reporting] == [0.0, 0.125, 0.25, 0.375]
    parts = [set(calibrating), set(choosing[0][1]), set(reporting[0][1])]
    assert [len(part) for part in parts] == [6, 6, 12]
    assert len(set().union(*parts)) == COUNT
    stored = report.metadata.precision_report
    assert stored["pictures"] == {"calibrate": 6, "choose": 6, "report": 12}
    assert [row["sigma"] for row in stored["noise"]] == [0.0, 0.125, 0.25, 0.375]

    # The clean row again, by a guard each: the same labels on the same pictures.
    names = sorted(reporting[0][1])
    right = {}
    for path in (guard, target):
        with Guard(path, "cpu") as loaded:
            labels = [
                loaded.classify(cv2.imread(str(pictures / name)), colour="bgr").view_labels[0]
                for name in names
            ]
        right[path] = np.mean(
            [label == int(n[:2]) % 5 for label, n in zip(labels, names, strict=True)]
        )
    assert stored["noise"][0]["first_view"] == pytest.approx(
        [right[guard], right[target]], abs=1e-6
    )
    with Guard(target, "cpu") as low:
        assert json.loads(json.dumps(stored)) == low.metadata.precision_report


def test_pictures_that_check_the_range_of_fp16_do_not_report(
    guard: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    served: list[set[str]] = []
    original = Samples.views

    def views(self: Samples, chosen: Any, sigma: float) -> Any:
        served.append({picture.path.name for picture in chosen})
        return original(self, chosen, sigma)

    monkeypatch.setattr(Samples, "views", views)
    command = ["export", str(guard), "-o", str(tmp_path / "low.onnx"), "--precision", "fp16"]
    assert main([*command, "--calibrate", str(pictures)]) == 0
    assert "on 18 pictures (6 others were checked for its range)" in capsys.readouterr().out
    checked, reported = served[:2]
    assert len(checked) == 6
    assert len(reported) == COUNT - 6
    assert not checked & reported


def test_truth_that_cannot_report_is_refused(guard: Path, pictures: Path, tmp_path: Path) -> None:
    target, truth = tmp_path / "low.onnx", tmp_path / "truth.tsv"
    truth.write_text("00.png\t0\n01.png\t5\n")
    with pytest.raises(ExportError, match=r"01.png is of class 5, but the model's 5 .* are 0 to 4"):
        export_guard(guard, target, precision=int8(pictures, truth=truth))
    samples = Samples(pictures, None, Defense(resize=20, crop=(16, 16)), 0, lambda line: None)
    calibrating = split(samples.pictures, 0).calibrate[0]
    truth.write_text(f"{calibrating.path.name}\t0\n")
    with pytest.raises(ExportError, match="names the class of none of the 12 pictures that are to"):
        export_guard(guard, target, precision=int8(pictures, truth=truth))
    assert not target.exists()


def test_pictures_that_cannot_be_read_are_named(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "some"
    folder.mkdir()
    for path in sorted(pictures.iterdir())[:12]:
        (folder / path.name).symlink_to(path)
    (folder / "bad.png").write_bytes(b"no picture")
    command = ["export", str(guard), "-o", str(tmp_path / "low.onnx"), "--precision", "fp16"]
    command += ["--calibrate", str(folder), "--max-loss", "100"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "skipped 1 pictures that cannot be read or served" in out
    assert "bad.png: cannot be decoded as a picture" in err
    (folder / "00.png").unlink()
    assert main(command) == 2
    assert "bad.png: cannot be decoded" in capsys.readouterr().err.splitlines()[-1]


def test_guards_whose_files_are_odd(guard: Path, pictures: Path, tmp_path: Path) -> None:
    model, odd, target = onnx.load(guard), tmp_path / "odd.onnx", tmp_path / "low.onnx"
    onnx.save(model, odd, save_as_external_data=True, location="odd.data", size_threshold=0)
    report = export_guard(odd, target, precision=PrecisionOptions("fp16"))
    assert report.metadata.precision == "fp16"
    calibrate(odd, pictures, 0.5, output=target)
    (tmp_path / "odd.data").unlink()
    with Guard(target, "cpu") as whole:
        assert whole.metadata.defense.decision == "mean"
    with pytest.raises(ExportError, match=r"keeps its weights in other files, .* is missing"):
        export_guard(odd, target, precision=PrecisionOptions("fp16"))
    model = onnx.load(guard)
    for entry in model.metadata_props:
        if entry.key == "blurvote.parity":
            entry.value = '{"frames": [{"depth": 1}]}'
    onnx.save(model, odd)
    with pytest.raises(GuardError, match="has a broken parity report in its guard metadata"):
        export_guard(odd, target, precision=PrecisionOptions("fp16"))


def test_parts_are_disjoint_and_follow_the_seed(pictures: Path) -> None:
    def say(line: str) -> None:
        pass

    samples = Samples(pictures, None, Defense(resize=20, crop=(16, 16)), 0, say)
    first, again, other = (split(samples.pictures, seed) for seed in (0, 0, 1))
    assert first == again != other
    everything = [*first.calibrate, *first.choose, *first.report]
    assert sorted(picture.path for picture in everything) == sorted(
        picture.path for picture in samples.pictures
    )
    clean = list(samples.views(first.report[:2], 0.0))
    noisy, same = (list(samples.views(first.report[:2], 0.25)) for _ in range(2))
    np.testing.assert_array_equal(noisy, same)
    assert np.abs(np.subtract(noisy, clean)).mean() > 0.1


def test_the_search_keeps_in_float_what_helps(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    report = export_guard(
        guard,
        tmp_path / "low.onnx",
        precision=int8(pictures, search_s=30, method="percentile-99.9", activations="int8"),
        progress=lines.append,
    )
    choice = report.metadata.precision_report["choice"]
    assert list(choice["divergences"]) == ["percentile-99.9"]
    values = [choice["divergences"]["percentile-99.9"], *choice["steps"]]
    assert values == sorted(values, reverse=True)
    assert all(after <= (1 - WORTH) * before + 1e-6 for before, after in itertools.pairwise(values))
    assert len(choice["in_float"]) == len(choice["steps"])
    assert capsys.readouterr().out == ""  # the calibrator's own prints stay away


def test_too_great_a_loss_writes_nothing(
    guard: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "low.onnx"
    export_guard(guard, target, precision=PrecisionOptions("fp16"))
    before = target.read_bytes()
    # A backbone whose logits are those of other classes.
    original = convert_module.to_half

    def broken(*arguments: Any) -> Any:
        model, kept = original(*arguments)
        for tensor in model.graph.initializer:
            if tensor.name.endswith("linear"):
                values = onnx.numpy_helper.to_array(tensor)[:, ::-1].copy()
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return model, kept

    monkeypatch.setattr(convert_module, "to_half", broken)
    with pytest.raises(PrecisionError, match=r"fp16 would lose .* points of agreement with fp32"):
        export_guard(guard, target, precision=PrecisionOptions("fp16"))
    with pytest.raises(
        PrecisionError, match=r"of clean verdicts.* accept the loss with --max-loss"
    ):
        export_guard(guard, target, precision=PrecisionOptions("fp16", images=pictures))
    assert target.read_bytes() == before
    export_guard(guard, target, precision=PrecisionOptions("fp16", max_loss=100))
    assert target.read_bytes() != before


def test_an_interrupt_leaves_nothing(
    guard: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)

    def stop(line: str) -> None:
        if "noise 0.25" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_guard(guard, tmp_path / "low.onnx", precision=int8(pictures), progress=stop)
    assert not (tmp_path / "low.onnx").exists()
    assert list(scratch.iterdir()) == []


def test_refusals(guard: Path, pictures: Path, tmp_path: Path) -> None:
    target = tmp_path / "low.onnx"
    with pytest.raises(ExportError, match="is a guard already, and keeps its kind, its defence"):
        export_guard(guard, target, precision=PrecisionOptions("fp16"), defense={"sigma": 2.0})
    export_guard(guard, target, precision=PrecisionOptions("fp16"))
    with pytest.raises(ExportError, match="the guard is fp16 already; --precision starts from an"):
        export_guard(target, target, precision=int8(pictures))
    few = tmp_path / "few"
    few.mkdir()
    for seed in range(5):
        cv2.imwrite(str(few / f"{seed}.png"), draw_frame(60, 80, seed))
    with pytest.raises(ExportError, match=r"only 5 pictures of .*few can be used; at least 12"):
        export_guard(guard, target, precision=int8(few))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"name": "int4"}, "name of the precision is 'int4'; expected one of 'fp16', 'int8'"),
        ({"name": "int8"}, "int8 needs pictures to set the ranges of activations by; name a"),
        ({"method": "entropy"}, "method of the precision is 'entropy'; expected one of 'auto'"),
        ({"activations": "int4"}, "activations of the precision is 'int4'; expected one of"),
        ({"max_loss": -1.0}, "max_loss is -1.0; expected a number of at least 0"),
        ({"seed": -1}, "seed is -1; expected an integer of at least 0"),
        ({"search_s": float("nan")}, "search_s is nan; expected a number of at least 0"),
        ({"truth": Path("truth.tsv")}, "--truth names the classes of pictures; add --calibrate"),
    ],
)
def test_options_that_cannot_be(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ExportError) as caught:
        PrecisionOptions(**{"name": "fp16", **changes})
    assert str(caught.value).startswith(text)


def test_the_command_line(
    guard: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = tmp_path / "truth.tsv"
    truth.write_text("".join(f"{seed:02}.png\t{seed % 5}\n" for seed in range(COUNT)))
    target = tmp_path / "low.onnx"
    command = ["export", str(guard), "-o", str(target), "--precision", "int8"]
    command += ["--calibrate", str(pictures), "--search-seconds", "0", "--max-loss", "100"]
    assert main([*command, "--truth", str(truth)]) == 0
    out = capsys.readouterr().out
    assert "parity of the fp32 guard on drawn frames (largest differences" in out
    assert "int8: static Q/DQ, weights per channel, activations uint8" in out
    assert "on 12 pictures (12 others calibrated and chose), in %" in out
    assert "first view's accuracy" in out
    assert main([*command, "--json", "--activations", "int8", "--ranges", "mse"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["precision"]["name"] == "int8"
    assert report["precision"]["report"]["activations"] == "int8"
    assert report["precision"]["report"]["choice"]["method"] == "mse"
    assert report["precision"]["report"]["noise"][0]["accuracy"] is None
    assert main(["info", str(target)]) == 0
    out = capsys.readouterr().out
    assert "precision  int8 (activations int8; labels as fp32: clean " in out
    assert "parity (of the fp32 guard that it was made of)" in out
    assert main(["info", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["precision"] == report["precision"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--calibrate", "x"], "--calibrate, --truth and the other options of the precision need"),
        (["--precision", "int8"], "int8 needs pictures to set the ranges of activations by"),
        (
            ["--precision", "fp16", "--activations", "int8"],
            "--activations, --ranges and --search-seconds are for --precision int8",
        ),
    ],
)
def test_arguments_that_contradict_each_other(
    arguments: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "model.onnx", "-o", str(tmp_path / "g.onnx"), *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"blurvote: error: {text}")


@pytest.mark.parametrize("name", ["mobilenet_v2_1.0_224_quant.onnx"])
def test_a_real_model_on_real_pictures(assets: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for path in sorted((assets / "images" / "imagenet-half").iterdir())[::25]:
        (folder / path.name).symlink_to(path)
    report = export_guard(
        assets / "models" / name,
        tmp_path / "int8.onnx",
        kind="frames",
        frame_size=(375, 500),
        precision=int8(folder, truth=assets / "images" / "imagenet-half.tsv", method="mse"),
    )
    assert report.cost is not None
    # All agreed when this was written; a broken conversion loses nearly all.
    assert report.cost.agreement[0].agreeing >= 0.8 * report.cost.agreement[0].views
