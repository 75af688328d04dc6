"""The twin of an adaptive guard, and the objectives against its switch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from blurvote.benchmarks.robustness.attacks.acceptance import acceptance_margin
from blurvote.benchmarks.robustness.attacks.switch import OneSet, of_active_set, of_switch
from blurvote.benchmarks.robustness.denoiser_module import denoiser_module
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.benchmarks.robustness.twin_check import check_twin
from blurvote.runtime import GuardError
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.vote import REJECTED
from tests.benchmarks.robustness.conftest import ADAPTIVE
from tests.benchmarks.robustness.test_deployed_adaptive import frames
from tests.conftest import ONE_THREAD

MakeGuard = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].float() / 255


def test_logits_are_those_of_the_guard(conv_guard: MakeGuard) -> None:
    """Quiet frames and noisy ones, one by one, and mixed in a batch."""
    path = conv_guard(defense=ADAPTIVE, classes=10, seed=9)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    drawn = frames(12)
    check = check_twin(twin, deployed, drawn)
    assert check.agreeing == check.compared > 30
    assert check.largest_logit_difference < 1e-4
    pair = [drawn[0][:50, :50], drawn[2][:50, :50]]
    answers = [deployed.answer(np.ascontiguousarray(one)) for one in pair]
    assert [answer.denoised for answer in answers] == [False, True]
    found = twin.logits(torch.cat([tensor(one) for one in pair]))
    expected = np.stack([answer.logits for answer in answers])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_either_set_can_be_asked(conv_guard: MakeGuard) -> None:
    path = conv_guard(defense=ADAPTIVE, classes=10, seed=9)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    calm, _, loud, _ = frames(4)
    answer = deployed.answer(loud, quiet=True)
    np.testing.assert_allclose(twin.set_logits(tensor(loud), True)[0], answer.logits, atol=1e-4)
    np.testing.assert_allclose(twin.set_logits(tensor(loud), False)[0], answer.quiet, atol=1e-4)
    # A quiet frame through the other set: as if it read just what the switch asks for.
    height, width = calm.shape[:2]
    gain = deployed._builder(ADAPTIVE).noise_gain(height, width)
    views = deployed._builder(ADAPTIVE).build(calm)
    forced = deployed.judge(views, 1.0000001 * ADAPTIVE.noise_switch[1] / gain, height, width)
    assert forced.denoised
    np.testing.assert_allclose(twin.set_logits(tensor(calm), True)[0], forced.logits, atol=1e-4)
    assert np.abs(forced.logits - deployed.logits(calm)).max() > 1e-2


def test_another_denoiser_is_found_out(conv_guard: MakeGuard) -> None:
    path = conv_guard(defense=ADAPTIVE, classes=10, seed=9)
    twin = Twin.load(path)
    twin.denoiser = lambda noisy: torch.zeros(len(noisy), 2, 3, 32, 32)
    deployed = Deployed(path, ONE_THREAD)
    with pytest.raises(GuardError, match="is no twin of"):
        check_twin(twin, deployed, frames(16))


def test_gradients_go_through_the_set_that_is_active(conv_guard: MakeGuard) -> None:
    """Against finite differences of the denoised views, along the gradient."""
    twin = Twin.load(conv_guard(defense=ADAPTIVE, classes=5))
    loud = tensor(frames(4)[2])
    frame = loud.clone().requires_grad_(True)
    random = torch.Generator().manual_seed(1)
    weights = torch.randn(3, 5, generator=random)
    (gradient,) = torch.autograd.grad((twin.logits(frame)[0] * weights).sum(), frame)
    level = twin.noise.levels(loud) if twin.noise else None
    assert level is not None
    way = gradient / gradient.abs().max()  # where the change is larger than the rounding
    values = []
    with torch.no_grad():
        for step in (-1e-3, 1e-3):
            moved = loud + step * way
            assert twin.noise is not None
            # The level is told as it is read, and has no gradient: held fixed here, too.
            twin.noise.levels = lambda frames: level  # type: ignore[method-assign]
            values.append(float((twin.set_logits(moved, True)[0] * weights).sum()))
    expected = (values[1] - values[0]) / 2e-3
    assert float((gradient * way).sum()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("decision", ["majority", "mean"])
def test_objectives_are_above_nothing_just_where_the_guard_is_fooled(
    conv_guard: MakeGuard, decision: Any
) -> None:
    fields: dict[str, Any] = {"decision": decision}
    if decision == "mean":
        fields |= {"threshold": 0.115, "noisy_threshold": 0.14}
    path = conv_guard(defense=replace(ADAPTIVE, **fields), classes=10, seed=9)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    seen = set()
    for pixels in frames(40):
        answer = deployed.answer(pixels)
        label = deployed.decide(answer.logits, answer.denoised).label
        for truth in (label, 3):
            labels = torch.tensor([max(truth, 0)])
            fooled = label not in (REJECTED, int(labels[0]))

            def make(guard: Any, labels: torch.Tensor = labels) -> Any:
                return acceptance_margin(guard, labels)

            with torch.no_grad():
                values = [
                    float(objective(tensor(pixels)))
                    for objective in (
                        of_active_set(twin, make),
                        of_switch(twin, make, answer.denoised),
                        of_switch(twin, make, not answer.denoised),
                    )
                ]
            assert (values[0] > 0) == fooled
            # Where the switch is as wanted, it is the set's own; else far below any success.
            if float(twin.noise.distance(tensor(pixels), answer.denoised)) == 0:  # type: ignore[union-attr]
                assert values[1] == pytest.approx(values[0], abs=1e-5)
            assert values[2] < -50
            seen.add((answer.denoised, fooled))
    assert len(seen) == 4


def test_each_set_has_its_own_threshold(conv_guard: MakeGuard) -> None:
    fields: dict[str, Any] = {"decision": "mean", "threshold": 0.2, "noisy_threshold": 0.4}
    twin = Twin.load(conv_guard(defense=replace(ADAPTIVE, **fields)))
    assert [OneSet(twin, noisy).defense.threshold for noisy in (False, True)] == [0.2, 0.4]


def test_shrinking_is_as_onnx_defines_it() -> None:
    """`SpaceToDepth`, which onnx2torch does not know, against ONNX Runtime."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [5], [-1, 2, 3, 4, 4])
    cut = {name: helper.make_tensor(name, TensorProto.INT64, [1], [value])
           for name, value in (("zero", 0), ("one", 1), ("six", 6))}  # fmt: skip
    graph = helper.make_graph(
        [
            helper.make_node("SpaceToDepth", ["noisy"], ["small"], blocksize=2),
            helper.make_node("Slice", ["small", "zero", "six", "one"], ["part"]),
            helper.make_node("Reshape", ["part", "shape"], ["views"]),
        ],
        "shrink",
        [helper.make_tensor_value_info("noisy", TensorProto.FLOAT, ["B", 4, 8, 8])],
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 2, 3, 4, 4])],
        [shape, *cut.values()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    data = bytes(model.SerializeToString())
    noisy = np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)
    engine = open_engine(ModelBytes(Path("g"), "denoiser", data, "noisy", (4, 8, 8)), ONE_THREAD)
    (expected,) = engine.run(noisy, ["views"])
    found = denoiser_module(data, (8, 8))(torch.from_numpy(noisy))
    np.testing.assert_array_equal(found.numpy(), expected)
