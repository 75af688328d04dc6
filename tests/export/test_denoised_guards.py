"""Guards whose noisy frames are denoised, from export to verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from blurvote.export import PrecisionOptions, export_guard, parity
from blurvote.export.denoiser.reference import noise_estimate, noise_gain, noisy_views
from blurvote.export.guard_graph import backbone_of, preprocessing_model, replace_vote
from blurvote.export.parity_frames import draw_frame
from blurvote.export.reference import build_views
from blurvote.runtime import Defense, DefenseError, ExportError, GuardMetadata, ParityError
from blurvote.runtime.cli import main
from blurvote.runtime.demo.scenes import add_noise

FIXED: dict[str, Any] = {"kind": "frames", "frame_size": (60, 80)}
KINDS: list[dict[str, Any]] = [{"kind": "views"}, FIXED, {**FIXED, "frame_size": "dynamic"}]
IDS = ["views", "fixed", "dynamic"]
# Of each kind: not denoised, denoised in part, denoised and blurred.
NAMES = ("double-blur", "60%-denoised", "denoised-single-blur")

Pixels = NDArray[np.uint8]


@pytest.fixture(autouse=True)
def few_parity_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn frames of any size are small here: 1080p in float64 takes seconds."""
    monkeypatch.setattr("blurvote.export.parity_frames._SIZES", ((60, 80), (97, 131)))


def session_of(model: onnx.ModelProto | bytes | Path) -> onnxruntime.InferenceSession:
    data = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    return onnxruntime.InferenceSession(
        str(data) if isinstance(data, Path) else data, providers=["CPUExecutionProvider"]
    )


def metadata_of(path: Path) -> GuardMetadata:
    entries = {item.key: item.value for item in onnx.load(path).metadata_props}
    return GuardMetadata.from_map(entries, str(path))


def frames_of() -> Pixels:
    """Four frames of 60 x 80, the second and the last one noisy."""
    frames = [draw_frame(60, 80, seed) for seed in range(4)]
    frames = [np.asarray(frame // 2 + 60, np.uint8) for frame in frames]
    for index in (1, 3):
        frames[index] = add_noise(frames[index], 0.25, np.random.default_rng(index))
    return np.stack(frames)


def expected_logits(
    path: Path, defense: Defense, frame: Pixels, level: float, denoise: Any, noisy: bool
) -> NDArray[np.float64]:
    """From NumPy's views and the model as it was before the export."""
    views = build_views(defense, frame)
    used = list(defense.views)
    views = noisy_views(defense, denoise, views, level, used) if noisy else views[used]
    return np.asarray(session_of(path).run(None, {"x": views.astype(np.float32)})[0], np.float64)


@pytest.mark.parametrize("decision", ["majority", "single", "mean"])
@pytest.mark.parametrize("kind", KINDS[1:], ids=IDS[1:])
def test_a_frames_guard_judges_every_frame_by_its_own_views(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    smoothed: Any,
    tmp_path: Path,
    kind: dict[str, Any],
    decision: str,
) -> None:
    path, target = save_model(), tmp_path / "guard.onnx"
    fields: dict[str, Any] = {"decision": decision, "noisy_views": NAMES}
    fields |= {"noise_switch": (0.03, 0.04)}
    if decision == "mean":
        fields |= {"threshold": 0.0, "noisy_threshold": 1.0}
    report = export_guard(path, target, defense=fields, denoiser=save_denoiser(), **kind)
    defense = report.metadata.defense
    frames = frames_of()
    names = ["logits", "label", "count", "view_labels", "noise"]
    guard = session_of(target)
    assert [value.name for value in guard.get_outputs()] == names
    logits, label, _, view_labels, noise = guard.run(names, {"frames": frames})

    levels = [noise_estimate(defense, frame) for frame in frames]
    gain = noise_gain(defense, 60, 80)
    assert [level * gain >= 0.04 for level in levels] == [False, True, False, True]
    np.testing.assert_allclose(noise, levels, rtol=0, atol=1e-6)
    for index, frame in enumerate(frames):
        noisy = index in (1, 3)
        expected = expected_logits(path, defense, frame, levels[index] * gain, smoothed, noisy)
        np.testing.assert_allclose(logits[index], expected, rtol=0, atol=1e-3)
        assert view_labels[index].tolist() == expected.argmax(axis=1).tolist()
        if decision == "mean":  # nothing reaches the noisy threshold of 1, everything that of 0
            assert (label[index] == -1) == noisy
    other = [expected_logits(path, defense, frames[1], 0, smoothed, noisy=False)]
    assert np.abs(logits[1] - other[0]).max() > 1e-2  # the sets differ


@pytest.mark.parametrize("switch", [0.0, 1.0])
def test_a_frames_guards_switch_and_thresholds_can_be_replaced(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    tmp_path: Path,
    switch: float,
) -> None:
    target = tmp_path / "guard.onnx"
    fields = {"decision": "mean", "noisy_views": NAMES, "noise_switch": (0.03, 0.04)}
    fields |= {"threshold": 0.2, "noisy_threshold": 0.3}
    export_guard(save_model(), target, defense=fields, denoiser=save_denoiser(), **FIXED)
    metadata = metadata_of(target)
    defense = replace(
        metadata.defense, noise_switch=(0.0, switch), threshold=1.0, noisy_threshold=0.0
    )
    changed = replace_vote(onnx.load(target), replace(metadata, defense=defense))
    label, noise = session_of(changed).run(["label", "noise"], {"frames": frames_of()})
    # Always noisy and always accepted, or never either.
    assert ((label >= 0) == (switch == 0.0)).all()
    assert (noise > 0).all()


def test_a_views_guard_carries_its_denoiser(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    smoothed: Any,
    tmp_path: Path,
) -> None:
    path, target, denoiser = save_model(), tmp_path / "guard.onnx", save_denoiser()
    report = export_guard(path, target, defense={"noisy_views": NAMES}, denoiser=denoiser)
    metadata = metadata_of(target)
    defense, entry = metadata.defense, metadata.denoiser
    assert entry is not None
    assert metadata == report.metadata
    assert (defense.noisy_views, entry.name) == (NAMES, "smoother")
    export_guard(path, tmp_path / "plain.onnx")
    plain, guard = onnx.load(tmp_path / "plain.onnx"), onnx.load(target)
    assert guard.graph == plain.graph  # the denoiser travels in the metadata alone
    frame = frames_of()[1]
    level = 0.25 * noise_gain(defense, 60, 80)
    views = build_views(defense, frame)
    noisy = np.concatenate([views[0], np.full((1, 32, 32), level)])[None].astype(np.float32)
    (denoised,) = session_of(entry.onnx).run(["views"], {"noisy": noisy})
    expected = noisy_views(defense, smoothed, views, level)
    np.testing.assert_allclose(expected[0], views[2], rtol=0, atol=0)
    np.testing.assert_allclose(denoised[0], expected[1:], rtol=0, atol=1e-5)


def test_the_usual_views_are_of_three_strengths(
    save_model: Callable[..., Path], save_denoiser: Callable[..., Path], tmp_path: Path
) -> None:
    report = export_guard(save_model(), tmp_path / "g.onnx", denoiser=save_denoiser(), **FIXED)
    kinds = report.metadata.defense.kinds(noisy=True)
    assert len(kinds) == 3
    assert all(kind.denoised for kind in kinds)
    entry = report.metadata.denoiser
    assert entry is not None
    assert entry.onnx == b""  # it is in the graph
    noisy = [frame for frame in report.parity.frames if frame.noise is not None]
    assert len(noisy) == len(report.parity.frames) // 2 == 9
    told = report.parity.to_dict()
    assert told["worst_noisy"]["graph_views"] <= told["view_tolerance"]["denoised"]
    assert parity.ParityReport.from_dict(json.loads(json.dumps(told))) == report.parity


def test_the_shipped_denoiser_guards(save_model: Callable[..., Path], tmp_path: Path) -> None:
    report = export_guard(save_model(), tmp_path / "g.onnx", denoiser="shipped", **FIXED)
    assert report.metadata.denoiser is not None
    assert report.metadata.denoiser.name == "blurvote"
    assert not report.parity.failures()


@pytest.mark.parametrize("kind", KINDS, ids=IDS)
def test_a_guard_gets_a_denoiser_and_keeps_the_rest(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    tmp_path: Path,
    kind: dict[str, Any],
) -> None:
    source, target = tmp_path / "plain.onnx", tmp_path / "guard.onnx"
    before = export_guard(save_model(), source, defense={"sigma": 1.5}, **kind)
    fields = {"noisy_views": NAMES, "noise_switch": (0.03, 0.04)}
    report = export_guard(source, target, denoiser=save_denoiser(), defense=fields)
    metadata, kept = report.metadata, before.metadata
    assert metadata == metadata_of(target)
    assert replace(metadata.defense, noisy_views=(), noise_switch=(0.02, 0.025)) == kept.defense
    assert (metadata.kind, metadata.labels) == (kept.kind, kept.labels)
    assert (metadata.frame_size, metadata.provenance) == (kept.frame_size, kept.provenance)
    quiet = [frame for frame in report.parity.frames if frame.noise is None]
    assert quiet == list(before.parity.frames)
    assert any(frame.noise is not None for frame in report.parity.frames)
    views = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    logits = [
        session_of(backbone_of(onnx.load(path))).run(["logits"], {"views": views})[0]
        for path in (source, target)
    ]
    np.testing.assert_array_equal(*logits)
    # Another denoiser in its place.
    again = export_guard(
        target, target, denoiser=save_denoiser("other.onnx", strength=1.0), defense={}
    )
    assert again.metadata.denoiser is not None
    assert (again.metadata.denoiser.name, again.metadata.defense) == ("other", metadata.defense)


@pytest.mark.parametrize("kind", KINDS[:2], ids=IDS[:2])
def test_a_lower_precision_leaves_the_denoiser_in_fp32(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    tmp_path: Path,
    kind: dict[str, Any],
) -> None:
    source, target = tmp_path / "full.onnx", tmp_path / "half.onnx"
    # A map of the level, so that the denoiser's constants are not only scalars.
    denoiser = save_denoiser(level=["N", 3, "H", "W"])
    full = export_guard(save_model(), source, denoiser=denoiser, **kind)
    half = export_guard(source, target, precision=PrecisionOptions("fp16", max_loss=100))
    assert half.metadata.denoiser == full.metadata.denoiser
    assert metadata_of(target) == half.metadata
    if kind["kind"] == "frames":
        models = [
            preprocessing_model(onnx.load(path), full.metadata.defense) for path in (source, target)
        ]
        frames = frames_of()
        views = [session_of(model).run(["views"], {"frames": frames})[0] for model in models]
        np.testing.assert_array_equal(*views)
        types = {tensor.data_type for tensor in models[1].graph.initializer}
        assert onnx.TensorProto.FLOAT16 not in types
        label, noise = session_of(target).run(["label", "noise"], {"frames": frames})
        assert label.shape == noise.shape == (4,)


@pytest.mark.parametrize("kind", KINDS[:2], ids=IDS[:2])
def test_wrong_views_of_noisy_frames_are_caught(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: dict[str, Any],
) -> None:
    monkeypatch.setattr(parity, "noisy_views", lambda *args: noisy_views(*args) + 2e-4)
    with pytest.raises(ParityError, match=r"on a noisy frame of \d+x\d+ px the kernel's views are"):
        export_guard(save_model(), tmp_path / "g.onnx", denoiser=save_denoiser(), **kind)
    monkeypatch.undo()
    if kind["kind"] == "frames":
        monkeypatch.setattr(parity, "noise_estimate", lambda *args: noise_estimate(*args) + 1e-5)
        with pytest.raises(ParityError, match="the graph's noise levels are off by"):
            export_guard(save_model(), tmp_path / "g.onnx", denoiser=save_denoiser(), **kind)
    assert not (tmp_path / "g.onnx").exists()


def test_what_is_refused(
    save_model: Callable[..., Path], save_denoiser: Callable[..., Path], tmp_path: Path
) -> None:
    path, target, denoiser = save_model(), tmp_path / "g.onnx", save_denoiser()

    def refusal(error: type[Exception] = ExportError, **options: Any) -> str:
        with pytest.raises(error) as caught:
            export_guard(path, target, **options)
        assert not target.exists()
        return str(caught.value)

    assert refusal(defense={"noisy_views": NAMES}) == (
        "noisy frames are to have the views double-blur, 60%-denoised, denoised-single-blur, which "
        "need a denoiser: --denoiser takes the one that blurvote ships, or a path"
    )
    assert refusal(denoiser=denoiser, defense={"passes": (0, 1)}).startswith(
        "quiet frames have 2 views: name as many of noisy frames with --noisy-views"
    )
    assert refusal(DefenseError, denoiser=denoiser, defense={"passes": (1, 2, 3)}).startswith(
        "Defense.passes is (1, 2, 3); expected 0 as the first of them"
    )
    mean = {"decision": "mean", "threshold": 0.5}
    assert refusal(denoiser=denoiser, defense=mean, **FIXED) == (
        "a frames guard with a denoiser that decides by mean needs --noisy-threshold: blurvote "
        "calibrate fits them for a views guard of the same model"
    )
    assert "there is no denoiser at" in refusal(denoiser=tmp_path / "none.onnx")
    export_guard(path, tmp_path / "guard.onnx")
    path = tmp_path / "guard.onnx"
    assert refusal(denoiser=denoiser, defense={"sigma": 2.0}) == (
        f"{path} is a guard already, and keeps its kind, its defence and its labels: only "
        "--precision and --denoiser and what belongs to them can be chosen for it"
    )


def test_the_command_line(
    save_model: Callable[..., Path],
    save_denoiser: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "guard.onnx"
    command = ["export", str(save_model()), "-o", str(target), "--noise-switch", "0.01", "0.02"]
    command += ["--noisy-views", ",".join(NAMES)]
    assert main(command) != 0
    assert "--noise-switch and --noisy-threshold need --denoiser" in capsys.readouterr().err
    command += ["--decision", "mean", "--noisy-threshold", "0.4"]
    assert main([*command, "--denoiser", str(save_denoiser())]) == 0
    out = capsys.readouterr().out
    assert f"  noisy    {', '.join(NAMES)}: from a noise level of 0.02 on, in streams down" in out
    assert "  denoiser smoother (sha256 " in out
    defense = metadata_of(target).defense
    assert (defense.noise_switch, defense.noisy_threshold) == ((0.01, 0.02), 0.4)
    assert main(["export", str(target), "-o", str(target), "--json", "--denoiser"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["denoiser"]["name"] == "blurvote"
    assert told["defense"]["noisy_views"] == list(NAMES)
    # The usual views may be left unnamed though what belongs to them is given.
    command = ["export", str(save_model()), "-o", str(target), "--denoiser", str(save_denoiser())]
    command += ["--decision", "mean", "--threshold", "0.3", "--noisy-threshold", "0.4"]
    assert main(command) == 0
    defense = metadata_of(target).defense
    assert (len(defense.noisy_views), defense.noisy_threshold) == (3, 0.4)
    capsys.readouterr()
    assert main(["export", "--help"]) == 0
    assert "--denoiser" in capsys.readouterr().out
