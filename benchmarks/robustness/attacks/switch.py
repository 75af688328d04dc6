"""Objectives against a guard whose noisy frames have views of their own.

The guard judges a frame by one of two sets of views, chosen by the noise that it reads. An attacker
who takes the choice as it falls follows, at every point, the objective of the set that is active
there. One who aims at the choice itself wants to be judged by the other set:

- *force*: a quiet frame is made to read noisy, and is then fooled through the denoised views;
- *evade*: a noisy frame is made to read quiet, and is then fooled through the views that noise
  fools more easily.

He maximises the objective of the set that he wants, less a penalty on the way to the switch (see
`NoiseTwin.distance`) that ends where the switch is passed: after it, every pixel serves the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.objectives import Differentiable, Objective
from blurvote.benchmarks.robustness.twin import Twin
from blurvote.runtime.defense import Defense

__all__ = ["OneSet", "of_active_set", "of_switch"]

_PENALTY = 100.0
"""Logits that the whole way to the switch costs; an image's gain by any of its pixels is less."""


@dataclass(frozen=True, eq=False)
class OneSet:
    """An adaptive guard's twin as if all its frames were noisy, or all quiet.

    Attributes:
        twin: of the whole guard.
        noisy: which set of views.
    """

    twin: Twin
    noisy: bool

    @property
    def defense(self) -> Defense:
        """The decision of that set; its views are those of `logits`."""
        own = self.twin.defense
        threshold = own.noisy_threshold if self.noisy else own.threshold
        return replace(own, noisy_views=(), noisy_threshold=None, threshold=threshold)

    def logits(self, frames: Tensor) -> Tensor:
        """Logits `(N, V, C)` of the set's views of frames `(N, 3, H, W)` in [0, 1]."""
        return self.twin.set_logits(frames, self.noisy)

    def clean_logits(self, frames: Tensor) -> Tensor:
        """Logits `(N, C)` of the undefended model."""
        return self.twin.clean_logits(frames)


def of_active_set(twin: Twin, make: Callable[[Differentiable], Objective]) -> Objective:
    """The objective of whichever set of views judges each frame.

    Args:
        twin: of an adaptive guard.
        make: the objective of a guard with one set of views.
    """
    noise = twin.noise
    assert noise is not None  # the guard is adaptive
    of_noisy, of_quiet = (make(OneSet(twin, noisy)) for noisy in (True, False))

    def objective(frames: Tensor) -> Tensor:
        noisy = noise.noisy(frames)
        if bool(noisy.all()):
            return of_noisy(frames)
        if not bool(noisy.any()):
            return of_quiet(frames)
        return torch.where(noisy, of_noisy(frames), of_quiet(frames))

    return objective


def of_switch(twin: Twin, make: Callable[[Differentiable], Objective], noisy: bool) -> Objective:
    """Through the views of noisy frames (or of quiet ones), and past the switch to them.

    Args:
        twin: of an adaptive guard.
        make: the objective of a guard with one set of views.
        noisy: whether frames are to be read as noisy.
    """
    noise = twin.noise
    assert noise is not None  # the guard is adaptive
    wanted = make(OneSet(twin, noisy))

    def objective(frames: Tensor) -> Tensor:
        # The last term has no gradient: it ranks every point beyond the switch before all others.
        missed = (noise.noisy(frames) != noisy).to(frames.dtype)
        return wanted(frames) - _PENALTY * (noise.distance(frames, noisy) + missed)

    return objective
