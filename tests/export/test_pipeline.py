"""`export_guard` from end to end on a small model: files, metadata, parity, failures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from blurvote.export import ExportReport, ModelOptions, export_guard
from blurvote.export import pipeline as pipeline_module
from blurvote.export.parity_frames import draw_frame, draw_frames
from blurvote.export.reference import build_views
from blurvote.runtime import Defense, DefenseError, ExportError, Guard, ParityError

KINDS: list[dict[str, Any]] = [
    {"kind": "views"},
    {"kind": "frames", "frame_size": (60, 80)},
    {"kind": "frames", "frame_size": "dynamic"},
]

QUICK = KINDS[1]  # one small frame size: parity takes milliseconds


@pytest.mark.parametrize("decision", ["majority", "single", "mean"])
@pytest.mark.parametrize("kind", KINDS, ids=["views", "fixed", "dynamic"])
def test_a_guard_decides_as_the_model_and_the_reference_say(
    save_model: Callable[..., Path], tmp_path: Path, kind: dict[str, Any], decision: str
) -> None:
    path = save_model()
    fields: dict[str, Any] = {"decision": decision}
    if decision == "mean":
        fields["threshold"] = 0.5
    export_guard(path, tmp_path / "guard.onnx", defense=fields, **kind)
    model = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with Guard(tmp_path / "guard.onnx", "cpu") as guard:
        used = list(guard.defense.views)
        for seed in range(6):
            frame = draw_frame(60, 80, seed)
            views = build_views(guard.defense, frame)[used].astype(np.float32)
            (logits,) = model.run(None, {"x": views})
            verdict = guard.classify(frame)
            expected = logits.argmax(axis=1).tolist()
            known = [vote for vote in verdict.view_labels if vote is not None]
            assert known == expected[: len(known)]
            if decision == "mean":
                shares = np.exp(logits - logits.max(axis=1, keepdims=True))
                mean = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
                assert verdict.label == (mean.argmax() if mean.max() >= 0.5 else -1)
            else:
                winners = [c for c in expected if 2 * expected.count(c) > len(expected)]
                assert verdict.label == (winners[0] if winners else -1)


@pytest.mark.parametrize("kind", KINDS, ids=["views", "fixed", "dynamic"])
def test_the_file_is_what_it_promises(
    save_model: Callable[..., Path], tmp_path: Path, kind: dict[str, Any]
) -> None:
    # Opset 11 on purpose: a frames guard has to raise it.
    path = save_model(opset=11, metadata={"labels": '["a", "b", "c", "d", "e"]'})
    report = export_guard(path, tmp_path / "guard.onnx", **kind)
    guard = onnx.load(tmp_path / "guard.onnx")
    onnx.checker.check_model(guard, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(guard, strict_mode=True, data_prop=True)
    assert len(inferred.graph.value_info) > 0
    assert [(item.domain, item.version) for item in guard.opset_import] == [("", report.opset)]
    assert report.opset == (11 if kind["kind"] == "views" else 18)
    assert report.size_bytes == (tmp_path / "guard.onnx").stat().st_size

    blobs = [
        (tensor.data_type, tuple(tensor.dims), onnx.numpy_helper.to_array(tensor).tobytes())
        for tensor in guard.graph.initializer
    ]
    assert len(set(blobs)) == len(blobs)
    names = [node.name for node in guard.graph.node]
    assert len(set(names)) == len(names)
    assert all(name.split("/")[0] in ("preprocess", "backbone", "adapt", "vote") for name in names)

    metadata = report.metadata
    assert metadata.labels == ("a", "b", "c", "d", "e")
    assert metadata.provenance["source"] == "model.onnx"
    assert metadata.parity["labels_differing"] == 0
    assert len(metadata.parity["frames"]) >= 8
    with Guard(tmp_path / "guard.onnx", "cpu") as loaded:
        assert loaded.metadata == metadata
    session = onnxruntime.InferenceSession(str(tmp_path / "guard.onnx"))
    shapes = {value.name: (value.type, value.shape) for value in session.get_outputs()}
    if kind["kind"] == "views":
        assert shapes == {"logits": ("tensor(float)", ["B", 5])}
    else:
        assert shapes == {
            "logits": ("tensor(float)", ["N", 3, 5]),
            "label": ("tensor(int64)", ["N"]),
            "count": ("tensor(int64)", ["N"]),
            "view_labels": ("tensor(int64)", ["N", 3]),
        }
        assert (session.get_inputs()[0].name, session.get_inputs()[0].type) == (
            "frames",
            "tensor(uint8)",
        )


def test_frames_guards_take_batches(save_model: Callable[..., Path], tmp_path: Path) -> None:
    export_guard(save_model(), tmp_path / "g.onnx", kind="frames", frame_size=(60, 80))
    session = onnxruntime.InferenceSession(str(tmp_path / "g.onnx"))
    frames = np.stack([draw_frame(60, 80, seed) for seed in range(4)])
    together = session.run(["logits", "label"], {"frames": frames})
    for index, frame in enumerate(frames):
        alone = session.run(["logits", "label"], {"frames": frame[None]})
        np.testing.assert_allclose(together[0][index], alone[0][0], rtol=0, atol=1e-4)
        assert together[1][index] == alone[1][0]


@pytest.mark.parametrize(
    ("options", "given", "expected"),
    [
        ({}, {}, Defense(resize=37, crop=(32, 32))),
        ({}, {"resize": 40}, Defense(resize=40, crop=(32, 32))),
        (
            {"channels": "bgr"},
            {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)},
            Defense(resize=37, crop=(32, 32), mean=(0.3, 0.2, 0.1), std=(0.6, 0.5, 0.4)),
        ),
        ({"channels": "bgr"}, {}, Defense(resize=37, crop=(32, 32))),
        ({}, Defense(resize=50, crop=(32, 32), sigma=2), Defense(resize=50, crop=32, sigma=2)),
        (
            {},
            {"fit": "stretch", "passes": (0, 3)},
            Defense(resize=37, crop=(32, 32), fit="stretch", passes=(0, 3)),
        ),
    ],
)
def test_the_defence(
    save_model: Callable[..., Path],
    tmp_path: Path,
    options: dict[str, Any],
    given: Any,
    expected: Defense,
) -> None:
    report = export_guard(
        save_model(), tmp_path / "g.onnx", options=ModelOptions(**options), defense=given, **QUICK
    )
    assert report.metadata.defense == expected


def test_labels_given_replace_those_of_the_file(
    save_model: Callable[..., Path], tmp_path: Path
) -> None:
    path = save_model(metadata={"labels": '["only", "two"]'})
    assert export_guard(path, tmp_path / "g.onnx", **QUICK).metadata.labels == ()
    labels = ("v", "w", "x", "y", "z")
    report = export_guard(path, tmp_path / "g.onnx", options=ModelOptions(labels=labels), **QUICK)
    assert report.metadata.labels == labels


def test_parity_frames_are_many_differing_and_the_same_every_time() -> None:
    frames = draw_frames(Defense(), None)
    assert len(frames) >= 8
    assert len({frame.shape for frame in frames}) >= 8
    assert any(frame.shape[0] > frame.shape[1] for frame in frames)
    assert any(min(frame.shape[:2]) < 224 for frame in frames)
    for frame, again in zip(frames, draw_frames(Defense(), None), strict=True):
        np.testing.assert_array_equal(frame, again)
    fixed = draw_frames(Defense(), (300, 400))
    assert {frame.shape for frame in fixed} == {(300, 400, 3)}
    assert len({frame.tobytes() for frame in fixed}) == len(fixed)
    # A wide crop needs wide frames.
    for frame in draw_frames(Defense(resize=64, crop=(32, 128)), None):
        assert build_views(Defense(resize=64, crop=(32, 128)), frame).shape == (3, 3, 32, 128)


@pytest.mark.parametrize("kind", KINDS, ids=["views", "fixed", "dynamic"])
def test_nothing_is_written_when_the_guard_computes_something_else(
    save_model: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: dict[str, Any],
) -> None:
    honest = pipeline_module.normalise

    def off_by_a_little(*args: Any) -> Any:
        backbone = honest(*args)
        return replace(backbone, reference=lambda views: backbone.reference(views * 1.05))

    monkeypatch.setattr(pipeline_module, "normalise", off_by_a_little)
    target = tmp_path / "guard.onnx"
    with pytest.raises(ParityError) as caught:
        export_guard(save_model(), target, **kind)
    assert str(caught.value).startswith(
        "the guard would not compute what its model computes, so nothing was written: on a frame of"
    )
    assert "logits from the kernel's views are off by" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_wrong_views_are_caught(
    save_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from blurvote.export import parity

    monkeypatch.setattr(
        parity,
        "build_views",
        lambda defense, frame: build_views(defense, frame) + 3e-5,
    )
    with pytest.raises(ParityError, match=r"the kernel's views are off by 3.*e-05 \(at most 1e-05"):
        export_guard(save_model(), tmp_path / "guard.onnx", **QUICK)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (
            {"kind": "frames"},
            ExportError,
            "a frames guard needs --frame-size HEIGHTxWIDTH, such as 1080x1920, or dynamic",
        ),
        (
            {"frame_size": (60, 80)},
            ExportError,
            "a views guard takes frames of any size, so it has no frame size; leave --frame-size "
            "out, or use --input frames",
        ),
        ({"kind": "both"}, ExportError, "kind is 'both'; expected 'views' or 'frames'"),
        (
            {"kind": "frames", "frame_size": (2, 80)},
            DefenseError,
            "frames of 80x2 px: a height of 2 px cannot be blurred by 5 taps: reflection at the "
            "border needs more than 2 px",
        ),
        (
            {"options": ModelOptions(labels=("a",))},
            ExportError,
            "1 labels were given, but {path} has 5 classes",
        ),
        (
            {"defense": {"kernel_size": 4}},
            DefenseError,
            "Defense.kernel_size is 4; expected an odd integer from 3 to 31",
        ),
        (
            {"defense": {"threshold": 0.5}},
            DefenseError,
            "Defense.threshold is 0.5; expected None: only the decision 'mean' has a threshold, "
            "not 'majority'",
        ),
    ],
    ids=lambda case: "",
)
def test_options_that_are_refused(
    save_model: Callable[..., Path],
    tmp_path: Path,
    options: dict[str, Any],
    error: type[Exception],
    text: str,
) -> None:
    path = save_model()
    with pytest.raises(error) as caught:
        export_guard(path, tmp_path / "guard.onnx", **options)
    assert str(caught.value) == text.format(path=path)
    assert not (tmp_path / "guard.onnx").exists()


def test_a_guard_that_would_be_too_large_is_refused_before_it_is_written(
    save_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blurvote.export.guard_graph.MAX_BYTES", 1000)
    with pytest.raises(ExportError) as caught:
        export_guard(save_model(), tmp_path / "guard.onnx")
    assert str(caught.value) == (
        "the guard would have 0.0 GB; one ONNX file of more than 2 GB is not supported"
    )
    assert not (tmp_path / "guard.onnx").exists()


def test_onnx_models_do_not_need_torch(save_model: Callable[..., Path], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from blurvote.export import export_guard\n"
        f"export_guard({str(save_model())!r}, {str(tmp_path / 'guard.onnx')!r}, "
        "kind='frames', frame_size=(60, 80))\n"
        "print(sorted(name for name in ('torch', 'torchvision', 'onnxscript') if name in "
        "sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)


def test_the_report_is_told_in_steps(save_model: Callable[..., Path], tmp_path: Path) -> None:
    lines: list[str] = []
    report = export_guard(save_model(), tmp_path / "g.onnx", progress=lines.append, **QUICK)
    assert isinstance(report, ExportReport)
    assert [line.split()[0] for line in lines] == [
        "loading",
        "turning",
        "assembling",
        "comparing",
        "writing",
    ]
    table = report.parity.table().splitlines()
    assert len(table) == len(report.parity.frames) + 2
    assert table[1].endswith("agree")
