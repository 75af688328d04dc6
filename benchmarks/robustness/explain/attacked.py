"""The attacked frame that stands beside the clean one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.explain.cases import Case
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.runtime.errors import GuardError, SourceError
from blurvote.runtime.sources import read_image
from blurvote.runtime.vote import REJECTED

__all__ = ["attack_frame", "read_attacked"]


def read_attacked(path: str | Path, clean: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An attacked picture made elsewhere, `(H, W, 3)` uint8 RGB like the clean one.

    Raises:
        SourceError: it cannot be read, or is of another size.
    """
    pixels = np.ascontiguousarray(read_image(str(path))[..., ::-1])
    if pixels.shape != clean.shape:
        raise SourceError(
            f"{path} is {pixels.shape[1]}x{pixels.shape[0]} px and the clean picture is "
            f"{clean.shape[1]}x{clean.shape[0]} px; the attacked frame must be the same frame at "
            f"its native size, in a format without loss such as PNG"
        )
    return pixels


def attack_frame(
    twin: Twin, case: Case, epsilon: float, steps: int, seed: int
) -> NDArray[np.uint8]:
    """PGD in L-inf on the undefended backbone, away from the guard's answer (grey-box).

    Args:
        twin: of the guard.
        case: the clean frame.
        epsilon: largest change of a pixel, in [0, 1].
        steps: gradient steps.
        seed: of the random start.

    Returns:
        An 8-bit frame `(H, W, 3)`, no value further than `epsilon` from the clean one's.

    Raises:
        BlurvoteError: epsilon is out of range.
        GuardError: the guard gives the clean frame no label.
    """
    import torch

    from blurvote.benchmarks.robustness.attacks.budget import Budget
    from blurvote.benchmarks.robustness.attacks.frames8bit import quantise, to_frames
    from blurvote.benchmarks.robustness.attacks.objectives import cross_entropy
    from blurvote.benchmarks.robustness.attacks.pgd import pgd

    if case.answer == REJECTED:
        raise GuardError(
            f"{twin.path} gives this frame no label that an attack could lead away from; use "
            f"--attack none"
        )
    label = torch.tensor([case.answer], device=twin.device)
    budget = Budget(epsilon, "linf", (steps,))
    frames = to_frames(case.pixels[None], twin.device)
    found = pgd(cross_entropy(twin.clean_logits, label), frames, budget, [seed])
    attacked: NDArray[np.uint8] = quantise(found.final, case.pixels[None], epsilon)[0]
    return attacked
