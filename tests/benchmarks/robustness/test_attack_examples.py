"""What `adversarial.png` shows, read back from what was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.robustness.attack import examples
from blurvote.benchmarks.robustness.attack.cases import CLEAN, Case
from blurvote.benchmarks.robustness.attack.measure import picture_file, start_frame
from blurvote.benchmarks.robustness.dataset import Sample, open_dataset
from blurvote.benchmarks.robustness.deployed import Deployed
from tests.benchmarks.robustness.conftest import ADAPTIVE
from tests.conftest import ONE_THREAD

pytest.importorskip("matplotlib")

SEED, NOISE, LEVELS = 3, 0.1, 2
EVADE = Case("evade", "adaptive", LEVELS / 255, (10,), noise=NOISE)
PGD = Case("pgd", "adaptive", LEVELS / 255, (10,))


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A plain grey picture, so that nothing is clipped."""
    file = tmp_path / "pictures" / "class 1" / "0.png"
    file.parent.mkdir(parents=True)
    cv2.imwrite(str(file), np.full((50, 56, 3), 128, np.uint8))
    (found,) = open_dataset(file.parent.parent, 3, ("class 0", "class 1", "class 2")).some(1, 0)
    return found


def attacked(folder: Path, case: Case, sample: Sample) -> None:
    """Keeps the frame that the case starts from, its left half changed by `LEVELS`."""
    frame = start_frame(SEED, case, sample).astype(int)
    if case.attack != "none":
        frame[:, :28] += LEVELS
    file = picture_file(folder / "adversarial", case, sample)
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), frame.clip(0, 255).astype(np.uint8)[..., ::-1])


def test_the_change_is_the_attacks_and_not_the_noise(
    sample: Sample,
    conv_guard: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = (CLEAN, replace(CLEAN, noise=NOISE), PGD, EVADE)
    for case in cases:
        attacked(tmp_path, case, sample)
    drawn: list[Any] = []
    monkeypatch.setattr(examples, "save_figure", lambda figure, file: drawn.append(figure))
    guard = Deployed(conv_guard("conv.onnx", ADAPTIVE), ONE_THREAD)
    examples.draw(tmp_path, guard, (sample,), cases, SEED)
    (figure,) = drawn
    upper, lower = figure.axes[:3], figure.axes[3:]
    # Of a change by 2 levels at most, 16 times it are seen: the noise is of 25 levels.
    for axis in lower[1:]:
        assert set(np.unique(axis.images[0].get_array())) == {128, 128 + 16 * LEVELS}
    assert [axis.texts[0].get_text() for axis in upper] == [
        "clean",
        "pgd\nadaptive 2/255",
        "evade\nadaptive 2/255\non noise 0.1",
    ]
