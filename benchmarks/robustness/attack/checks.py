"""What `blurvote attack` refuses before anything is attacked, which may take hours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from blurvote.benchmarks.robustness.attack.cases import SWITCH, Case
from blurvote.benchmarks.robustness.attack.measure import Plan, start_frame
from blurvote.benchmarks.robustness.dataset import Sample
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.errors import BlurvoteError, DefenseError, GuardError, SourceError
from blurvote.runtime.tuning import guard_sha256

__all__ = ["cases_of_guard", "check_guard", "check_surrogate", "check_twin"]

_CHECKED = 8  # frames on which the twin is compared with the guard
_CHECKED_NOISE = 0.25  # on half of them, if there is a noise switch


def check_guard(guard: Deployed) -> None:
    """Refuses guards on which the table's columns would not mean what they say.

    Raises:
        GuardError: such a guard.
    """
    if guard.classes < 2:
        raise GuardError(f"{guard.path} has one class, so that no label can be wrong")
    if guard.metadata.kind == "frames" and (
        guard.defense.decision == "single"
        or 0 not in guard.defense.passes
        or guard.defense.adaptive  # of a noisy frame only the denoised views leave the graph
    ):
        raise GuardError(
            f"{guard.path} does not say what it makes of every clean frame, which the undefended "
            "model is measured on; attack the same model's export with --input views"
        )


def cases_of_guard(
    guard: Deployed, wanted: Sequence[Case], attacks: Sequence[str], noises: Sequence[float]
) -> list[Case]:
    """Of the wanted cases those that this guard can be asked.

    Args:
        guard: without a noise switch, it has none to attack.
        wanted: all cases.
        attacks, noises: that were asked for by name.

    Raises:
        GuardError: an attack on the noise switch was asked for, and there is none.
    """
    if guard.defense.adaptive:
        return list(wanted)
    named = [name for name in SWITCH if name in attacks]
    if named:
        raise GuardError(
            f"{guard.path} judges all frames by the same views, so there is no noise switch that "
            f"{named[0]} could attack; leave {' and '.join(named)} out, or export the model with a "
            "denoiser"
        )
    asked = {0.0, *noises}  # evade may have added another
    return [case for case in wanted if case.attack not in SWITCH and case.noise in asked]


def check_surrogate(plan: Plan, guard: Deployed) -> list[str]:
    """Refuses a surrogate that cannot stand in; returns what is to be known of it.

    Raises:
        BlurvoteError: it is the guard itself, or has other classes.
    """
    from blurvote.benchmarks.robustness.twin import Twin

    if plan.surrogate is None:
        return []
    if guard_sha256(plan.surrogate) == guard_sha256(plan.guard):
        raise BlurvoteError(f"the surrogate is {plan.guard} itself; transfer needs another model")
    surrogate = Twin.load(plan.surrogate, None, plan.device)
    if surrogate.classes != guard.classes:
        raise GuardError(
            f"the surrogate {plan.surrogate} has {surrogate.classes} classes and {plan.guard} has "
            f"{guard.classes}; transfer needs another model of the same classes"
        )
    differing = [
        n
        for n, (own, other) in enumerate(zip(guard.labels, surrogate.labels, strict=False))
        if own.split(",")[0].strip().casefold() != other.split(",")[0].strip().casefold()
    ]
    if not differing:
        return []
    first = differing[0]
    return [
        f"The surrogate {plan.surrogate.name} calls {len(differing)} of {guard.classes} classes by "
        f"other names (class {first} is {surrogate.labels[first]!r}, not {guard.labels[first]!r}). "
        f"If they mean other things, the transfer rows say nothing."
    ]


def check_twin(plan: Plan, guard: Deployed, samples: Sequence[Sample]) -> dict[str, Any]:
    """Refuses a twin that answers otherwise than the guard; returns how they compare.

    Raises:
        BlurvoteError: it does, or has no gradients.
    """
    from blurvote.benchmarks.robustness.twin import Twin
    from blurvote.benchmarks.robustness.twin_check import check_twin as compare
    from blurvote.benchmarks.robustness.twin_check import require_likeness

    twin = Twin.load(plan.guard, plan.twin, plan.device)
    frames: list[Any] = []
    for sample in samples:
        if len(frames) >= _CHECKED:
            break
        try:
            pixels = sample.read()
            guard.logits(pixels)
        except (SourceError, DefenseError):
            continue  # listed by the run itself
        frames.append(pixels)
        if guard.defense.adaptive:  # so that both sets of views are compared
            noise = Case("none", "none", 0.0, noise=_CHECKED_NOISE)
            frames.append(start_frame(plan.seed, noise, sample))
    check = compare(twin, guard, frames)
    doubts = require_likeness(check, twin, guard) if frames else []  # else the run says why
    words = check.in_words()
    if check.quantised:
        words = f"of the fp32 twin {twin.path.name}, not of the int8 guard itself; {words}"
    elif plan.twin:
        words = f"of {twin.path.name}; {words}"
    return asdict(check) | {"words": words, "file": twin.path.name, "doubts": doubts}
