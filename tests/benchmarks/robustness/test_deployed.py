"""The guard as the lab asks it decides as `Guard` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.export.pipeline import export_guard
from blurvote.export.reference import build_views
from blurvote.runtime import Defense, DefenseError, FrameError, Guard, GuardError
from blurvote.runtime.decision import Outcome
from tests.conftest import ONE_THREAD

MakeGuard = Callable[..., Path]
SMALL = {"resize": 20, "crop": (16, 16)}
DECISIONS: dict[str, dict[str, Any]] = {
    "majority": {},
    "majority of five": {"passes": (0, 1, 2, 4, 7), "sigma": 3.0},
    "single": {"decision": "single"},
    "mean": {"decision": "mean", "threshold": 0.3},
}


def frames(count: int, size: tuple[int, int] | None = None) -> list[np.ndarray]:
    """Noise of odd sizes and differing grain, whose views often disagree."""
    random = np.random.default_rng(7)
    drawn = []
    for _ in range(count):
        height, width = size or random.integers(21, 70, 2)
        colour, grain = random.integers(0, 256, 3), random.choice([20, 60, 120])
        pixels = colour + random.normal(0, grain, (height, width, 3))
        drawn.append(np.clip(pixels, 0, 255).astype(np.uint8))
    return drawn


def as_frames_guard(path: Path, size: Any, defense: Defense) -> Path:
    """The backbone of a `views` guard as a `frames` guard."""
    model = onnx.load(path)
    del model.metadata_props[:]
    bare = path.with_name("bare.onnx")
    onnx.save(model, bare)
    target = path.with_name("frames.onnx")
    export_guard(bare, target, kind="frames", frame_size=size, defense=defense)
    return target


def both(path: Path, pictures: list[np.ndarray], **options: Any) -> list[Outcome]:
    """The outcomes of `Deployed`, compared with the verdicts of `Guard`."""
    deployed = Deployed(path, ONE_THREAD, **options)
    guard = Guard(path, "cpu", "batched", 1, **options)
    found = []
    for pixels in pictures:
        outcome, verdict = deployed.decide(deployed.logits(pixels)), guard.classify(pixels)
        assert (outcome.label, outcome.reason) == (verdict.label, verdict.reason)
        if verdict.confidence is None:
            assert outcome.confidence is None
        else:
            assert outcome.confidence == pytest.approx(verdict.confidence, abs=1e-5)
        found.append(outcome)
    return found


@pytest.mark.parametrize("fields", DECISIONS.values(), ids=DECISIONS.keys())
def test_views_guards_decide_as_deployed(conv_guard: MakeGuard, fields: dict[str, Any]) -> None:
    path = conv_guard(defense=Defense(**SMALL, **fields), classes=10, seed=9)
    found = both(path, frames(150))
    assert len({outcome.label for outcome in found}) > 2


def test_a_majority_is_counted_of_all_views(conv_guard: MakeGuard) -> None:
    """Against a plain count, on logits of few classes that often disagree; some views are NaN."""
    deployed = Deployed(conv_guard(), ONE_THREAD)
    random = np.random.default_rng(0)
    reasons = set()
    for _ in range(300):
        logits = random.normal(0, 1, (3, 3)).astype(np.float32)
        broken = random.random(3) < 0.2
        logits[broken] = np.nan
        votes = [int(row.argmax()) for row in logits[~broken]]
        winner = next((label for label in range(3) if votes.count(label) >= 2), -1)
        found = deployed.decide(logits)
        reasons.add(found.reason)
        assert found.label == winner
        if winner >= 0:
            rows = [row for row in logits if not np.isnan(row[0]) and row.argmax() == winner][:2]
            shares = [float(np.exp(row[winner]) / np.exp(row).sum()) for row in rows]
            assert found.confidence == pytest.approx(np.mean(shares), abs=1e-6)
        else:
            assert found.reason == ("invalid_views" if len(votes) < 2 else "no_majority")
    assert reasons == {None, "invalid_views", "no_majority"}


@pytest.mark.parametrize("fields", DECISIONS.values(), ids=DECISIONS.keys())
@pytest.mark.parametrize("size", [(45, 61), "dynamic"])
def test_frames_guards_decide_as_deployed(
    conv_guard: MakeGuard, fields: dict[str, Any], size: Any
) -> None:
    path = as_frames_guard(conv_guard(classes=10, seed=9), size, Defense(**SMALL, **fields))
    deployed = Deployed(path, ONE_THREAD)
    assert (deployed.classes, deployed.metadata.kind) == (10, "frames")
    both(path, frames(40, None if size == "dynamic" else size))


def test_a_threshold_may_be_given(conv_guard: MakeGuard) -> None:
    path = conv_guard(defense=Defense(**SMALL, decision="mean"), classes=10, seed=9)
    found = both(path, frames(60), threshold=0.45)
    assert {outcome.reason for outcome in found} == {None, "low_confidence"}


@pytest.mark.parametrize(
    ("decision", "threshold", "message"),
    [
        ("mean", None, "decides by 'mean' but has no threshold; fit one with blurvote calibrate"),
        ("mean", 1.5, "threshold is 1.5; expected a number from 0 to 1"),
        ("majority", 0.5, "decides by 'majority'; only the decision 'mean' has a threshold"),
    ],
)
def test_thresholds_that_are_refused(
    conv_guard: MakeGuard, decision: Any, threshold: float | None, message: str
) -> None:
    path = conv_guard(defense=Defense(**SMALL, decision=decision))
    for load in (Guard, Deployed):
        with pytest.raises(GuardError, match=message):
            load(path, threshold=threshold)


def test_logits_of_all_views_and_of_other_views(conv_guard: MakeGuard) -> None:
    """Also those that the decision ignores; in the order of `passes`."""
    own = Defense(**SMALL, decision="single")
    deployed = Deployed(conv_guard(defense=own, classes=4), ONE_THREAD)
    pixels = frames(1)[0]
    other = Defense(**SMALL, kernel_size=7, antialias=False, passes=(0, 3))
    for defense in (own, other):
        views = build_views(defense, pixels).astype(np.float32)
        found = deployed.logits(pixels, defense)
        assert found.shape == (len(defense.passes), 4)
        np.testing.assert_allclose(found, deployed.view_logits(views), atol=1e-4)
    np.testing.assert_array_equal(deployed.logits(pixels), deployed.logits(pixels, own))
    assert np.abs(deployed.logits(pixels)[1] - deployed.logits(pixels, other)[1]).max() > 1e-3


def test_an_oblong_crop_longer_than_the_resize(conv_guard: MakeGuard) -> None:
    """No square frame can be served, so the classes cannot be counted on one."""
    defense = Defense(resize=20, crop=(16, 30), blur_at="model")
    assert Deployed(conv_guard(defense=defense), ONE_THREAD).classes == 3
    path = as_frames_guard(conv_guard(defense=defense), "dynamic", defense)
    assert Deployed(path, ONE_THREAD).classes == 3


def test_a_frames_guard_takes_its_own_frames_alone(conv_guard: MakeGuard) -> None:
    path = as_frames_guard(conv_guard(), (45, 61), Defense(**SMALL))
    deployed = Deployed(path, ONE_THREAD)
    views = "builds its views in its graph, so it only takes 8-bit frames and its own views; export"
    with pytest.raises(GuardError, match=views):
        deployed.view_logits(np.zeros((1, 3, 16, 16), np.float32))
    pixels = frames(1, (45, 61))[0]
    with pytest.raises(GuardError, match=views):
        deployed.logits(pixels, Defense(**SMALL, kernel_size=7))
    assert deployed.logits(pixels, Defense(**SMALL)).shape == (3, 3)
    message = "a frame of 60x45 px does not fit: this frames guard takes frames of 61x45 px"
    with pytest.raises(GuardError, match=message):
        deployed.logits(pixels[:, 1:].copy())


@pytest.mark.parametrize("kind", ["views", "frames"])
def test_frames_that_cannot_be_served(conv_guard: MakeGuard, kind: str) -> None:
    path = conv_guard()
    if kind == "frames":
        path = as_frames_guard(path, "dynamic", Defense(**SMALL))
    deployed = Deployed(path, ONE_THREAD)
    with pytest.raises(FrameError):
        deployed.logits(np.zeros((45, 61, 3), np.float32))  # type: ignore[arg-type]
    with pytest.raises(DefenseError, match="blurred"):
        deployed.logits(np.zeros((2, 61, 3), np.uint8))


def test_a_file_that_is_no_guard(tmp_path: Path) -> None:
    with pytest.raises(GuardError):
        Deployed(tmp_path / "gone.onnx", ONE_THREAD)


def test_quantised_operators_are_seen(conv_guard: MakeGuard) -> None:
    """Integer arithmetic counts; weights that are only stored in 8 bits do not."""
    path = conv_guard()
    deployed = Deployed(path, ONE_THREAD)
    assert not deployed.quantised
    original = onnx.load(path)
    zero = helper.make_tensor("zero", TensorProto.UINT8, [], [0])
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1])
    stored = helper.make_tensor("stored", TensorProto.UINT8, [8], [1] * 8)
    nodes = {
        "DequantizeLinear": (["stored", "scale", "zero"], ["unused"], False),
        "QuantizeLinear": (["r1", "scale", "zero"], ["unused"], True),
        "DynamicQuantizeLinear": (["r1"], ["unused", "s", "z"], True),
        "MatMulInteger": (["stored", "stored"], ["unused"], True),
    }
    for name, (inputs, outputs, expected) in nodes.items():
        model = onnx.ModelProto()
        model.CopyFrom(original)
        model.graph.initializer.extend([zero, scale, stored])
        model.graph.node.insert(2, helper.make_node(name, inputs, outputs))
        onnx.save(model, path)
        assert deployed.quantised == expected, name
