"""Attributions against closed formulas of a linear model, gradients by hand, and brute force."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.explain.baselines import baseline
from blurvote.benchmarks.robustness.explain.cases import Case, open_case
from blurvote.benchmarks.robustness.explain.explaining import VOTE, explain
from blurvote.benchmarks.robustness.explain.maps import read_window
from blurvote.benchmarks.robustness.explain.methods import Settings, attribute, evaluations
from blurvote.benchmarks.robustness.explain.quantity import (
    ViewScore,
    counted_views,
    score,
    split,
)
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.export.reference import view_matrices
from blurvote.runtime import Defense, GuardMetadata
from blurvote.runtime.decision import Outcome
from blurvote.runtime.errors import SourceError
from tests.conftest import ONE_THREAD

# Not square anywhere, so that a swap of rows and columns cannot go unnoticed.
WIDE = Defense(resize=13, crop=(9, 11), std=(0.2, 0.5, 0.3))
HEIGHT, WIDTH, CLASSES = 17, 23, 4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the frames are tiny
    yield
    torch.set_num_threads(before)


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture
def weights() -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.1, (CLASSES, 3, 9, 11))


@pytest.fixture
def linear(tmp_path: Path, weights: np.ndarray) -> Twin:
    """Logits = weights times views: everything about it can be written down."""
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node("Flatten", ["views"], ["flat"]),
                helper.make_node("Gemm", ["flat", "w", "b"], ["logits"], transB=1),
            ],
            "linear",
            [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["B", 3, 9, 11])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", CLASSES])],
            [
                numpy_helper.from_array(weights.reshape(CLASSES, -1).astype(np.float32), "w"),
                numpy_helper.from_array(np.arange(CLASSES, dtype=np.float32), "b"),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    for key, value in GuardMetadata("views", WIDE).to_map().items():
        model.metadata_props.add(key=key, value=value)
    path = tmp_path / "linear.onnx"
    onnx.save(model, str(path))
    return Twin.load(path)


def closed_gradient(weights: np.ndarray, view: int, target: int) -> np.ndarray:
    """d logit / d frame of the linear model, `(3, H, W)` float64."""
    matrices = view_matrices(WIDE, HEIGHT, WIDTH)
    scaled = weights[target] / np.array(WIDE.std)[:, None, None]
    return matrices.rows[view].T @ scaled @ matrices.cols[view]


def case_of(frame: np.ndarray, labels: tuple[int, ...], target: int) -> Case:
    confidences = tuple(0.5 for _ in labels)
    return Case("clean", frame, labels, confidences, Outcome(target, None, 0.5), target, target)


@pytest.mark.parametrize("view", [0, 1, 2])
def test_linear_gradient_x_input_is_weights_times_pixels(
    linear: Twin, weights: np.ndarray, frame: np.ndarray, view: int
) -> None:
    planes = case_of(frame, (2, 2, 2), 2).planes
    found = attribute(
        "gradient-x-input",
        ViewScore(split(linear)[view], 2, "logit"),
        planes,
        read_window(WIDE, HEIGHT, WIDTH),
        Settings(),
    )
    expected = closed_gradient(weights, view, 2) * planes
    np.testing.assert_allclose(found.values, expected, atol=1e-5)  # float32 sums of 300 products


@pytest.mark.parametrize("start", ["black", "grey", "white", "blur"])
def test_linear_integrated_gradients_are_weights_times_the_way_from_the_baseline(
    linear: Twin, weights: np.ndarray, frame: np.ndarray, start: str
) -> None:
    planes = case_of(frame, (1, 1, 1), 1).planes
    found = attribute(
        "integrated-gradients",
        ViewScore(split(linear)[1], 1, "logit"),
        planes,
        read_window(WIDE, HEIGHT, WIDTH),
        Settings(baseline=start, steps=3),  # a constant integrand needs no more
    )
    expected = closed_gradient(weights, 1, 1) * (planes - baseline(start, planes))
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert found.delta is not None
    assert found.baseline_score is not None
    assert abs(found.delta) < 1e-4
    assert found.values.sum() == pytest.approx(found.score - found.baseline_score, abs=1e-4)


def test_captum_gradient_equals_one_taken_by_hand(
    conv_guard: Callable[..., Path], frame: np.ndarray
) -> None:
    twin = Twin.load(conv_guard(defense=WIDE, classes=5))
    planes = case_of(frame, (3,) * 3, 3).planes
    for view, alone in enumerate(split(twin)):
        found = attribute(
            "gradient-x-input",
            ViewScore(alone, 3),
            planes,
            read_window(WIDE, HEIGHT, WIDTH),
            Settings(),
        )
        pixels = torch.from_numpy(planes)[None].double().requires_grad_()
        share = twin.logits(pixels.float())[0, view].double().softmax(0)[3]
        (gradient,) = torch.autograd.grad((share / (1 - share)).log(), pixels)
        by_hand = (gradient * pixels)[0].detach().numpy()
        np.testing.assert_allclose(found.values, by_hand, rtol=1e-3, atol=1e-6)
        assert np.abs(by_hand).max() > 1e-3


def test_completeness_improves_with_steps(
    conv_guard: Callable[..., Path], frame: np.ndarray
) -> None:
    alone = split(Twin.load(conv_guard(defense=WIDE, classes=5)))[0]
    planes = case_of(frame, (0,), 0).planes
    deltas = []
    for steps in (2, 200):
        found = attribute(
            "integrated-gradients",
            ViewScore(alone, 0),
            planes,
            read_window(WIDE, HEIGHT, WIDTH),
            Settings(steps=steps),
        )
        assert found.delta is not None
        assert found.baseline_score is not None
        missed = found.values.sum() - (found.score - found.baseline_score)
        assert found.delta == pytest.approx(missed, abs=1e-5)
        deltas.append(abs(found.delta))
    assert deltas[1] < 1e-3
    assert deltas[1] < deltas[0]


def test_occlusion_equals_brute_force(conv_guard: Callable[..., Path], frame: np.ndarray) -> None:
    twin = Twin.load(conv_guard(defense=WIDE, classes=5))
    planes = case_of(frame, (2,) * 3, 2).planes
    window = read_window(WIDE, HEIGHT, WIDTH)
    settings = Settings(patch=0.3, stride=0.2, occlusion_baseline="white")
    calls = 0

    def count(frames: int) -> None:
        nonlocal calls
        calls += frames

    alone = split(twin)[1]
    found = attribute("occlusion", ViewScore(alone, 2, done=count), planes, window, settings)
    right = window.right
    short = min(window.bottom - window.top, right - window.left)
    side, stride = round(0.3 * short), round(0.2 * short)

    def log_odds(picture: np.ndarray) -> float:
        with torch.no_grad():
            share = twin.logits(torch.from_numpy(picture)[None])[0, 1].double().softmax(0)[2]
        return float((share / (1 - share)).log())

    falls, cover = np.zeros((HEIGHT, WIDTH)), np.zeros((HEIGHT, WIDTH))
    places = 0
    for top in places_of(window.top, window.bottom, side, stride):
        for left in places_of(window.left, right, side, stride):
            square = np.s_[top : min(top + side, window.bottom), left : min(left + side, right)]
            covered = planes.copy()
            covered[(slice(None), *square)] = 1.0
            falls[square] += log_odds(planes) - log_odds(covered)
            cover[square] += 1
            places += 1
    expected = np.divide(falls, cover, out=np.zeros_like(falls), where=cover > 0)
    np.testing.assert_allclose(found.values[0], expected, atol=1e-5)
    assert (found.values == found.values[0]).all()
    assert (cover[window.top : window.bottom, window.left : window.right] > 0).all()
    assert evaluations("occlusion", window, settings) == places
    assert places < calls <= places + 2  # and the frame itself


def places_of(low: int, high: int, side: int, stride: int) -> list[int]:
    """Where squares begin: as far as the first that reaches the end."""
    places = [low]
    while places[-1] + side < high:
        places.append(places[-1] + stride)
    return places


def test_log_odds_are_those_of_the_softmax_and_do_not_flatten() -> None:
    logits = torch.tensor([[1.0, 2.0, -0.5], [60.0, 0.0, 1.0]], dtype=torch.float64)
    share = logits[0].softmax(0)
    for target in range(3):
        expected = float((share[target] / (1 - share[target])).log())
        assert float(score(logits, target, "log-odds")[0]) == pytest.approx(expected)
    sure = logits.float().requires_grad_()
    (gradient,) = torch.autograd.grad(score(sure, 0, "log-odds").sum(), sure)
    assert float(gradient[1, 0]) == 1.0
    shifted = score(logits + 7, 1, "log-odds")
    torch.testing.assert_close(shifted, score(logits, 1, "log-odds"))


@pytest.mark.parametrize(
    ("decision", "labels", "target", "expected"),
    [
        ("majority", (5, 2, 5), 5, (0, 2)),
        ("majority", (5, 2, 5), 2, (1,)),
        ("majority", (5, 2, 5), 9, (0, 1, 2)),
        ("single", (5, 2, 5), 5, (1,)),
        ("mean", (5, 2, 5), 5, (0, 1, 2)),
    ],
)
def test_views_that_stand_for_the_vote(
    decision: str, labels: tuple[int, ...], target: int, expected: tuple[int, ...]
) -> None:
    defense = Defense(decision=decision)  # type: ignore[arg-type]
    assert counted_views(defense, labels, target) == expected


@pytest.mark.parametrize("method", ["gradient-x-input", "integrated-gradients", "occlusion"])
def test_vote_explains_the_mean_of_its_voters(
    conv_guard: Callable[..., Path], frame: np.ndarray, method: str
) -> None:
    """Taken of the mean itself, by captum on all views at once."""
    from captum.attr import InputXGradient, IntegratedGradients

    path = conv_guard(defense=WIDE, classes=5)
    twin = Twin.load(path)
    case = case_of(frame, (4, 1, 4), 4)
    settings = Settings(steps=8)
    found = explain(method, case, split(twin), WIDE, settings)  # type: ignore[arg-type]
    assert list(found.planes) == ["clean", "single-blur", "double-blur", VOTE]
    assert found.counted == ("clean", "double-blur")

    def vote(frames: torch.Tensor) -> torch.Tensor:
        logits = twin.logits(frames)
        return (score(logits[:, 0], 4, "log-odds") + score(logits[:, 2], 4, "log-odds")) / 2

    pixels = torch.from_numpy(case.planes)[None].requires_grad_()
    if method == "occlusion":
        parts = [found.attributions[name].values for name in found.counted]
        expected = sum(parts) / 2
    elif method == "gradient-x-input":
        expected = InputXGradient(vote).attribute(pixels)[0].detach().numpy()
        strength = np.abs(expected).sum(axis=0)
        np.testing.assert_allclose(found.planes[VOTE], strength / strength.max(), atol=1e-4)
    else:
        expected = IntegratedGradients(vote).attribute(pixels, n_steps=8)[0].detach().numpy()
    np.testing.assert_allclose(found.attributions[VOTE].values, expected, atol=1e-5)


def test_a_rejected_frame_is_explained_by_its_clean_view(
    conv_guard: Callable[..., Path], frame: np.ndarray
) -> None:
    deployed = Deployed(conv_guard(defense=WIDE, classes=5), ONE_THREAD)
    view = int(deployed.logits(frame)[0].argmax())
    deployed.decide = lambda logits: Outcome(-1, "no_majority", None)  # type: ignore[method-assign]
    case = open_case("clean", frame, deployed, None)
    assert (case.target, case.answer) == (view, view)
    assert open_case("clean", frame, deployed, 3).target == 3


def test_baseline_of_a_file_is_stretched_to_the_frame(tmp_path: Path) -> None:
    import cv2

    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    found = baseline(str(path), np.zeros((3, 5, 7), np.float32))
    assert found.shape == (3, 5, 7)
    assert (found == np.array([1, 0, 0], np.float32)[:, None, None]).all()


def test_unknown_baseline_names_the_known_ones() -> None:
    with pytest.raises(SourceError, match="'gray' is neither black, grey, white, blur nor a pict"):
        baseline("gray", np.zeros((3, 5, 7), np.float32))
