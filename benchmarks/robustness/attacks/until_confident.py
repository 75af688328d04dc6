"""Step until the model is sure of a wrong class, and see how far that took the frame.

The attack of Shanker, *Measuring Robustness of Image Classification Models* (2021): no ball, but
sign steps until a wrong class has a softmax of at least 0.9, 1000 steps at most. The measure of
robustness is how much the frame had to change (`change`), not whether it could be changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from blurvote.benchmarks.robustness.attacks.budget import check_checkpoints
from blurvote.benchmarks.robustness.attacks.gradients import (
    check_frames,
    generators,
    random_signs,
)
from blurvote.benchmarks.robustness.attacks.objectives import LogitsOf
from blurvote.benchmarks.robustness.attacks.result import Attacked, Trace
from blurvote.runtime.errors import BlurvoteError

__all__ = ["Ending", "Reason", "Rule", "UntilConfident", "until_confident"]

Reason = Literal["confident", "stalled", "steps"]


@dataclass(frozen=True)
class Rule:
    """When the attack ends, and how it steps.

    Attributes:
        confidence: softmax that a wrong class (or the target) has to reach, in (0, 1].
        checkpoints: numbers of steps at which the frame is kept; the last is the most steps taken.
        patience: steps in a row without a change of the loss after which a frame may be given up.
        step_size: of each step, in [0, 1]. The source names none. One grey level is the smallest
            step that an 8-bit frame can hold, so the frame is changed as little as possible and
            every point on the way is an 8-bit frame already.

    Raises:
        BlurvoteError: a value that cannot be.
    """

    confidence: float = 0.9
    checkpoints: tuple[int, ...] = (10, 40, 100, 1000)
    patience: int = 20
    step_size: float = 1 / 255

    def __post_init__(self) -> None:
        check_checkpoints(self.checkpoints)
        for name, value in (("confidence", self.confidence), ("step_size", self.step_size)):
            if not 0 < value <= 1:
                raise BlurvoteError(f"{name} is {value!r}; expected a number in (0, 1]")
        if self.patience < 1:
            raise BlurvoteError(f"patience is {self.patience!r}; expected at least 1 step")


@dataclass(frozen=True)
class Ending:
    """How the attack on one frame ended.

    Attributes:
        reason: `"confident"`: a wrong class (or the target) reached the confidence; `"stalled"`:
            the loss stood still and the model called the frame what it calls random static;
            `"steps"`: neither, within the steps allowed.
        steps: steps taken.
        kicks: how many of them were random, out of a zero gradient.
        label: the class with the largest softmax at the end.
        confidence: that softmax.
    """

    reason: Reason
    steps: int
    kicks: int
    label: int
    confidence: float


@dataclass(frozen=True, eq=False)
class UntilConfident:
    """The frames as the attack left them, and why it did, one ending per frame.

    `attacked.checkpoints` holds each frame as it was after so many steps, or where it had ended
    before; not the best so far, for what counts is where the rule stops.
    """

    attacked: Attacked
    endings: tuple[Ending, ...]


def until_confident(
    logits_of: LogitsOf,
    frames: Tensor,
    labels: Tensor,
    seeds: Sequence[int],
    targets: Tensor | None = None,
    rule: Rule | None = None,
) -> UntilConfident:
    """Sign steps up the cross-entropy to the label, or down that to the target.

    Where the gradient is zero in every entry, the step is a random sign in every pixel. The stall
    rule compares with the prediction on one frame of uniform random static per frame; "unchanged"
    means to one millionth, as the last bits of a loss are noise.

    Args:
        logits_of: the model under attack; `objectives.mean_logits(twin)` attacks all views at once.
        frames: `(N, 3, H, W)` in [0, 1].
        labels: `(N,)` int64, the true classes.
        seeds: one per frame.
        targets: `(N,)` int64; None means any wrong class.
        rule: when to end.

    Raises:
        FrameError: frames or seeds of the wrong shape.
    """
    check_frames(frames)
    rule = rule or Rule()
    streams = generators(seeds, frames)
    run = _Run(logits_of, frames, labels, targets, rule, streams)
    for step in range(rule.checkpoints[-1] + 1):
        run.keep(step)
        if not run.step(step):
            break
    return run.result()


class _Run:
    """The state of a batch: which frames are still under way, and how the others ended."""

    def __init__(
        self,
        logits_of: LogitsOf,
        frames: Tensor,
        labels: Tensor,
        targets: Tensor | None,
        rule: Rule,
        streams: list[torch.Generator],
    ) -> None:
        self.logits_of, self.rule, self.streams = logits_of, rule, streams
        self.targeted = targets is not None
        self.classes = labels if targets is None else targets
        self.points = frames.detach().clone()
        drawn = [torch.rand(frames.shape[1:], generator=stream) for stream in streams]
        with torch.no_grad():
            self.static = logits_of(torch.stack(drawn).to(frames)).argmax(dim=1)
        count = len(frames)
        self.active = torch.arange(count, device=frames.device)
        self.losses = torch.full((count,), math.inf, device=frames.device)
        self.unchanged = torch.zeros(count, dtype=torch.int64, device=frames.device)
        self.kicks = [0] * count
        self.kept: dict[int, Tensor] = {}
        self.endings: dict[int, Ending] = {}

    def step(self, step: int) -> bool:
        """Ends what is to end, and moves the others; False when none is left."""
        active, last = self.active, step == self.rule.checkpoints[-1]
        points = self.points[active].requires_grad_(not last)
        with torch.set_grad_enabled(not last):
            logits = self.logits_of(points)
            classes = self.classes[active]
            losses = functional.cross_entropy(logits, classes, reduction="none")
        confidence, predicted = logits.detach().softmax(dim=1).max(dim=1)
        reached = (predicted == classes) if self.targeted else (predicted != classes)
        confident = reached & (confidence >= self.rule.confidence)
        stalled = self._stalled(losses.detach()) & (predicted == self.static[active])
        going = ~(confident | stalled)
        for row in torch.nonzero(~going | last)[:, 0].tolist():
            frame = int(active[row])
            reason: Reason = (
                "confident" if confident[row] else "stalled" if stalled[row] else "steps"
            )
            label, sure = int(predicted[row]), float(confidence[row])
            self.endings[frame] = Ending(reason, step, self.kicks[frame], label, sure)
        if last or not going.any():
            return False
        self._move(points, losses, going)
        return True

    def _stalled(self, losses: Tensor) -> Tensor:
        active = self.active
        before = self.losses[active]
        same = (losses - before).abs() <= 1e-6 * before.abs().clamp(min=1)
        same &= before.isfinite()
        self.unchanged[active] = torch.where(same, self.unchanged[active] + 1, 0)
        self.losses[active] = losses.to(self.losses.dtype)
        return self.unchanged[active] >= self.rule.patience

    def _move(self, points: Tensor, losses: Tensor, going: Tensor) -> None:
        (found,) = torch.autograd.grad(losses.sum(), points)
        self.active = self.active[going]
        way = found[going].nan_to_num(0.0, 0.0, 0.0).sign()
        if self.targeted:
            way = -way
        for row in torch.nonzero(way.flatten(1).abs().amax(dim=1) == 0)[:, 0].tolist():
            frame = int(self.active[row])
            self.kicks[frame] += 1
            way[row] = random_signs([self.streams[frame]], self.points[:1])[0]
        moved = self.points[self.active] + self.rule.step_size * way
        self.points[self.active] = moved.clamp(0, 1)

    def keep(self, step: int) -> None:
        """Keeps the frames as they are at a checkpoint."""
        if step in self.rule.checkpoints:
            self.kept[step] = self.points.clone()

    def result(self) -> UntilConfident:
        """All checkpoints; those after the last frame ended hold the frames as they ended."""
        for steps in self.rule.checkpoints:
            self.kept.setdefault(steps, self.points.clone())
        endings = tuple(self.endings[frame] for frame in range(len(self.points)))
        trace = Trace(
            tuple(ending.steps for ending in endings),
            (2,) * len(endings),  # the static, and the look at the frame on which it ended
            tuple(self.kicks),
            {},
        )
        return UntilConfident(Attacked(self.kept, trace), endings)
