"""PGD's own promises: the ball, the checkpoints, seeds, restarts; and what a budget refuses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from blurvote.benchmarks.robustness.attacks.budget import Budget, Norm
from blurvote.benchmarks.robustness.attacks.fgsm import fgsm
from blurvote.benchmarks.robustness.attacks.objectives import Objective, cross_entropy
from blurvote.benchmarks.robustness.attacks.pgd import pgd
from blurvote.benchmarks.robustness.attacks.random_noise import random_noise
from blurvote.runtime.errors import BlurvoteError, FrameError

LABELS = torch.tensor([0, 1, 2, 0, 1])
SEEDS = [11, 12, 13, 14, 15]
BALLS: list[tuple[Norm, float]] = [("linf", 6 / 255), ("l2", 0.6)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def frames() -> Tensor:
    drawn = torch.rand(5, 3, 7, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (1.4 * drawn - 0.2).clamp(0, 1)  # many pixels are black or white


def rugged(labels: Tensor = LABELS) -> Objective:
    """Cross-entropy of logits that are waves of the frame, so with many hills; in float64."""
    draw = torch.Generator().manual_seed(2)
    waves = torch.randn(189, 12, generator=draw, dtype=torch.float64)
    mixed = torch.randn(12, 3, generator=draw, dtype=torch.float64)
    return cross_entropy(lambda frames: torch.sin(frames.flatten(1) @ waves) @ mixed, labels)


def lengths(change: Tensor, norm: Norm) -> Tensor:
    return change.flatten(1).norm(dim=1, p=math.inf if norm == "linf" else 2)


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
def test_stays_in_the_ball_and_in_range(frames: Tensor, norm: Norm, epsilon: float) -> None:
    found = pgd(rugged(), frames, Budget(epsilon, norm, (3, 9), restarts=2), SEEDS)
    assert list(found.checkpoints) == [3, 9]
    for adversarial in found.checkpoints.values():
        assert 0 <= adversarial.min() <= adversarial.max() <= 1
        assert (lengths(adversarial - frames, norm) <= epsilon + 1e-9).all()
        assert (lengths(adversarial - frames, norm) > 0.5 * epsilon).all()


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
def test_a_batch_is_its_frames_one_by_one(frames: Tensor, norm: Norm, epsilon: float) -> None:
    budget = Budget(epsilon, norm, (4, 10), restarts=2)
    together = pgd(rugged(), frames, budget, SEEDS)
    for k in range(5):
        alone = pgd(rugged(LABELS[k : k + 1]), frames[k : k + 1], budget, SEEDS[k : k + 1])
        for steps in (4, 10):
            torch.testing.assert_close(
                alone.checkpoints[steps][0], together.checkpoints[steps][k], rtol=0, atol=1e-12
            )
    shuffled = pgd(rugged(LABELS.flip(0)), frames.flip(0), budget, SEEDS[::-1])
    torch.testing.assert_close(shuffled.final.flip(0), together.final, rtol=0, atol=1e-12)
    other = pgd(rugged(), frames, budget, [seed + 100 for seed in SEEDS])
    assert not torch.allclose(other.final, together.final)


def test_the_first_checkpoint_is_the_run_that_ends_there(frames: Tensor) -> None:
    long = pgd(rugged(), frames, Budget(0.1, checkpoints=(5, 20, 50)), SEEDS)
    short = pgd(rugged(), frames, Budget(0.1, checkpoints=(5,)), SEEDS)
    assert torch.equal(long.checkpoints[5], short.final)
    assert long.trace.values[5] == short.trace.values[5]


def test_step_sizes() -> None:
    sizes = Budget(0.4, checkpoints=(10, 40, 100)).step_sizes
    assert sizes == (0.1,) * 10 + (0.025,) * 30 + (0.01,) * 60
    assert Budget(0.4, checkpoints=(2, 4), step_size=0.3).step_sizes == (0.3,) * 4


def test_values_are_those_of_the_frames_and_never_fall(frames: Tensor) -> None:
    objective = rugged()
    one = pgd(objective, frames, Budget(0.05, checkpoints=(2, 6, 30)), SEEDS)
    more = pgd(objective, frames, Budget(0.05, checkpoints=(2, 6, 30), restarts=6), SEEDS)
    for found in (one, more):
        rows = []
        for steps, adversarial in found.checkpoints.items():
            values = objective(adversarial)
            assert found.trace.values[steps] == pytest.approx(values.tolist())
            rows.append(values)
        assert (rows[0] <= rows[1]).all()
        assert (rows[1] <= rows[2]).all()
    gains = torch.tensor(more.trace.values[30]) - torch.tensor(one.trace.values[30])
    assert (gains >= 0).all()
    assert (gains > 1e-3).any()  # the surface has hills, and restarts find higher ones
    assert one.trace.gradient_calls == (30,) * 5
    assert (more.trace.gradient_calls, more.trace.forward_calls) == ((180,) * 5, (6,) * 5)


def test_never_worse_than_what_it_starts_from(frames: Tensor) -> None:
    objective = rugged()
    first = pgd(objective, frames, Budget(0.05, checkpoints=(30,), restarts=4), SEEDS).final
    again = pgd(objective, frames, Budget(0.05, checkpoints=(1,)), SEEDS, initial=first).final
    fresh = pgd(objective, frames, Budget(0.05, checkpoints=(1,)), SEEDS).final
    assert (objective(again) >= objective(first)).all()
    assert (objective(fresh) < objective(first)).any()


def test_zero_gradients_are_counted(frames: Tensor) -> None:
    """Frame 0 has a flat objective, frame 1 one that is not a number; the others have gradients."""

    def objective(values: Tensor) -> Tensor:
        scale = torch.tensor([0.0, math.nan, 1, 1, 1], dtype=torch.float64)
        return scale * values.sum(dim=(1, 2, 3))

    found = pgd(objective, frames, Budget(0.1, checkpoints=(4,), start="clean"), SEEDS)
    assert found.trace.zero_gradients == (4, 4, 0, 0, 0)
    assert torch.equal(found.final[:2], frames[:2])
    assert fgsm(objective, frames, 0.1).trace.zero_gradients == (1, 1, 0, 0, 0)
    rounded = pgd(lambda x: x.round().detach().sum(dim=(1, 2, 3)), frames, Budget(0.1), SEEDS)
    assert rounded.trace.zero_gradients == (100,) * 5


@pytest.mark.parametrize(("norm", "epsilon"), BALLS)
def test_the_control_has_the_same_norm(frames: Tensor, norm: Norm, epsilon: float) -> None:
    middle = 0.3 + 0.4 * frames
    noisy = random_noise(middle, epsilon, SEEDS, norm)
    change = noisy.final - middle
    torch.testing.assert_close(lengths(change, norm), torch.full((5,), epsilon).double())
    assert abs(float(change.mean())) < 0.2 * float(change.std())
    alone = random_noise(middle[3:4], epsilon, SEEDS[3:4], norm)
    assert torch.equal(alone.final[0], noisy.final[3])
    assert (noisy.trace.gradient_calls, list(noisy.checkpoints)) == ((0,) * 5, [0])
    at_the_edge = random_noise(frames, epsilon, SEEDS, norm).final
    assert 0 <= at_the_edge.min() <= at_the_edge.max() <= 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"epsilon": 0.001}, r"epsilon is 0.001, less than one grey level \(1/255 = 0.003922\)"),
    ({"epsilon": -0.1}, "less than one grey level"),
    ({"epsilon": 2.0}, r"epsilon is 2; expected at most 1.*2/255 = 0.007843"),
    ({"epsilon": math.nan}, "epsilon is nan; expected a finite number"),
    ({"epsilon": math.inf, "norm": "l2"}, "epsilon is inf; expected a finite number"),
    ({"epsilon": 0.003, "norm": "l2"}, "less than one grey level"),
    ({"epsilon": "2/255"}, "epsilon is '2/255'; expected a number"),
    ({"epsilon": 0.1, "norm": "l1"}, "norm is 'l1'; expected 'linf' or 'l2'"),
    ({"epsilon": 0.1, "checkpoints": ()}, r"checkpoints are \(\)"),
    ({"epsilon": 0.1, "checkpoints": (40, 10)}, r"\(40, 10\); expected increasing"),
    ({"epsilon": 0.1, "checkpoints": (0, 10)}, "from 1 on"),
    ({"epsilon": 0.1, "restarts": 0}, "restarts is 0"),
    ({"epsilon": 0.1, "restarts": 2, "start": "clean"}, "every further run would repeat"),
    ({"epsilon": 0.1, "start": "grey"}, "start is 'grey'; expected 'random' or 'clean'"),
    ({"epsilon": 0.1, "step_size": 0.0}, "step_size is 0.0"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_budgets_that_cannot_be(values: dict[str, Any], message: str) -> None:
    with pytest.raises(BlurvoteError, match=message):
        Budget(**values)


def test_an_l2_ball_may_be_larger_than_one() -> None:
    assert Budget(3.0, "l2").epsilon == 3
    assert Budget(1 / 255).steps == 100


def test_inputs_that_do_not_belong_together(frames: Tensor) -> None:
    budget = Budget(0.1)
    with pytest.raises(FrameError, match="2 seeds for 5 frames; expected one for each"):
        pgd(rugged(), frames, budget, [1, 2])
    with pytest.raises(FrameError, match=r"initial is \(4, 3, 7, 9\); expected the frames' \(5"):
        pgd(rugged(), frames, budget, SEEDS, initial=frames[:4])
    with pytest.raises(FrameError, match=r"frames are \(3, 7, 9\) torch.float64; expected \(N, 3"):
        pgd(rugged(), frames[0], budget, SEEDS)
    with pytest.raises(FrameError, match=r"torch.uint8; expected"):
        random_noise((frames * 255).byte(), 0.1, SEEDS)
    with pytest.raises(BlurvoteError, match="step is 'up'; expected 'sign' or 'scaled'"):
        fgsm(rugged(), frames, 0.1, "up")  # type: ignore[arg-type]
