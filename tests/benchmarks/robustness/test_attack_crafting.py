"""An attack ends with the 8-bit frames that it aimed with, at radii between grey levels, too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks.robustness.attack import crafting
from blurvote.benchmarks.robustness.attack.cases import Case
from blurvote.benchmarks.robustness.attacks.budget import whole_levels
from blurvote.benchmarks.robustness.twin import Twin
from tests.benchmarks.robustness.conftest import ADAPTIVE

EPSILON = 0.03  # 7.65 grey levels


@pytest.mark.parametrize(
    ("epsilon", "levels"), [(1 / 255, 1), (8 / 255, 8), (0.03, 7), (0.01, 2), (1.0, 255)]
)
def test_whole_levels(epsilon: float, levels: int) -> None:
    assert whole_levels(epsilon) == levels


def test_every_whole_radius_is_kept_exactly() -> None:
    """So that results at such radii are those of earlier versions."""
    assert all(whole_levels(n / 255) == n for n in range(1, 256))


@pytest.mark.parametrize("attack", ["fgsm", "pgd", "force", "evade"])
def test_nothing_is_clipped_after_the_attack(
    attack: Any, conv_guard: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin.load(conv_guard("conv.onnx", ADAPTIVE), None, "cpu")
    random = np.random.default_rng(0)
    pixels = (128 + random.normal(0, 8, (50, 56, 3))).astype(np.uint8)
    changes: list[float] = []

    def quantise(adversarial: Any, original: Any, **options: Any) -> Any:
        planes = 255 * adversarial.numpy().transpose(0, 2, 3, 1)
        changes.append(float(np.abs(planes - original).max()))
        return wrapped(adversarial, original, **options)

    wrapped = crafting.quantise
    monkeypatch.setattr(crafting, "quantise", quantise)
    case = Case(attack, "adaptive", EPSILON, () if attack == "fgsm" else (3,))
    seed_for = partial(crafting.seed_of, 0, index=0)
    query: Any = None  # of the black box alone
    crafting.craft(case, pixels, 0, None, seed_for, twin, None, query, lambda frame: False)
    # Each comes to the edge of the ball, and stops at the last whole level inside.
    assert changes
    assert max(changes) == pytest.approx(7, abs=1e-3)
