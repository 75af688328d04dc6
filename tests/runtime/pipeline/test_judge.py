"""What a pipeline says of its guard."""

from __future__ import annotations

from pathlib import Path

from blurvote.runtime import Guard
from blurvote.runtime.pipeline.judge import Judge
from blurvote.runtime.service.console import verdict_line
from tests.runtime.adaptive import grainy, write_adaptive_guard


def test_a_guard_names_both_of_its_sets_of_views(tmp_path: Path, guard: Guard) -> None:
    assert Judge(guard).facts()["noisy_views"] == []
    with Guard(write_adaptive_guard(tmp_path / "adaptive.onnx"), "cpu") as adaptive:
        facts = Judge(adaptive).facts()
        assert facts["views"] == ["clean", "single-blur", "double-blur"]
        assert facts["noisy_views"] == ["denoised", "denoised-single-blur", "double-blur"]
        quiet, noisy = (adaptive.classify(grainy(0, sigma)) for sigma in (0.01, 0.2))
        assert "]  denoised  " in verdict_line(noisy, adaptive.labels)
        assert "denoised" not in verdict_line(quiet, adaptive.labels)
