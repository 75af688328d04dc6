"""One attack on one picture: from the frame to 8-bit adversarial frames."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.attack.cases import SWITCH, Case
from blurvote.benchmarks.robustness.attacks import objectives
from blurvote.benchmarks.robustness.attacks.acceptance import (
    ENOUGH,
    acceptance_margin,
    targeted_acceptance_margin,
)
from blurvote.benchmarks.robustness.attacks.ascent import ascent
from blurvote.benchmarks.robustness.attacks.blackbox import Query, square
from blurvote.benchmarks.robustness.attacks.budget import Budget, Norm, Start, whole_levels
from blurvote.benchmarks.robustness.attacks.fgsm import fgsm
from blurvote.benchmarks.robustness.attacks.frames8bit import quantise, to_frames, to_pixels
from blurvote.benchmarks.robustness.attacks.objectives import LogitsOf, Objective
from blurvote.benchmarks.robustness.attacks.pgd import pgd
from blurvote.benchmarks.robustness.attacks.random_noise import random_noise
from blurvote.benchmarks.robustness.attacks.result import Attacked
from blurvote.benchmarks.robustness.attacks.switch import of_active_set, of_switch
from blurvote.benchmarks.robustness.attacks.until_confident import Rule, until_confident
from blurvote.benchmarks.robustness.twin import Twin

__all__ = ["Crafted", "craft", "draw_target", "seed_of"]

Pixels = NDArray[np.uint8]
Wrong = Callable[[Pixels], bool]

MOST_STEPS = 1000  # of until-confident, which has no bound but this


@dataclass(frozen=True, eq=False)
class Crafted:
    """Adversarials of one picture.

    Attributes:
        frames: number of steps to `(H, W, 3)` uint8; 0 where the attack has no steps.
        gradients, forwards, queries: what it cost.
        zero_gradients: how many of the gradients were zero in every entry; of several objectives,
            the fewest.
        ending: why until-confident ended, and after how many steps; None for other attacks.
    """

    frames: dict[int, Pixels]
    gradients: int = 0
    forwards: int = 0
    queries: int = 0
    zero_gradients: int = 0
    ending: tuple[str, int] | None = None


def seed_of(seed: int, case: Case, index: int) -> int:
    """A seed of its own for every case and picture, whatever else runs and in which order.

    The same for any number of restarts, so that more of them begin with what fewer did.
    """
    name = replace(case, restarts=1).name
    state = np.random.SeedSequence([seed, zlib.crc32(name.encode()), index])
    return int(state.generate_state(1, np.uint64)[0] >> 1)  # torch takes 63 bits


def draw_target(seed: int, index: int, label: int, classes: int) -> int:
    """A wrong class for picture `index`, every one as likely; the same for all attacks."""
    purpose = zlib.crc32(b"target class")
    offset = int(np.random.default_rng([purpose, seed, index]).integers(1, classes))
    return (label + offset) % classes


def craft(
    case: Case,
    pixels: Pixels,
    label: int,
    target: int | None,
    seed_for: Callable[[Case], int],
    twin: Twin,
    surrogate: Twin | None,
    query: Query,
    wrong: Wrong,
) -> Crafted:
    """Runs one attack.

    An adaptive attack with a bound tries one objective after another while some checkpoint does not
    fool the deployed guard. The last is the grey-box attack itself, from the same random start, so
    that at every checkpoint whatever fools the guard by knowing less fools it by knowing more.

    Args:
        case: which.
        pixels: `(H, W, 3)` uint8 RGB.
        label: the true class.
        target: the class to reach, or None.
        seed_for: the seed of a case's random draws on this picture.
        twin: the guard's.
        surrogate: the other model's, for transfer.
        query: the deployed guard, for the black box.
        wrong: whether the deployed guard is fooled by a frame; an adaptive attacker may ask.

    Raises:
        BlurvoteError: as the attacks.
    """
    if case.attack == "none":
        return Crafted({0: pixels})
    frames, seed = to_frames(pixels[None], twin.device), seed_for(case)
    norm: Norm = "l2" if case.attack.endswith("-l2") else "linf"
    if case.attack.startswith("random"):
        found = random_noise(frames, case.epsilon, [seed], norm)
        return _crafted(found, pixels, case.epsilon, norm)
    if case.attack == "square":
        squared = square(query, pixels[None], [label], case.epsilon, case.queries, [seed])
        return Crafted({0: squared.frames[0]}, queries=squared.queries[0])
    truth = torch.tensor([label], device=twin.device)
    aim = None if target is None else torch.tensor([target], device=twin.device)
    if case.attack == "until-confident":
        return _until_confident(case, frames, truth, aim, seed, _logits_of(case, twin, surrogate))
    todo = case.steps
    crafted = None
    for knows in _knowing(case):
        for n, (objective, enough) in enumerate(_objectives(knows, twin, surrogate, truth, aim)):
            # What an attack has come to by a checkpoint does not depend on later ones.
            part = replace(knows, steps=todo)
            initial = _initial(part, twin, frames)
            found = _run(part, objective, enough, frames, norm, seed_for(knows) + n, initial)
            tried = _crafted(found, pixels, case.epsilon, norm)
            crafted = tried if crafted is None else _better(crafted, tried, wrong)
            if case.threat != "adaptive":
                return crafted
            failed = [steps for steps, frame in crafted.frames.items() if not wrong(frame)]
            if not failed:
                return crafted
            todo = tuple(steps for steps in case.steps if steps <= max(failed))
    assert crafted is not None
    return crafted


def _knowing(case: Case) -> list[Case]:
    """The case, and after an adaptive one what a grey-box attacker would have run.

    He knows nothing of the noise switch, which is why attacks on it have no such other case.
    """
    if case.threat == "adaptive" and case.attack not in SWITCH:
        return [case, replace(case, threat="grey-box")]
    return [case]


def _logits_of(case: Case, twin: Twin, surrogate: Twin | None) -> LogitsOf:
    if case.threat == "adaptive":
        return objectives.mean_logits(twin)
    if case.threat == "transfer":
        assert surrogate is not None  # the session checks
        return surrogate.clean_logits
    return twin.clean_logits


def _objectives(
    case: Case,
    twin: Twin,
    surrogate: Twin | None,
    truth: torch.Tensor,
    aim: torch.Tensor | None,
) -> list[tuple[Objective, float | None]]:
    """What is maximised, the best first, each with the value at which nothing is left to gain."""
    logits_of = _logits_of(case, twin, surrogate)
    if aim is None:
        averaged = objectives.cross_entropy(logits_of, truth)
    elif case.attack == "sgd":
        averaged = objectives.targeted_away(logits_of, truth, aim)
    else:
        averaged = objectives.targeted(logits_of, aim)
    if case.threat != "adaptive":
        return [(averaged, None)]
    # At this value every condition of acceptance is met with a margin of ENOUGH.
    conditions = 2 if twin.defense.decision == "mean" else len(twin.defense.views) // 2 + 1

    def exact(guard: objectives.Differentiable) -> Objective:
        if aim is None:
            return acceptance_margin(guard, truth)
        return targeted_acceptance_margin(guard, aim)

    if case.attack in SWITCH:
        return [(of_switch(twin, exact, case.attack == "force"), conditions * ENOUGH)]
    whole = of_active_set(twin, exact) if twin.defense.adaptive else exact(twin)
    return [(whole, conditions * ENOUGH), (averaged, None)]


def _run(
    case: Case,
    objective: Objective,
    enough: float | None,
    frames: torch.Tensor,
    norm: Norm,
    seed: int,
    initial: torch.Tensor | None = None,
) -> Attacked:
    epsilon = _radius(case, norm)
    if case.attack == "fgsm":
        return fgsm(objective, frames, epsilon, "sign")
    if case.attack == "scaled":
        return fgsm(objective, frames, epsilon, "scaled")
    if case.attack == "sgd":
        return ascent(objective, frames, epsilon, checkpoints=case.steps)
    # Random noise would only make a frame that evades read noisier.
    start: Start = "clean" if case.attack in SWITCH else "random"
    budget = Budget(epsilon, norm, case.steps, case.restarts, start, enough=enough)
    return pgd(objective, frames, budget, [seed], initial)


def _initial(case: Case, twin: Twin, frames: torch.Tensor) -> torch.Tensor | None:
    """Where PGD starts: what `force` adds at first is what the noise estimate hears best."""
    if case.attack != "force" or twin.noise is None:
        return None
    return frames + _radius(case, "linf") * twin.noise.loudest(frames)


def _radius(case: Case, norm: Norm) -> float:
    """As far as 8-bit frames go in the case's ball."""
    return whole_levels(case.epsilon) / 255 if norm == "linf" else case.epsilon


def _crafted(found: Attacked, pixels: Pixels, epsilon: float, norm: Norm) -> Crafted:
    rounded = partial(quantise, original=pixels[None], epsilon=epsilon, norm=norm)
    return Crafted(
        {steps: rounded(frames)[0] for steps, frames in found.checkpoints.items()},
        gradients=found.trace.gradient_calls[0],
        forwards=found.trace.forward_calls[0],
        zero_gradients=found.trace.zero_gradients[0],
    )


def _better(first: Crafted, second: Crafted, wrong: Wrong) -> Crafted:
    """At each checkpoint the second's frame where it fools the guard and the first's does not."""
    frames = dict(first.frames)
    for steps, frame in second.frames.items():
        if not wrong(frames[steps]) and wrong(frame):
            frames[steps] = frame
    return Crafted(
        frames,
        first.gradients + second.gradients,
        first.forwards + second.forwards,
        0,
        min(first.zero_gradients, second.zero_gradients),
    )


def _until_confident(
    case: Case,
    frames: torch.Tensor,
    truth: torch.Tensor,
    aim: torch.Tensor | None,
    seed: int,
    logits_of: LogitsOf,
) -> Crafted:
    rule = Rule(checkpoints=tuple(sorted({*case.steps, MOST_STEPS})))
    if case.threat == "adaptive" and aim is None:
        # Only driven from the truth, the views end in different classes, none with 0.9 in the
        # mean. So the class is chosen that they like best to begin with.
        with torch.no_grad():
            aim = logits_of(frames).scatter(1, truth[:, None], -torch.inf).argmax(dim=1)
    found = until_confident(logits_of, frames, truth, [seed], aim, rule)
    ending = found.endings[0]
    return Crafted(
        # Every point on the way is an 8-bit frame, so rounding changes nothing.
        {steps: to_pixels(at)[0] for steps, at in found.attacked.checkpoints.items()},
        gradients=found.attacked.trace.gradient_calls[0],
        forwards=found.attacked.trace.forward_calls[0],
        zero_gradients=found.attacked.trace.zero_gradients[0],
        ending=(ending.reason, ending.steps),
    )
