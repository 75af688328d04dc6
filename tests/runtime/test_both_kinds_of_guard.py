"""A `views` guard and a `frames` guard of one model and one denoiser give the same verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from blurvote.export import export_guard
from blurvote.export.parity_frames import draw_frame
from blurvote.runtime import Guard
from blurvote.runtime.demo.scenes import add_noise
from tests.export.conftest import small_model, smoother

NAMES = ("denoised", "60%-denoised-single-blur", "double-blur")
FIELDS: dict[str, dict[str, Any]] = {
    "majority": {},
    "single": {"decision": "single"},
    "mean": {"decision": "mean", "threshold": 0.5, "noisy_threshold": 0.6},
}


@pytest.mark.parametrize("decision", FIELDS)
@pytest.mark.parametrize("frame_size", [(60, 80), "dynamic"])
def test_quiet_and_noisy_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decision: str, frame_size: Any
) -> None:
    monkeypatch.setattr("blurvote.export.parity_frames._SIZES", ((60, 80),))
    model, denoiser = tmp_path / "model.onnx", tmp_path / "denoiser.onnx"
    onnx.save(small_model(), str(model))
    onnx.save(smoother(level=["N", 1]), str(denoiser))
    fields = {"noisy_views": NAMES, "noise_switch": (0.03, 0.04), **FIELDS[decision]}
    kinds: dict[str, dict[str, Any]] = {
        "views": {},
        "frames": {"kind": "frames", "frame_size": frame_size},
    }
    guards = {}
    for kind, options in kinds.items():
        path = tmp_path / f"{kind}.onnx"
        export_guard(model, path, defense=fields, denoiser=denoiser, **options)
        guards[kind] = Guard(path, "cpu", "batched", threads=1)
    random = np.random.default_rng(0)
    frames = [np.asarray(draw_frame(60, 80, seed) // 2 + 60, np.uint8) for seed in range(12)]
    frames = [
        add_noise(frame, 0.25, random) if n % 3 == 1 else frame for n, frame in enumerate(frames)
    ]
    ours, theirs = (guards[kind].classify_batch(frames) for kind in kinds)
    assert {verdict.denoised for verdict in ours} == {True, False}
    for one, other in zip(ours, theirs, strict=True):
        assert one.noise == pytest.approx(other.noise, abs=1e-6)
        assert (one.denoised, one.label, one.reason) == (other.denoised, other.label, other.reason)
        assert one.view_labels == other.view_labels
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)
        assert other.stage_ms.denoise == 0
    for guard in guards.values():
        guard.close()
