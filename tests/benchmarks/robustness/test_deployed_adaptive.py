"""A guard whose noisy frames have views of their own, as the lab asks it, against `Guard`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from blurvote.benchmarks.robustness.defenses import noisy_places, plain
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.export.pipeline import export_guard
from blurvote.export.reference import build_views
from blurvote.runtime import Defense, Guard, GuardError
from blurvote.runtime.noise import noise_level, noise_reading
from tests.benchmarks.robustness.conftest import ADAPTIVE, stand_in_views
from tests.conftest import ONE_THREAD

MakeGuard = Callable[..., Path]
DECISIONS: dict[str, dict[str, Any]] = {
    "majority": {},
    "single": {"decision": "single"},
    "mean": {"decision": "mean", "threshold": 0.115, "noisy_threshold": 0.14},
    "all views denoised": {"noisy_views": ("90%-denoised", "denoised", "denoised-single-blur")},
}


def frames(count: int) -> list[np.ndarray]:
    """Waves under no noise or much, of sizes with at least one segment to read."""
    random = np.random.default_rng(5)
    drawn = []
    for n in range(count):
        height, width = random.integers(50, 90, 2)
        y, x = np.mgrid[:height, :width]
        light, amplitude = random.integers(40, 216, 3), random.integers(0, 60, 3)
        waves = np.sin(x * random.uniform(0, 0.4) + y * random.uniform(0, 0.4))[..., None]
        noise = random.normal(0, (0, 2, 60, 110)[n % 4], (height, width, 3))
        drawn.append(np.clip(light + amplitude * waves + noise, 0, 255).astype(np.uint8))
    return drawn


@pytest.mark.parametrize("fields", DECISIONS.values(), ids=DECISIONS.keys())
def test_it_decides_as_the_guard_does(conv_guard: MakeGuard, fields: dict[str, Any]) -> None:
    path = conv_guard(defense=replace(ADAPTIVE, **fields), classes=10, seed=9)
    deployed = Deployed(path, ONE_THREAD)
    seen = set()
    with Guard(path, "cpu", "batched", 1) as guard:
        for pixels in frames(60):
            answer, verdict = deployed.answer(pixels), guard.classify(pixels)
            outcome = deployed.decide(answer.logits, answer.denoised)
            assert (outcome.label, outcome.reason) == (verdict.label, verdict.reason)
            assert (answer.noise, answer.denoised) == (verdict.noise, verdict.denoised)
            assert outcome.confidence == pytest.approx(verdict.confidence, abs=1e-5)
            np.testing.assert_array_equal(deployed.logits(pixels), answer.logits)
            seen.add((answer.denoised, outcome.label))
    assert {denoised for denoised, _ in seen} == {True, False}
    assert len({label for _, label in seen}) > 2


def test_views_and_levels_are_those_of_the_definition(conv_guard: MakeGuard) -> None:
    """The denoiser by hand, the noise by the NumPy definition on the rows that the grid has."""
    deployed = Deployed(conv_guard(defense=ADAPTIVE, classes=10), ONE_THREAD)
    quiet = plain(ADAPTIVE)
    assert noisy_places(ADAPTIVE) == [3, 4, 2]
    noisy = 0
    for pixels in frames(16):
        height, width = pixels.shape[:2]
        # Short side to 36, the middle 32 rows of it, every eighth from the fifth on.
        resized = int(36 * max(height, width) / min(height, width)) if height > width else 36
        offset = round((resized - 32) / 2)
        rows = [(2 * (offset + i) + 1) * height // (2 * resized) for i in range(4, 32, 8)]
        clean = build_views(plain(ADAPTIVE, (0,)), pixels)[0]
        answer = deployed.answer(pixels, quiet=True)
        views = build_views(quiet, pixels)
        expected = deployed.view_logits(views.astype(np.float32))
        np.testing.assert_allclose(answer.quiet, expected, atol=1e-4)
        assert answer.noise is not None
        whole = noise_reading(pixels, rows=rows)  # of all columns: not quite the same segments
        assert whole is not None
        assert answer.noise == pytest.approx(noise_level(whole), rel=0.25, abs=0.01)
        gain = deployed._builder(ADAPTIVE).noise_gain(height, width)
        assert answer.denoised == (answer.noise * gain >= 0.05)
        if answer.denoised:
            noisy += 1
            denoised = stand_in_views(ADAPTIVE, clean, answer.noise * gain)
            chosen = np.stack([*denoised, views[2]])
            expected = deployed.view_logits(chosen.astype(np.float32))
        np.testing.assert_allclose(answer.logits, expected, atol=1e-4)
    assert 4 <= noisy <= 12


def test_a_view_of_both_sets_is_inferred_once(
    conv_guard: MakeGuard, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed = Deployed(conv_guard(defense=ADAPTIVE), ONE_THREAD)
    batches: list[int] = []
    real = deployed.view_logits

    def counted(views: Any) -> Any:
        batches.append(len(views))
        return real(views)

    monkeypatch.setattr(deployed, "view_logits", counted)
    calm, _, loud, _ = frames(4)
    for pixels in (calm, loud):
        for quiet in (False, True):
            deployed.answer(pixels, quiet=quiet)
    assert batches == [3, 3, 3, 5]  # three quiet views and two denoised ones: double blur is shared


def test_a_frame_without_an_estimate_is_quiet(conv_guard: MakeGuard) -> None:
    """Narrower than one segment of 32 pixels and its borders."""
    deployed = Deployed(conv_guard(defense=Defense(**_small())), ONE_THREAD)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 33, 3), dtype=np.uint8)
    answer = deployed.answer(pixels)
    assert (answer.noise, answer.denoised) == (None, False)
    assert deployed.answer(np.tile(pixels, (2, 2, 1))).denoised


def _small() -> dict[str, Any]:
    names = ("denoised", "50%-denoised", "double-blur")
    return {"resize": 20, "crop": (16, 16), "noisy_views": names}


def test_other_views_are_the_same_for_every_frame(conv_guard: MakeGuard) -> None:
    deployed = Deployed(conv_guard(defense=ADAPTIVE), ONE_THREAD)
    loud = frames(4)[2]
    answer = deployed.answer(loud, quiet=True)
    assert answer.denoised
    np.testing.assert_allclose(deployed.logits(loud, plain(ADAPTIVE)), answer.quiet, atol=1e-5)


def test_each_set_may_have_a_threshold(conv_guard: MakeGuard) -> None:
    fields = {"decision": "mean", "threshold": 0.0, "noisy_threshold": 1.0}
    deployed = Deployed(conv_guard(defense=replace(ADAPTIVE, **fields)), ONE_THREAD)
    logits = np.zeros((3, 3), np.float32)
    assert deployed.decide(logits).reason is None
    assert deployed.decide(logits, denoised=True).reason == "low_confidence"
    broken = conv_guard(defense=replace(ADAPTIVE, decision="mean", threshold=0.1))
    with pytest.raises(GuardError, match="no threshold"):
        Deployed(broken, ONE_THREAD)


def test_a_frames_guard_is_asked_likewise(conv_guard: MakeGuard, tmp_path: Path) -> None:
    """With the denoiser that blurvote ships, in its own graph; a fixed size has one gain."""
    model = onnx.load(conv_guard(classes=10, seed=9, defense=plain(ADAPTIVE)))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "bare.onnx")
    path = tmp_path / "frames.onnx"
    export_guard(
        tmp_path / "bare.onnx", path, kind="frames", frame_size=(50, 60), defense=ADAPTIVE,
        denoiser="shipped",
    )  # fmt: skip
    deployed = Deployed(path, ONE_THREAD)
    assert (deployed.metadata.kind, deployed.classes) == ("frames", 10)
    seen = set()
    with Guard(path, "cpu", "batched", 1) as guard:
        for whole in frames(16):
            pixels = np.ascontiguousarray(
                np.pad(whole, [(0, 50), (0, 60), (0, 0)], "wrap")[:50, :60]
            )
            answer, verdict = deployed.answer(pixels), guard.classify(pixels)
            outcome = deployed.decide(answer.logits, answer.denoised)
            assert (outcome.label, outcome.reason) == (verdict.label, verdict.reason)
            assert (answer.noise, answer.denoised) == (verdict.noise, verdict.denoised)
            seen.add(answer.denoised)
            if answer.denoised:
                with pytest.raises(GuardError, match="builds its views in its graph"):
                    deployed.answer(pixels, quiet=True)
    assert seen == {True, False}
