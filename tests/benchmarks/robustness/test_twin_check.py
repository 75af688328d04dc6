"""Whether a twin that is none is found out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.benchmarks.robustness.twin_check import check_twin
from blurvote.runtime.errors import GuardError
from tests.conftest import ONE_THREAD


@pytest.fixture
def frames() -> list[np.ndarray]:
    random = np.random.default_rng(4)
    sizes = ((23, 31), (40, 21), (64, 64), (20, 33))
    return [random.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def test_own_twin_agrees(conv_guard: Callable[..., Path], frames: list[np.ndarray]) -> None:
    path = conv_guard(classes=7)
    check = check_twin(Twin.load(path), Deployed(path, ONE_THREAD), frames)
    assert (check.frames, check.views, check.quantised) == (4, 12, False)
    assert check.agreeing == check.compared > 0
    assert 0 < check.largest_logit_difference < 1e-4 * check.logit_range
    assert check.in_words().startswith(
        f"the twin's label equals the guard's in {check.compared} of {check.compared} views"
    )


def test_another_model_is_no_twin(
    conv_guard: Callable[..., Path], frames: list[np.ndarray]
) -> None:
    guard = conv_guard(classes=7)
    other = conv_guard("other.onnx", classes=7, seed=1)
    with pytest.raises(GuardError, match=r"is no twin of .*names another class in .*as --twin"):
        check_twin(Twin.load(guard, other), Deployed(guard, ONE_THREAD), frames)


def test_other_number_of_classes(conv_guard: Callable[..., Path], frames: list[np.ndarray]) -> None:
    guard = conv_guard(classes=7, labels=())  # with labels, loading finds it out
    other = conv_guard("other.onnx", classes=5)
    with pytest.raises(GuardError, match=r"other\.onnx has 5 classes and .*conv\.onnx has 7"):
        check_twin(Twin.load(guard, other), Deployed(guard, ONE_THREAD), frames)


def test_quantised_guard_may_differ_and_says_so(
    conv_guard: Callable[..., Path], frames: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    guard = conv_guard(classes=7)
    other = conv_guard("other.onnx", classes=7, seed=1)
    monkeypatch.setattr(Deployed, "quantised", True)
    check = check_twin(Twin.load(guard, other), Deployed(guard, ONE_THREAD), frames)
    assert check.agreeing < check.compared
    assert check.in_words().endswith("so its float twin only approximates it")


def test_near_ties_are_not_compared(
    conv_guard: Callable[..., Path], frames: list[np.ndarray]
) -> None:
    path = conv_guard(classes=7)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    logits = np.concatenate([deployed.logits(frame) for frame in frames]).astype(np.float64)
    top = np.sort(logits, axis=1)
    relative = (top[:, -1] - top[:, -2]) / (top[:, -1] - top[:, 0])
    middle = float(np.median(relative))
    check = check_twin(twin, deployed, frames, tolerance=middle)
    assert check.compared == int((relative > middle).sum()) < check.views


def test_sum_of_checks(conv_guard: Callable[..., Path], frames: list[np.ndarray]) -> None:
    path = conv_guard(classes=7)
    twin, deployed = Twin.load(path), Deployed(path, ONE_THREAD)
    parts = [check_twin(twin, deployed, [frame]) for frame in frames]
    assert parts[0] + parts[1] + parts[2] + parts[3] == check_twin(twin, deployed, frames)
