"""Guards end to end: a small one whose answers are known, and real models on real images."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.runtime import (
    Defense,
    DefenseError,
    Frame,
    FrameError,
    Guard,
    GuardError,
    PlanError,
    Verdict,
)
from tests.conftest import SMALL

MakeGuard = Callable[..., Path]


@pytest.mark.parametrize("plan", ["batched", "cascade", "auto"])
def test_a_verdict(make_guard: MakeGuard, red_frame: np.ndarray, plan: Any) -> None:
    with Guard(make_guard(), plan=plan, threads=1) as guard:
        verdict = guard.classify(red_frame)
        blue = guard.classify(red_frame, colour="bgr")
    assert (verdict.label, verdict.name, verdict.reason) == (0, "red", None)
    assert verdict.accepted
    assert verdict.disagreement is False
    assert verdict.confidence is not None
    assert verdict.confidence > 0.9
    assert blue.name == "blue"
    if plan == "cascade":
        assert verdict.view_labels == (0, 0, None)
        assert verdict.count is None
    if plan == "batched":
        assert verdict.view_labels == (0, 0, 0)
        assert verdict.count == 3
    assert verdict.stage_ms.total == pytest.approx(
        verdict.stage_ms.views + verdict.stage_ms.inference + verdict.stage_ms.vote
    )
    assert json.loads(json.dumps(verdict.to_dict()))["accepted"] is True


def test_a_frame_keeps_its_identity(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    guard = Guard(make_guard())
    verdict = guard.classify(Frame(red_frame[..., ::-1].copy(), "bgr", "cam", 7, 0.0))
    assert (verdict.name, verdict.source, verdict.sequence) == ("red", "cam", 7)
    assert verdict.age_ms > 0


@pytest.mark.parametrize("plan", ["batched", "cascade"])
def test_a_batch_of_differing_sizes_equals_its_frames(make_guard: MakeGuard, plan: Any) -> None:
    random = np.random.default_rng(1)
    frames = [random.integers(0, 256, (20 + 7 * n, 64, 3), dtype=np.uint8) for n in range(6)]
    guard = Guard(make_guard(), plan=plan)
    for alone, together in zip(
        map(guard.classify, frames), guard.classify_batch(frames), strict=True
    ):
        assert alone.view_labels == together.view_labels
        assert alone.label == together.label
        assert alone.confidence == pytest.approx(together.confidence, abs=1e-5)
    assert guard.classify_batch([]) == []


def test_single_builds_one_view(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    guard = Guard(make_guard(defense=Defense(resize=20, crop=(16, 16), decision="single")))
    verdict = guard.classify(red_frame)
    assert verdict.view_labels == (0,)
    assert verdict.disagreement is None
    assert guard.plan == "batched"


def test_mean_and_its_threshold(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    path = make_guard(defense=Defense(resize=20, crop=(16, 16), decision="mean", threshold=0.5))
    verdict = Guard(path).classify(red_frame)
    assert (verdict.name, verdict.count) == ("red", 3)
    grey = np.full((40, 40, 3), 99, np.uint8)
    strict = Guard(path, threshold=1.0).classify(grey)
    assert (strict.label, strict.reason, strict.name) == (-1, "low_confidence", None)
    assert strict.confidence is not None


def test_labels_are_optional(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    verdict = Guard(make_guard(labels=False)).classify(red_frame)
    assert (verdict.label, verdict.name) == (0, None)


def test_threads_share_a_guard(make_guard: MakeGuard) -> None:
    guard = Guard(make_guard(), threads=2)
    frames = [np.full((30 + n, 40, 3), (200, 0, 0), np.uint8) for n in range(8)]
    frames += [np.full((30 + n, 40, 3), (0, 0, 200), np.uint8) for n in range(8)]
    got: list[Verdict | None] = [None] * len(frames)

    def work(start: int) -> None:
        for n in range(start, len(frames), 4):
            for _ in range(5):
                got[n] = guard.classify(frames[n])

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [verdict and verdict.name for verdict in got] == ["red"] * 8 + ["blue"] * 8


BAD_USES: dict[str, tuple[Callable[[MakeGuard], Any], type[Exception], str]] = {
    "plan": (
        lambda make: Guard(make(), plan="turbo"),  # type: ignore[arg-type]
        PlanError,
        "'turbo'; expected 'auto', 'batched' or 'cascade'",
    ),
    "cascade of a mean": (
        lambda make: Guard(
            make(defense=Defense(resize=20, crop=16, decision="mean", threshold=0.1)),
            plan="cascade",
        ),
        PlanError,
        "'mean' averages over all views; use plan='batched'",
    ),
    "cascade of one view": (
        lambda make: Guard(
            make(defense=Defense(resize=20, crop=16, decision="single")), plan="cascade"
        ),
        PlanError,
        "fewer than three views",
    ),
    "threshold of a majority": (
        lambda make: Guard(make(), threshold=0.5),
        GuardError,
        "decides by 'majority'; only the decision 'mean' has a threshold",
    ),
    "mean without a threshold": (
        lambda make: Guard(make(defense=Defense(resize=20, crop=16, decision="mean"))),
        GuardError,
        "no threshold; fit one with blurvote calibrate",
    ),
    "threshold out of range": (
        lambda make: Guard(
            make(defense=Defense(resize=20, crop=16, decision="mean")), threshold=1.5
        ),
        GuardError,
        "threshold is 1.5; expected a number from 0 to 1",
    ),
    "greyscale": (
        lambda make: Guard(make()).classify(np.zeros((40, 40), np.uint8)),
        FrameError,
        "looks greyscale .pass colour=.gray",
    ),
    "one bad frame of a batch": (
        lambda make: Guard(make()).classify_batch(
            [np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40, 4), np.uint8)]
        ),
        FrameError,
        "looks like RGBA",
    ),
    "colour": (
        lambda make: Guard(make()).classify(np.zeros((40, 40, 3), np.uint8), colour="yuv"),  # type: ignore[arg-type]
        FrameError,
        "colour is 'yuv'",
    ),
    "frame size": (
        lambda make: Guard(make()).classify(np.zeros((2, 40, 3), np.uint8)),
        DefenseError,
        "frames of 40x2 px",
    ),
}


@pytest.mark.parametrize("case", BAD_USES)
def test_mistakes_are_explained(make_guard: MakeGuard, case: str) -> None:
    use, error, message = BAD_USES[case]
    with pytest.raises(error, match=message):
        use(make_guard)


def test_a_closed_guard_is_gone(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    with Guard(make_guard()) as guard:
        pass
    with pytest.raises(GuardError, match="closed"):
        guard.classify(red_frame)


def test_a_guard_closed_during_an_inference_says_so(
    make_guard: MakeGuard, red_frame: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As another thread may close it at any time."""
    guard = Guard(make_guard(), provider="cpu")
    run = guard._engine.run

    def closed(*args: Any, **options: Any) -> Any:
        guard.close()
        return run(*args, **options)

    monkeypatch.setattr(guard._engine, "run", closed)
    with pytest.raises(GuardError, match="was closed; load it again"):
        guard.classify(red_frame)


def test_a_backbone_that_fails_is_reported(make_guard: MakeGuard, red_frame: np.ndarray) -> None:
    """A guard whose graph expects another grid than its defence makes."""
    path = make_guard(defense=Defense(resize=30, crop=(24, 24)))
    with pytest.raises(GuardError, match=r"failed on an input of shape \(\d, 3, 24, 24\)"):
        Guard(path).classify(red_frame)


def test_effective_sigma_is_visible(make_guard: MakeGuard) -> None:
    single = Guard(make_guard()).effective_sigma(1080, 1920)[1]
    assert single[0] == pytest.approx(0.961 * SMALL.resize / 1080, rel=1e-3)
