"""Iterate until confident: where it ends and why, kicks, the stall rule; and gradient ascent."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from blurvote.benchmarks.robustness.attacks.ascent import ascent
from blurvote.benchmarks.robustness.attacks.objectives import cross_entropy, targeted_away
from blurvote.benchmarks.robustness.attacks.until_confident import Rule, until_confident
from blurvote.runtime.errors import BlurvoteError

SIDE = 5
PIXELS = SIDE * SIDE * 3


def by_mean(frames: Tensor) -> Tensor:
    """Three classes by brightness: dark, middle, bright. Softmax is sharp, so steps are few."""
    mean = frames.mean(dim=(1, 2, 3))
    centres = torch.tensor([0.2, 0.5, 0.8], dtype=frames.dtype)
    return -200 * (mean[:, None] - centres) ** 2


def grey(*values: float) -> Tensor:
    levels = torch.tensor(values, dtype=torch.float64)[:, None, None, None]
    return levels.expand(-1, 3, SIDE, SIDE).clone()


def confident_at(mean: float, label: int) -> bool:
    share = by_mean(grey(mean)).softmax(dim=1)[0]
    return int(share.argmax()) != label and float(share.max()) >= 0.9


def test_ends_as_soon_as_a_wrong_class_is_sure() -> None:
    """The frame brightens by one level a step; the step of the crossing follows from that."""
    found = until_confident(by_mean, grey(0.25), torch.tensor([0]), [1])
    (ending,) = found.endings
    expected = next(k for k in range(1000) if confident_at(0.25 + k / 255, 0))
    assert (ending.reason, ending.steps, ending.label) == ("confident", expected, 1)
    assert 0.9 <= ending.confidence < 0.95
    torch.testing.assert_close(found.attacked.final, grey(0.25 + expected / 255))
    assert list(found.attacked.checkpoints) == [10, 40, 100, 1000]
    torch.testing.assert_close(found.attacked.checkpoints[10], grey(0.25 + 10 / 255))
    assert found.attacked.trace.gradient_calls == (expected,)


def test_a_frame_that_is_already_wrong_is_left_alone() -> None:
    found = until_confident(by_mean, grey(0.8), torch.tensor([0]), [1])
    assert (found.endings[0].reason, found.endings[0].steps) == ("confident", 0)
    assert torch.equal(found.attacked.final, grey(0.8))


def test_targeted_goes_on_past_other_classes() -> None:
    """From dark to bright, through the middle, of which it is sure for a while."""
    labels, targets = torch.tensor([0]), torch.tensor([2])
    found = until_confident(by_mean, grey(0.25), labels, [1], targets)
    (ending,) = found.endings
    assert (ending.reason, ending.label) == ("confident", 2)
    assert found.attacked.final.mean() > 0.65
    untargeted = until_confident(by_mean, grey(0.25), labels, [1]).endings[0]
    assert ending.steps > untargeted.steps


def test_runs_out_of_steps() -> None:
    rule = Rule(checkpoints=(3, 7))
    found = until_confident(by_mean, grey(0.25), torch.tensor([0]), [1], rule=rule)
    assert (found.endings[0].reason, found.endings[0].steps) == ("steps", 7)
    torch.testing.assert_close(found.attacked.final, grey(0.25 + 7 / 255))


def flat_below(frames: Tensor) -> Tensor:
    """Class 0, with a gradient of zero, while all pixels are equal; then by brightness."""
    moved = frames.detach().std(dim=(1, 2, 3)) > 0.001
    slope = 400 * (frames.mean(dim=(1, 2, 3)) - 0.5)
    second = torch.where(moved, slope, torch.zeros_like(slope))
    return torch.stack([torch.ones_like(second), second], dim=1)


def test_a_random_kick_out_of_a_zero_gradient() -> None:
    """The plateau hides the way: the sign of a zero gradient is no step at all."""
    found = until_confident(flat_below, grey(0.5), torch.tensor([0]), [3])
    (ending,) = found.endings
    assert (ending.reason, ending.label, ending.kicks) == ("confident", 1, 1)
    assert found.attacked.trace.zero_gradients == (1,)
    assert ending.steps > 1


def constant(frames: Tensor) -> Tensor:
    """Class 1 whatever it sees, with a gradient of zero."""
    return torch.tensor([0.0, 5.0, 1.0]) + 0 * frames.sum(dim=(1, 2, 3))[:, None]


def test_stalls_where_everything_looks_like_static() -> None:
    """20 steps without change after the first look; the model says 1, as it does of static."""
    found = until_confident(constant, grey(0.5), torch.tensor([1]), [1])
    (ending,) = found.endings
    assert (ending.reason, ending.steps, ending.kicks) == ("stalled", 20, 20)


def test_no_stall_where_static_looks_different() -> None:
    """As flat as before, but static (about 0.5 with texture) is class 0 and the frame is 1."""

    def smooth_is_one(frames: Tensor) -> Tensor:
        smooth = frames.std(dim=(1, 2, 3)) < 0.2
        one = torch.where(smooth, 5.0, -5.0) + 0 * frames.sum(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(one), one], dim=1)

    rule = Rule(checkpoints=(30,))
    found = until_confident(smooth_is_one, grey(0.5), torch.tensor([1]), [1], rule=rule)
    assert (found.endings[0].reason, found.endings[0].kicks) == ("steps", 30)


def test_a_batch_is_its_frames_one_by_one() -> None:
    """They end at different steps and for different reasons."""
    frames = grey(0.25, 0.5, 0.8, 0.33)
    labels, seeds = torch.tensor([0, 0, 0, 1]), [5, 6, 7, 8]
    together = until_confident(flat_below, frames, labels, seeds)
    for k in range(4):
        alone = until_confident(flat_below, frames[k : k + 1], labels[k : k + 1], [seeds[k]])
        assert alone.endings[0] == together.endings[k]
        for steps, kept in together.attacked.checkpoints.items():
            assert torch.equal(alone.attacked.checkpoints[steps][0], kept[k])
    assert len({ending.steps for ending in together.endings}) > 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"confidence": 1.5}, r"confidence is 1.5; expected a number in \(0, 1\]"),
        ({"step_size": 0.0}, "step_size is 0.0"),
        ({"patience": 0}, "patience is 0; expected at least 1"),
        ({"checkpoints": (10, 5)}, "expected increasing"),
    ],
)
def test_rules_that_cannot_be(values: dict[str, float], message: str) -> None:
    with pytest.raises(BlurvoteError, match=message):
        Rule(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("aim", ["untargeted", "targeted"])
def test_ascent_by_the_formula(aim: str) -> None:
    """Plain steps of the gradient, clamped; the objective grows at every one of them here."""
    draw = torch.Generator().manual_seed(0)
    weights = torch.randn(PIXELS, 3, generator=draw, dtype=torch.float64)

    def linear(frames: Tensor) -> Tensor:
        return frames.flatten(1) @ weights

    frames = grey(0.4, 0.995)
    labels, targets = torch.tensor([0, 2]), torch.tensor([1, 0])
    if aim == "targeted":
        objective = targeted_away(linear, labels, targets)
    else:
        objective = cross_entropy(linear, labels)
    found = ascent(objective, frames, learning_rate=0.003, checkpoints=(2, 30))
    epsilon, change = 2 / 255, torch.zeros_like(frames)
    for step in range(1, 31):
        shares = linear(frames + change).softmax(dim=1)
        upward = functional.one_hot(targets, 3) if aim == "targeted" else shares
        slope = (upward - functional.one_hot(labels, 3)).double() @ weights.T
        change = (change + 0.003 * slope.view_as(change)).clamp(-epsilon, epsilon)
        change = (frames + change).clamp(0, 1) - frames
        if step in (2, 30):
            torch.testing.assert_close(found.checkpoints[step], frames + change)
    assert (found.final[1] == 1).any()  # the second frame met the end of the range
    assert found.trace.gradient_calls == (30, 30)


def test_ascent_refuses() -> None:
    objective = cross_entropy(by_mean, torch.tensor([0]))
    with pytest.raises(BlurvoteError, match="learning_rate is 0; expected a number above 0"):
        ascent(objective, grey(0.5), learning_rate=0)
    with pytest.raises(BlurvoteError, match="less than one grey level"):
        ascent(objective, grey(0.5), epsilon=1e-4)
    with pytest.raises(BlurvoteError, match=r"checkpoints are \(\)"):
        ascent(objective, grey(0.5), checkpoints=())
