"""Every peer computes what it says it does; one that does not is found before it is timed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from blurvote.benchmarks import timing
from blurvote.benchmarks.folded import fold
from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.latency.peers import openvino_peer, torch_peer, views_opencv, views_torch
from blurvote.benchmarks.latency.pictures import natural_frame
from blurvote.export import reference
from blurvote.runtime import (
    Defense,
    Guard,
    GuardMetadata,
    PlanError,
    ProviderError,
    ViewBuilder,
    majority_vote,
)

SMALL = Defense(resize=36, crop=(32, 32))
TORCH = ("torch", "torchvision", "kornia", "onnx2torch")
NEEDS = {"blog": TORCH, "torch": TORCH, "opencv-ort": (), "openvino": ("openvino",)}
FRAMES = [natural_frame(60, 80, seed) for seed in range(3)]


@pytest.fixture
def guard(tmp_path: Path) -> Path:
    """A `views` guard whose weights lie in the graph as a code book and as 8-bit integers."""
    return write_guard(tmp_path / "guard.onnx")


def write_guard(path: Path, defense: Defense = SMALL, kind: str = "views", odd: str = "") -> Path:
    random = np.random.default_rng(7)
    constants = {
        "book": random.normal(0, 0.3, 16).astype(np.float32),
        "codes": random.integers(0, 16, (8, 3, 3, 3), dtype=np.uint8),
        "steps": random.integers(-127, 128, (5, 8), dtype=np.int8),
        "step": np.array(0.02, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["codes"], ["indices"], to=TensorProto.INT32),
        helper.make_node("Gather", ["book", "indices"], ["kernel"]),
        # Padding on one side only, as TensorFlow's models have it.
        helper.make_node("Conv", ["views", "kernel"], ["conv"], strides=[2, 2], pads=[0, 0, 1, 1]),
        helper.make_node(odd or "Relu", ["conv"], ["relu"]),
        helper.make_node("GlobalAveragePool", ["relu"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Cast", ["steps"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["floats", "step"], ["weights"]),
        helper.make_node("Gemm", ["flat", "weights"], ["logits"], transB=1),
    ]
    h, w = defense.crop
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, h, w])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 5])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    metadata: Any = GuardMetadata(kind, defense)  # type: ignore[arg-type]
    for key, value in metadata.to_map().items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, str(path))
    return path


class Ours:
    """The guard's mathematics by other code: float64 matrices, a plain session."""

    def __init__(self, path: Path, defense: Defense = SMALL) -> None:
        self.defense = defense
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def views(self, frame: np.ndarray) -> np.ndarray:
        return reference.build_views(self.defense, frame).astype(np.float32)

    def logits(self, views: np.ndarray) -> np.ndarray:
        return np.asarray(self.session.run(None, {"views": views})[0])

    def check(self, peer: peers.Peer) -> dict[str, Any]:
        return peers.check(peer, FRAMES, self.views, self.logits)


def load(family: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> list[peers.Peer]:
    """A family's peers, without the half minute that torch.compile takes."""
    for package in NEEDS[family]:
        pytest.importorskip(package)
    monkeypatch.setattr(
        torch_peer,
        "_compiled",
        lambda module, shape, progress: lambda views: torch_peer._batch(module, views),
    )
    return peers.load(family, path)


@pytest.mark.parametrize("family", peers.FAMILIES)
def test_a_family_agrees_with_the_guard(
    family: str, guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skipped: list[tuple[str, str]] = []
    if family == "openvino":  # bfloat16 may not be there
        pytest.importorskip("openvino")
        loaded = peers.load(family, guard, skip=lambda *why: skipped.append(why))
        assert all("bf16" in name for name, _ in skipped)
    else:
        loaded = load(family, guard, monkeypatch)
    assert {peer.family for peer in loaded} == {family}
    labels = [Guard(guard, "cpu").classify(frame).label for frame in FRAMES]
    for peer in loaded:
        report = Ours(guard).check(peer)
        assert report["failed"] is None, peer.name
        assert report["frames"] == report["labels_equal"] == len(FRAMES)
        assert report["exact"] == (family in ("blog", "torch"))
        assert report["logits"] < (1e-5 if "bf16" not in peer.name else 5e-2)
        assert [peer.classify(frame) for frame in FRAMES] == labels
        assert peer.layout
        assert any(character.isdigit() for character in peer.threads)
        peer.close()
        with pytest.raises(ProviderError, match="was closed"):
            peer.classify(FRAMES[0])


def test_the_families_have_the_peers_they_promise(
    guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [peer.name for peer in load("opencv-ort", guard, monkeypatch)]
    assert names == [
        "OpenCV fastest + ONNX Runtime, batch of 3",
        "OpenCV INTER_AREA + ONNX Runtime, batch of 3",
    ]
    assert [peer.name for peer in load("torch", guard, monkeypatch)] == [
        "torch eager, batch of 3",
        "torch eager, channels last, batch of 3",
        "torch.compile, batch of 3",
    ]


def test_settings_come_from_the_guard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Defense(
        kernel_size=7,
        sigma=1.7,
        passes=(0, 1, 3, 4),
        antialias=False,
        resize=40,
        crop=(28, 36),
        mean=(0.1, 0.5, 0.3),
        std=(0.5, 0.4, 0.3),
    )
    path = write_guard(tmp_path / "other.onnx", other)
    for family in ("opencv-ort", "blog"):
        loaded = load(family, path, monkeypatch)
        assert len(loaded) == 1  # INTER_AREA would antialias
        report = Ours(path, other).check(loaded[0])
        assert report["failed"] is None
        assert report["labels_equal"] == len(FRAMES)


@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_torch_compile(guard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    compiled, said = torch_peer._compiled, []
    load("torch", guard, monkeypatch)  # skips where a package is missing
    monkeypatch.setattr(torch_peer, "_compiled", compiled)
    *_, peer = peers.load("torch", guard, said.append)
    assert any("took" in text for text in said)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] >= 1
    report = Ours(guard).check(peer)
    assert report["failed"] is None
    assert report["labels_equal"] == len(FRAMES)


def test_a_failed_compile_costs_only_that_peer(
    guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    load("torch", guard, monkeypatch)
    monkeypatch.undo()

    def broken(*_: object, **__: object) -> Callable[..., Any]:
        def call(*_: object) -> None:
            raise RuntimeError("no working C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    skipped: dict[str, str] = {}
    loaded = peers.load("torch", guard, skip=skipped.__setitem__)
    assert len(loaded) == 2
    assert "no working C++ compiler found" in skipped["torch.compile"]
    with pytest.raises(ProviderError, match="apt install g"):
        peers.load("torch", guard)


def flipped(peer: peers.Peer) -> None:
    peer.way = replace(
        peer.way, make=lambda frame: views_opencv.fastest_views(SMALL, frame[:, ::-1])
    )


def bgr(peer: peers.Peer) -> None:
    peer.way = replace(
        peer.way, make=lambda frame: views_opencv.fastest_views(SMALL, frame[..., ::-1].copy())
    )


def unblurred(peer: peers.Peer) -> None:
    clean = replace(SMALL, passes=(0,))
    peer.way = replace(
        peer.way, make=lambda frame: np.repeat(views_opencv.fastest_views(clean, frame), 3, axis=0)
    )


def one_view(peer: peers.Peer) -> None:
    clean = replace(SMALL, passes=(0,))
    peer.way = replace(peer.way, make=lambda frame: views_opencv.fastest_views(clean, frame))


def other_weights(peer: peers.Peer) -> None:
    right = peer.infer
    peer.infer = lambda views: right(views) * np.float32(1.005)


def first_view_only(peer: peers.Peer) -> None:
    right = peer.infer
    peer.infer = lambda views: np.repeat(right(views)[:1], 3, axis=0)


def not_a_number(peer: peers.Peer) -> None:
    right = peer.infer
    peer.infer = lambda views: right(views) * np.float32(np.nan)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (flipped, "its views lie up to"),
        (bgr, "its views lie up to"),
        (unblurred, "its views lie up to"),
        (one_view, "its views are float32 .1, 3, 32, 32.; expected float32 .3, 3, 32, 32."),
        (other_weights, "on the same views its logits differ by"),
        (first_view_only, "on the same views its logits differ by"),
        (not_a_number, "on the same views its logits differ by"),
    ],
)
def test_a_wrong_peer_is_found(
    spoil: Callable[[peers.Peer], None],
    reason: str,
    guard: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    peer = load("opencv-ort", guard, monkeypatch)[0]
    assert Ours(guard).check(peer)["failed"] is None
    spoil(peer)
    failed = Ours(guard).check(peer)["failed"]
    assert failed
    assert re.match(reason, failed)


def test_a_precision_that_did_not_run_is_not_claimed(
    guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    compile_file = openvino_peer._compile_file
    monkeypatch.setattr(  # a processor without bfloat16 runs float32 instead
        openvino_peer,
        "_compile_file",
        lambda core, path, shape, precision: compile_file(core, path, shape, "f32"),
    )
    skipped: dict[str, str] = {}
    loaded = peers.load("openvino", guard, skip=skipped.__setitem__)
    assert [peer.name for peer in loaded] == ["OpenCV fastest + OpenVINO f32, batch of 3"]
    (reason,) = skipped.values()
    assert "was asked for bf16" in reason
    assert "2 in f32" in reason  # the convolution and the matrix product


@pytest.mark.parametrize(
    ("family", "package", "line"),
    [
        ("blog", "kornia", "pip install torch torchvision kornia"),
        ("torch", "onnx2torch", "pip install torch onnx onnx2torch"),
        ("openvino", "openvino", "pip install openvino"),
    ],
)
def test_a_missing_package_is_named_with_its_pip_line(
    family: str, package: str, line: str, guard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in NEEDS[family]:
        if other != package:
            pytest.importorskip(other)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ProviderError, match=package) as raised:
        peers.load(family, guard)
    assert line in str(raised.value)


def test_a_missing_package_leaves_the_other_view_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("kornia", "art.defences.preprocessor"):
        monkeypatch.setitem(sys.modules, package, None)
    skipped: dict[str, str] = {}
    found = peers.view_peers(SMALL, FRAMES[0], skipped.__setitem__)
    assert [peer.name for peer in found] == ["OpenCV fastest", "OpenCV INTER_AREA"]
    assert set(skipped) == {"kornia + torchvision", "ART"}
    assert "pip install adversarial-robustness-toolbox" in skipped["ART"]


def test_an_unknown_family_lists_the_known_ones(guard: Path) -> None:
    with pytest.raises(ProviderError, match="'tflite'; expected one of blog, torch, opencv-ort"):
        peers.load("tflite", guard)


@pytest.mark.parametrize(
    "settings",
    [
        {"blur_at": "model"},
        {"interpolation": "bicubic"},
        {"fit": "stretch"},
        {"decision": "mean", "threshold": 0.5},
        {"decision": "single"},
    ],
)
def test_a_defence_that_peers_cannot_follow(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_guard(tmp_path / "guard.onnx", replace(SMALL, **settings))
    name, value = next(iter(settings.items()))
    with pytest.raises(PlanError, match=f"{name} = '{value}'; peers serve only guards with the"):
        peers.load("opencv-ort", path)
    with pytest.raises(PlanError, match="blog's order"):
        peers.view_peers(replace(SMALL, **settings), FRAMES[0])


def test_a_frames_guard_is_refused(tmp_path: Path) -> None:
    path = write_guard(tmp_path / "guard.onnx", kind="frames")
    with pytest.raises(PlanError, match="export the model once more with kind 'views'"):
        peers.load("opencv-ort", path)


def test_a_model_that_torch_cannot_run(tmp_path: Path) -> None:
    for package in TORCH:
        pytest.importorskip(package)
    path = write_guard(tmp_path / "odd.onnx", odd="Atanh")
    with pytest.raises(ProviderError, match=r"cannot be turned into a torch module.*Atanh"):
        peers.load("blog", path)


def test_folding_computes_what_is_constant(guard: Path, tmp_path: Path) -> None:
    model = onnx.load(str(fold(guard, 3, tmp_path / "folded.onnx")))
    operators = [node.op_type for node in model.graph.node]
    assert operators == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "Gemm"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    views = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    folded = Ours(tmp_path / "folded.onnx").logits(views)
    np.testing.assert_allclose(folded, Ours(guard).logits(views), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(375, 500), (500, 375), (720, 1280), (240, 320)])
def test_ways_to_make_views_do_what_they_say(size: tuple[int, int]) -> None:
    defense, frame = Defense(), natural_frame(*size)
    right = reference.build_views(defense, frame).astype(np.float32)
    skipped: dict[str, str] = {}
    found = {peer.name: peer for peer in peers.view_peers(defense, frame, skipped.__setitem__)}
    # What 8 bits in between, another filter and aliasing cost, in standard deviations.
    bounds = {
        "OpenCV fastest": (2.0, 0.2),
        "OpenCV INTER_AREA": (0.5, 0.05),
        "kornia + torchvision": (1e-4, 1e-5),
        "kornia + torchvision with ToTensor": (1e-4, 1e-5),
        "ART SpatialSmoothing": (2.0, 0.2),
    }
    for name, peer in found.items():
        error = peers.view_error(peer, right)
        assert error["failed"] is None, name
        assert error["largest"] < bounds[name][0]
        assert error["mean"] < bounds[name][1]
        assert peer.layout
        assert peer.threads
    assert len(found) == 5 or skipped


def test_art_without_its_median_is_found() -> None:
    pytest.importorskip("art.defences.preprocessor")
    frame = natural_frame(120, 160)
    art = peers.view_peers(SMALL, frame)[-1]
    plain = peers.ViewPeer(art.way, frame, lambda: views_opencv.fastest_views(SMALL, frame))
    ours = ViewBuilder(SMALL).build(frame)
    assert peers.view_error(art, ours)["failed"] is None
    assert peers.view_error(plain, ours)["failed"]


def test_the_vote_is_the_majority(guard: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    peer = load("opencv-ort", guard, monkeypatch)[0]
    for labels, expected in (((0, 1, 1), 1), ((2, 1, 2), 2), ((0, 1, 2), -1)):
        logits = np.eye(5, dtype=np.float32)[list(labels)]
        peer.infer = lambda views, logits=logits: logits
        assert peer.classify(FRAMES[0]) == expected
        assert majority_vote(logits[None]).labels[0] == expected


def test_the_kernel_is_faster_than_its_peers_in_one_run() -> None:
    """Far below the targets, so that a busy machine passes; the benchmark has the figures."""
    pytest.importorskip("kornia")
    frame, defense = natural_frame(1080, 1920), Defense()
    builder = ViewBuilder(defense)
    out = builder.build(frame)
    tensor = views_torch.to_tensor(frame)
    measured = timing.measure(
        {
            "kernel": lambda: builder.build(frame, out),
            "fastest": lambda: views_opencv.fastest_views(defense, frame),
            "area": lambda: views_opencv.area_views(defense, frame),
            "kornia": lambda: views_torch.kornia_views(defense, tensor),
        },
        timing.Method(rounds=1, max_calls=3, max_windows=3, warm_s=0.2),
    )
    ours = measured.timings["kernel"].minimum
    times = {name: value.minimum / ours for name, value in measured.timings.items()}
    assert times["fastest"] > 1.5
    assert times["area"] > 3
    assert times["kornia"] > 15
