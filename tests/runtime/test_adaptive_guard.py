"""Guards whose noisy frames have views of their own, from file to verdict."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.runtime import Defense, Frame, Guard, GuardError, Verdict, ViewBuilder
from tests.runtime.adaptive import (
    ADAPTIVE,
    BETWEEN,
    grainy,
    level_on_grid,
    marked,
    write_adaptive_guard,
)

MEAN = replace(ADAPTIVE, decision="mean", threshold=0.0, noisy_threshold=0.0)
NEARLY_GREY = (124.5, 117.0, 105.0)  # normalised close to 0, so that no softmax is as good as 1
LEVELS = {"quiet": 0.02, "noisy": 0.2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_adaptive_guard(tmp_path / "guard.onnx")


def confidence(defense: Defense, frame: NDArray[np.uint8], noisy: bool) -> float:
    """Largest mean softmax of the test's backbone over the views, in float64."""
    views = list(ViewBuilder(defense).build(frame).astype(np.float64))
    if noisy:
        level, clean = level_on_grid(defense, frame), views[0]
        views = [marked(clean, level, 0), marked(clean, level, 1), views[2]]
    logits = np.array(views).mean(axis=(2, 3)) * 50
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float((shares / shares.sum(axis=1, keepdims=True)).mean(axis=0).max())


@pytest.mark.parametrize("provider", ["cpu", "openvino", "auto"])
@pytest.mark.parametrize("kind", LEVELS)
def test_a_verdict_is_of_the_views_of_its_kind(tmp_path: Path, kind: str, provider: Any) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino")
    guard = Guard(write_adaptive_guard(tmp_path / "guard.onnx", MEAN), provider, threads=1)
    for seed in range(5):
        frame = grainy(seed, LEVELS[kind], colour=NEARLY_GREY)
        verdict = guard.classify(frame)
        assert verdict.denoised is (kind == "noisy")
        assert verdict.noise == pytest.approx(LEVELS[kind], rel=0.35)
        assert verdict.confidence == pytest.approx(
            confidence(MEAN, frame, kind == "noisy"), abs=2e-4
        )
        assert verdict.confidence != pytest.approx(
            confidence(MEAN, frame, kind == "quiet"), abs=2e-3
        )
        assert (verdict.stage_ms.denoise > 0) is (kind == "noisy")


def test_what_a_verdict_says_as_json(path: Path) -> None:
    with Guard(path, "cpu") as guard:
        for sigma in LEVELS.values():
            verdict = guard.classify(grainy(0, sigma))
            told = json.loads(json.dumps(verdict.to_dict()))
            assert told["noise"] == verdict.noise
            assert told["denoised"] is verdict.denoised is (sigma > 0.1)
            assert told["stage_ms"]["denoise"] == verdict.stage_ms.denoise


def test_a_guard_that_is_not_adaptive_tells_the_noise_too(
    make_guard: Callable[..., Path],
) -> None:
    guard = Guard(make_guard(), "cpu")
    verdict = guard.classify(grainy(0, 0.2))
    assert verdict.noise == pytest.approx(0.2, rel=0.35)
    assert not verdict.denoised
    assert guard.classify(grainy(0, 0.2, shape=(40, 20))).noise is None, "too narrow to tell"


def same(one: Verdict, other: Verdict) -> bool:
    """Whether two verdicts say the same, apart from times and views that a cascade left out."""
    votes = zip(one.view_labels, other.view_labels, strict=True)
    return (
        (one.label, one.reason, one.noise, one.denoised)
        == (other.label, other.reason, other.noise, other.denoised)
        and one.confidence == pytest.approx(other.confidence, abs=1e-5)
        and all(a == b for a, b in votes if a is not None and b is not None)
    )


@pytest.mark.parametrize(
    ("decision", "plan"), [("majority", "batched"), ("majority", "cascade"), ("single", "batched")]
)
def test_a_mixed_batch_equals_its_frames(tmp_path: Path, plan: Any, decision: Any) -> None:
    defense = replace(ADAPTIVE, decision=decision)
    path = write_adaptive_guard(tmp_path / "guard.onnx", defense)
    random = np.random.default_rng(1)
    frames = [
        grainy(seed, float(random.choice([0.02, 0.035, 0.04, 0.05, 0.2])),
               (60 + 7 * seed, 90), random.integers(60, 200, 3))
        for seed in range(24)
    ]  # fmt: skip
    frames.append(grainy(0, 0.3, (40, 24)))
    guard, whole = Guard(path, "cpu", plan, threads=1), Guard(path, "cpu", "batched", threads=1)
    together = guard.classify_batch(frames)
    assert {verdict.denoised for verdict in together} == {True, False}
    assert together[-1].noise is None
    for frame, verdict in zip(frames, together, strict=True):
        assert same(verdict, guard.classify(frame))
        assert same(verdict, whole.classify(frame))
        if verdict.noise is not None:
            assert verdict.denoised is (level_on_grid(defense, frame) >= 0.006)


def test_boxes_are_judged_by_their_own_pixels_and_leave_no_trace(path: Path) -> None:
    guard = Guard(path, "cpu", threads=1)
    pixels = np.hstack([grainy(0, 0.02), grainy(1, 0.2)])
    frame = Frame(pixels, source="door")
    boxes = [[0, 0, 128, 96], [128, 0, 256, 96], [130, 10, 240, 90]]
    verdicts = guard.classify(frame, boxes=boxes)
    assert [verdict.denoised for verdict in verdicts] == [False, True, True]
    for verdict, (x0, y0, x1, y1) in zip(verdicts, boxes, strict=True):
        assert same(verdict, guard.classify(pixels[y0:y1, x0:x1]))
    between = Frame(grainy(0, BETWEEN), source="door")
    assert not guard.classify(between).denoised, "a noisy box is no noisy stream"
    guard.classify(Frame(grainy(1, 0.2), source="door"))
    (box,) = guard.classify(between, boxes=[[0, 0, 128, 96]])
    assert not box.denoised, "nor is a box in a noisy stream"
    assert guard.classify(between).denoised


def test_boxes_fitted_the_other_way(path: Path, tmp_path: Path) -> None:
    stretched = write_adaptive_guard(tmp_path / "stretch.onnx", replace(ADAPTIVE, fit="stretch"))
    guard, other = Guard(path, "cpu"), Guard(stretched, "cpu")
    frame = grainy(3, 0.2)
    (box,) = guard.classify(frame, boxes=[[0, 0, 128, 96]], fit="stretch")
    assert box.denoised
    assert same(box, other.classify(frame))


def test_mean_has_a_threshold_for_each_kind(tmp_path: Path) -> None:
    frames = [grainy(0, sigma, colour=NEARLY_GREY) for sigma in LEVELS.values()]
    shares = [confidence(MEAN, frame, noisy) for noisy, frame in enumerate(frames)]
    for quiet, noisy in ((True, False), (False, True)):
        defense = replace(
            MEAN,
            threshold=shares[0] + (-0.01 if quiet else 0.01),
            noisy_threshold=shares[1] + (-0.01 if noisy else 0.01),
        )
        with Guard(write_adaptive_guard(tmp_path / "mean.onnx", defense), "cpu") as guard:
            assert guard.threshold == defense.threshold
            assert guard.noisy_threshold == defense.noisy_threshold
            verdicts = guard.classify_batch(frames)
            assert [verdict.accepted for verdict in verdicts] == [quiet, noisy]
            assert all(v.accepted or v.reason == "low_confidence" for v in verdicts)
    with Guard(tmp_path / "mean.onnx", "cpu", threshold=1.0) as guard:
        assert (guard.threshold, guard.noisy_threshold) == (1.0, 1.0)
        assert not any(verdict.accepted for verdict in guard.classify_batch(frames))


def test_threads_share_an_adaptive_guard(path: Path) -> None:
    guard = Guard(path, "cpu", "cascade", threads=1)
    frames = [grainy(n, (0.02, 0.2)[n % 2], (60 + n, 90 + n)) for n in range(16)]
    expected = [guard.classify(frame) for frame in frames]
    wrong: list[int] = []

    def work(start: int) -> None:
        for turn in range(30):
            n = (start + 5 * turn) % len(frames)
            if not same(guard.classify(frames[n]), expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_auto_counts_what_both_plans_pay_alike_for_neither(path: Path) -> None:
    guard = Guard(path, "cpu", "auto", threads=1)
    assert guard.auto_plan is not None
    rate = guard.auto_plan.rate
    guard.classify_batch([grainy(n, 0.2) for n in range(4)])
    assert guard.auto_plan.rate != rate, "noisy frames teach it the rate, too"


def test_a_closed_guard_runs_no_denoiser(path: Path) -> None:
    guard = Guard(path, "cpu")
    engine = guard._denoiser
    guard.close()
    assert engine is not None
    with pytest.raises(GuardError):
        engine.run(np.zeros((1, 4, 16, 16), np.float32))
    with pytest.raises(GuardError, match="closed"):
        guard.classify(grainy(0, 0.2))


def test_a_mean_without_the_threshold_of_noisy_frames(tmp_path: Path) -> None:
    path = write_adaptive_guard(tmp_path / "guard.onnx", replace(MEAN, noisy_threshold=None))
    with pytest.raises(GuardError) as caught:
        Guard(path, "cpu")
    assert str(caught.value) == (
        f"{path} decides by 'mean' but has no threshold for noisy frames; fit one with blurvote "
        f"calibrate {path} IMAGES --coverage 0.9, or pass threshold="
    )
    Guard(path, "cpu", threshold=0.5).close()


# ---- what people see ----


@pytest.mark.parametrize("decision", ["majority", "single"])
def test_the_views_that_voted_can_be_looked_at(tmp_path: Path, decision: Any) -> None:
    defense = replace(ADAPTIVE, decision=decision)
    guard = Guard(write_adaptive_guard(tmp_path / "guard.onnx", defense), "cpu")
    frame = grainy(4, 0.2)
    plain = ViewBuilder(defense).build(frame)
    level = level_on_grid(defense, frame)
    noisy = np.array([marked(plain[0], level, 0), marked(plain[0], level, 1), plain[2]])
    used = list(defense.views)
    np.testing.assert_allclose(guard.views_of(frame), plain[used], atol=1e-5, rtol=0)
    np.testing.assert_allclose(guard.views_of(frame, True), noisy[used], atol=1e-5, rtol=0)
    with pytest.raises(GuardError, match="noise cannot be estimated"):
        guard.views_of(grainy(4, 0.2, (40, 20)), True)


def test_not_all_guards_have_views_of_noisy_frames_to_show(
    make_guard: Callable[..., Path],
) -> None:
    guard = Guard(make_guard(), "cpu")
    assert guard.views_of(grainy(0, 0.2)).shape == (3, 3, 16, 16)
    with pytest.raises(GuardError, match=r"guard\.onnx has none"):
        guard.views_of(grainy(0, 0.2), True)
    guard.close()
    with pytest.raises(GuardError, match="closed"):
        guard.views_of(grainy(0, 0.2))
