"""How far an attack may go, and how long."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from blurvote.runtime.errors import BlurvoteError

__all__ = [
    "CHECKPOINTS",
    "Budget",
    "Norm",
    "Start",
    "check_checkpoints",
    "check_epsilon",
    "whole_levels",
]

Norm = Literal["linf", "l2"]
Start = Literal["random", "clean"]

CHECKPOINTS = (10, 40, 100)


@dataclass(frozen=True)
class Budget:
    """What an iterated attack may spend on each frame.

    Attributes:
        epsilon: radius of the ball around the frame, pixels in [0, 1]. L2 is over all values of a
            frame at its native size.
        norm: `"linf"` or `"l2"`.
        checkpoints: numbers of steps, increasing, at which the adversarials are kept; the last is
            the number of steps of one run.
        restarts: independent runs, of which the best counts.
        start: `"random"`, a point drawn uniformly from the ball, or `"clean"`, the frame itself.
        step_size: length of every step; None takes the schedule of `step_sizes`.
        enough: value of the objective at which a frame is won and a run may end early: when all of
            a batch are. None runs every step.

    Raises:
        BlurvoteError: a value that cannot be.
    """

    epsilon: float
    norm: Norm = "linf"
    checkpoints: tuple[int, ...] = CHECKPOINTS
    restarts: int = 1
    start: Start = "random"
    step_size: float | None = None
    enough: float | None = None

    def __post_init__(self) -> None:
        check_epsilon(self.epsilon, self.norm)
        check_checkpoints(self.checkpoints)
        if self.start not in get_args(Start):
            raise BlurvoteError(f"start is {self.start!r}; expected 'random' or 'clean'")
        if self.restarts < 1 or (self.restarts > 1 and self.start == "clean"):
            raise BlurvoteError(
                f"restarts is {self.restarts!r} from a {self.start} start; expected 1 or more, and "
                f"1 from a clean start: every further run would repeat the first"
            )
        if self.step_size is not None and not 0 < self.step_size < math.inf:
            raise BlurvoteError(f"step_size is {self.step_size!r}; expected a number above 0")

    @property
    def steps(self) -> int:
        """Steps of one run."""
        return self.checkpoints[-1]

    @property
    def step_sizes(self) -> tuple[float, ...]:
        """The length of each step of a run.

        A run of `n` steps takes steps of `2.5 epsilon / n` (Madry et al., *Towards Deep Learning
        Models Resistant to Adversarial Attacks*, 2018): it can reach every point of the ball and
        still turn. A run of 100 such steps, looked at after 10, would have gone a quarter of the
        radius, and would make a defence look stronger at 10 steps than an attacker with 10 steps
        finds it. So a step that ends at or before checkpoint `c` is `2.5 epsilon / c` long: at the
        first checkpoint this is exactly the standard run, and the steps after it refine its best
        point with ever shorter ones, as in Auto-PGD (Croce and Hein, 2020). With one checkpoint it
        is the standard run throughout.
        """
        if self.step_size is not None:
            return (self.step_size,) * self.steps
        sizes: list[float] = []
        for checkpoint in self.checkpoints:
            sizes += [2.5 * self.epsilon / checkpoint] * (checkpoint - len(sizes))
        return tuple(sizes)


def check_checkpoints(checkpoints: tuple[int, ...]) -> None:
    """Refuses numbers of steps that cannot be.

    Raises:
        BlurvoteError: none, below 1, or not increasing.
    """
    if not checkpoints or checkpoints[0] < 1 or list(checkpoints) != sorted(set(checkpoints)):
        raise BlurvoteError(
            f"checkpoints are {checkpoints!r}; expected increasing numbers of steps from 1 on, "
            f"such as {CHECKPOINTS}"
        )


def whole_levels(epsilon: float) -> int:
    """The grey levels of 255 that an 8-bit frame may be changed by in the L-inf ball of `epsilon`.

    An attack that goes up to 0.03 itself, 7.65 levels, ends with frames of 8 levels if they are
    rounded, and of 7 once they are clipped to the ball: others than it aimed with.
    """
    return math.floor(255 * epsilon + 1e-6)


def check_epsilon(epsilon: float, norm: str) -> None:
    """Refuses a radius that means nothing on 8-bit frames.

    Raises:
        BlurvoteError: `norm` is unknown; `epsilon` is not a finite number, smaller than one grey
            level (1/255: no 8-bit frame but the original lies in the ball), or, for L-inf, above 1.
    """
    if norm not in get_args(Norm):
        raise BlurvoteError(f"norm is {norm!r}; expected 'linf' or 'l2'")
    if isinstance(epsilon, bool) or not isinstance(epsilon, (int, float)):
        raise BlurvoteError(f"epsilon is {epsilon!r}; expected a number, pixels in [0, 1]")
    if not math.isfinite(epsilon):
        raise BlurvoteError(f"epsilon is {epsilon!r}; expected a finite number, pixels in [0, 1]")
    if 255 * epsilon < 1 - 1e-6:
        raise BlurvoteError(
            f"epsilon is {epsilon:g}, less than one grey level (1/255 = {1 / 255:.6f}): rounded to "
            f"8 bits, no change is left; expected at least 1/255, pixels in [0, 1]"
        )
    if norm == "linf" and epsilon > 1:
        raise BlurvoteError(
            f"epsilon is {epsilon:g}; expected at most 1, as pixels are in [0, 1]; "
            f"grey levels are divided by 255, such as {epsilon:g}/255 = {epsilon / 255:.6f}"
        )
