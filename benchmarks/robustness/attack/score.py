"""From the records of all pictures to the rows of the attack table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.attack.cases import SWITCH, Case
from blurvote.benchmarks.robustness.statistics import Share, most_confident, share
from blurvote.runtime.vote import REJECTED

__all__ = ["Cost", "Row", "Versus", "names", "rows"]

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Versus:
    """Guard against undefended model at the same coverage, picture by picture.

    Attributes:
        spared: fooled without the defence and not with it.
        lost: fooled with the defence and not without it.
        p_value: of the exact sign test on those two (McNemar 1947); 1 where both are 0.
    """

    spared: int
    lost: int
    p_value: float


@dataclass(frozen=True)
class Cost:
    """What an attack took, per picture, over all its steps.

    Means, the share of pictures on which a gradient was zero, and the median of the queries over
    the pictures that ended as the attacker wanted; NaN where there are none.
    """

    seconds: float
    gradients: float
    queries: float
    queries_to_fool: float
    zero_gradients: Share


@dataclass(frozen=True)
class Row:
    """One case after so many steps; every share is over the same pictures, with a 95 % interval.

    Attributes:
        case, attack, threat, radius: of the case, by name.
        variant: such as `targeted, 5 restarts`; empty for most.
        surrogate: model that a transfer attack was crafted on, or None.
        epsilon: in [0, 1]; 0 where there is no bound.
        steps: at which it is counted; 0 where the attack has none.
        images: pictures.
        undefended_right: accuracy of the model without defence.
        right: accepted under the right label (robust accuracy of the guard).
        fooled: wrong and accepted, the attacker's success.
        rejected: the guard gave no label.
        reached: accepted as the target; None for untargeted attacks.
        confidence_fooled: wrong and accepted of the undefended model at the same coverage, by its
            own confidence.
        versus: that against `fooled`.
        correct_before: pictures that the guard got right before the attack.
        fooled_of_correct: of those, wrong and accepted now.
        false_rejects: of the pictures that the undefended model gets right, rejected; on clean
            pictures the price of the defence.
        linf, l2, per_pixel, changed_1, changed_10: means over the pictures that the undefended
            model got right before, see `attacks.change`.
        endings: of until-confident, how often for each reason, and the median of the steps.
        alone: how often the undefended model calls the perturbation alone, shown as an image, what
            it calls the attacked frame; None where nothing was changed.
        alone_confidence: the mean confidence with which it names the perturbation alone.
        noise: standard deviation of the Gaussian noise on the frames before the attack.
        denoised: of an adaptive guard, frames that read noisy after it; None for other guards.
        switched: of those that read quiet before `force`, or noisy before `evade`, those that read
            the other way after it; None for other attacks and guards.
        stuck: pictures on which a gradient was zero and the attack failed: the model it was taken
            of (for an adaptive attack, the guard) was not brought to a wrong label or to the
            target.
        cost: see `Cost`.
    """

    case: str
    attack: str
    threat: str
    radius: str
    variant: str
    surrogate: str | None
    epsilon: float
    steps: int
    images: int
    undefended_right: Share
    right: Share
    fooled: Share
    rejected: Share
    reached: Share | None
    confidence_fooled: Share
    versus: Versus
    correct_before: int
    fooled_of_correct: Share
    false_rejects: Share
    linf: float
    l2: float
    per_pixel: float
    changed_1: float
    changed_10: float
    endings: Mapping[str, float] | None
    alone: Share | None
    alone_confidence: float
    stuck: Share
    cost: Cost
    noise: float = 0.0
    denoised: Share | None = None
    switched: Share | None = None


def names(cases: Sequence[Case]) -> dict[Case, str]:
    """A name for each that no other has; the short one where that will do."""
    short = Counter(case.name for case in cases)
    return {case: case.name if short[case.name] == 1 else case.key for case in cases}


def rows(case: Case, records: Sequence[Mapping[str, Any]], name: str | None = None) -> list[Row]:
    """One row per number of steps, of the case's name unless another is given."""
    steps = sorted(map(int, records[0]["at"]))
    return [_row(case, name or case.name, records, number) for number in steps]


def _row(case: Case, name: str, records: Sequence[Mapping[str, Any]], steps: int) -> Row:
    at = [record["at"][str(steps)] for record in records]
    truth = np.array([record["label"] for record in records])
    guard = np.array([said["guard"] for said in at])
    undefended = np.array([said["undefended"] for said in at])
    before = np.array([record["before"]["guard"] for record in records])
    accepted = guard != REJECTED
    fooled = accepted & (guard != truth)
    was_right = before == truth
    confidence = np.array([said["log_odds"] for said in at])
    kept = np.zeros(len(truth), bool)
    kept[most_confident(confidence, int(accepted.sum()))] = True
    confidence_fooled = kept & (undefended != truth)
    targets = np.array([record["target"] for record in records]) if case.targeted else None

    # As the source counts: a picture that was wrong before needs no change to be so.
    moved = np.array([record["before"]["undefended"] for record in records]) == truth

    def mean(measure: str) -> float:
        values = np.array([said[measure] for said in at])[moved]
        return float(values.mean()) if len(values) else float("nan")

    return Row(
        name,
        case.attack,
        case.threat,
        case.radius,
        ", ".join(case.variant),
        case.surrogate[0] if case.surrogate else None,
        case.epsilon,
        steps,
        len(records),
        share(undefended == truth),
        share(guard == truth),
        share(fooled),
        share(~accepted),
        None if targets is None else share(guard == targets),
        share(confidence_fooled),
        _versus(fooled, confidence_fooled),
        int(was_right.sum()),
        share(fooled[was_right]),
        share(~accepted[undefended == truth]),
        mean("linf"),
        mean("l2"),
        mean("per_pixel"),
        mean("changed_1"),
        mean("changed_10"),
        _endings(records),
        *_alone(records),
        _stuck(case, records, targets, guard, undefended, truth),
        _cost(records, fooled if targets is None else guard == targets),
        case.noise,
        *_switch(case, records, at),
    )


def _switch(
    case: Case, records: Sequence[Mapping[str, Any]], at: Sequence[Mapping[str, Any]]
) -> tuple[Share | None, Share | None]:
    """Frames that read noisy, and those that an attack on the switch has turned."""
    if "denoised" not in records[0]["before"]:
        return None, None
    noisy = np.array([said["denoised"] for said in at], bool)
    if case.attack not in SWITCH:
        return share(noisy), None
    before = np.array([record["before"]["denoised"] for record in records], bool)
    wanted = case.attack == "force"
    return share(noisy), share((noisy == wanted)[before != wanted])


def _versus(guard: Bools, undefended: Bools) -> Versus:
    from scipy.stats import binomtest

    spared = int(np.count_nonzero(undefended & ~guard))
    lost = int(np.count_nonzero(guard & ~undefended))
    if not spared + lost:
        return Versus(0, 0, 1.0)
    return Versus(spared, lost, float(binomtest(spared, spared + lost).pvalue))


def _stuck(
    case: Case,
    records: Sequence[Mapping[str, Any]],
    targets: Ints | None,
    guard: Ints,
    undefended: Ints,
    truth: Ints,
) -> Share:
    zero = np.array([record["zero_gradients"] > 0 for record in records])
    label = guard if case.threat == "adaptive" else undefended
    moved = (label != truth) & (label != REJECTED) if targets is None else label == targets
    return share(zero & ~moved)


def _endings(records: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    endings = [record["ending"] for record in records if record["ending"]]
    if not endings:
        return None
    counts = {
        reason: float(sum(ended == reason for ended, _ in endings))
        for reason in ("confident", "stalled", "steps")
    }
    return counts | {"median_steps": float(np.median([steps for _, steps in endings]))}


def _alone(records: Sequence[Mapping[str, Any]]) -> tuple[Share | None, float]:
    shown = [record for record in records if "alone" in record]
    if not shown:
        return None, float("nan")
    last = [record["at"][max(record["at"], key=int)]["undefended"] for record in shown]
    named = [record["alone"]["undefended"] for record in shown]
    confidence = float(np.mean([record["alone"]["confidence"] for record in shown]))
    return share(np.array(last) == np.array(named)), confidence


def _cost(records: Sequence[Mapping[str, Any]], won: Bools) -> Cost:
    queries = np.array([record["queries"] for record in records])
    return Cost(
        float(np.mean([record["seconds"] for record in records])),
        float(np.mean([record["gradients"] for record in records])),
        float(np.mean(queries)),
        float(np.median(queries[won])) if won.any() else float("nan"),
        share(np.array([record["zero_gradients"] > 0 for record in records])),
    )
