"""What is run against every picture: an attack, what it knows, and how far it may go."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from blurvote.runtime.errors import BlurvoteError

__all__ = [
    "ATTACKS",
    "CLEAN",
    "EVADED",
    "L2",
    "SWITCH",
    "THREATS",
    "Attack",
    "Case",
    "Threat",
    "case_of",
    "cases",
    "parse_epsilon",
    "rank",
]

Attack = Literal[
    "none",
    "random",
    "random-l2",
    "fgsm",
    "scaled",
    "sgd",
    "pgd",
    "pgd-l2",
    "until-confident",
    "square",
    "force",
    "evade",
]
Threat = Literal["none", "control", "grey-box", "transfer", "adaptive", "black-box"]

ATTACKS: dict[str, str] = {
    "random": "random signs of the same norm, the control; also in L2 beside pgd-l2",
    "fgsm": "one step along the gradient's sign",
    "scaled": "one step along the gradient over its largest entry",
    "sgd": "gradient ascent by SGD, learning rate 0.1",
    "pgd": "projected gradient ascent, L-inf",
    "pgd-l2": "projected gradient ascent, L2",
    "until-confident": "sign steps until a wrong class has 0.9, without a bound",
    "square": "Square attack by queries on the guard itself (ART)",
    "force": "of a guard that denoises noisy frames: a quiet frame is made to read noisy (PGD)",
    "evade": "of such a guard: a noisy frame (--noise) is made to read quiet (PGD)",
}

L2 = ("pgd-l2", "random-l2")
"""Attacks whose radius is of the whole frame."""

SWITCH = ("force", "evade")
"""Attacks on the noise switch, which only adaptive guards have."""

EVADED = 0.06
"""Standard deviation of the noise that is evaded from, in [0, 1], where none was asked for."""

THREATS: dict[str, str] = {
    "grey-box": "knows the backbone, not the defence",
    "transfer": "knows another model (--surrogate)",
    "adaptive": "knows everything, and aims at wrong and accepted through all views",
}

_UNBOUNDED = ("until-confident", "none")
_SGD_STEPS = 30  # of the source; always counted, whatever other steps are


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        attack, threat: names.
        epsilon: radius in [0, 1]; of the `-l2` attacks over the whole frame; 0 without a bound.
        steps: numbers of steps at which success is counted; empty where there are none.
        restarts: of PGD.
        targeted: whether it aims at one wrong class, drawn per picture.
        queries: of the Square attack.
        surrogate: name and hash of the model that a transfer attack is crafted on.
        noise: standard deviation of Gaussian noise on the frame before the attack, in [0, 1].
    """

    attack: Attack
    threat: Threat
    epsilon: float
    steps: tuple[int, ...] = ()
    restarts: int = 1
    targeted: bool = False
    queries: int = 0
    surrogate: tuple[str, str] | None = None
    noise: float = 0.0

    @property
    def key(self) -> str:
        """What tells it from every other case; names results in the journal."""
        steps = ",".join(map(str, self.steps))
        return " ".join([self.name, *([steps] if steps else []), *(self.surrogate or ())[1:]])

    @property
    def name(self) -> str:
        """For people, such as `pgd adaptive 2/255`."""
        parts: list[str] = [self.attack, self.threat] if self.threat != "none" else [self.attack]
        parts += [f"from {self.surrogate[0]}"] if self.surrogate else []
        if self.epsilon:
            parts.append(self.radius)
        return " ".join([*parts, *self.variant])

    @property
    def variant(self) -> tuple[str, ...]:
        """What else there is to say, such as `targeted` or `5 restarts`."""
        parts = [f"on noise {self.noise:g}"] * bool(self.noise)
        parts += ["targeted"] * self.targeted
        parts += [f"{self.restarts} restarts"] * (self.restarts > 1)
        parts += [f"{self.queries} queries"] * bool(self.queries)
        return tuple(parts)

    @property
    def radius(self) -> str:
        """Epsilon as people write it: in grey levels where that is shorter, but for L2 plain."""
        if not self.epsilon:
            return "-"
        plain, levels = f"{self.epsilon:g}", f"{255 * self.epsilon:g}/255"
        return plain if self.attack in L2 else min(plain, levels, key=len)


CLEAN = Case("none", "none", 0.0)


def case_of(fields: Mapping[str, Any]) -> Case:
    """The case that `dataclasses.asdict` and JSON made a mapping of."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()
    }
    return Case(**values)


def rank(case: Case) -> tuple[Any, ...]:
    """The order of the table: clean, control, then by attack, radius and what it knows."""
    attacks = ["none", "random", "random-l2", *list(ATTACKS)[1:]]
    threats = ["none", "control", *THREATS, "black-box"]
    return (
        attacks.index(case.attack),
        case.noise,
        case.targeted,
        case.epsilon,
        threats.index(case.threat),
        case.restarts,
        case.steps,
        case.surrogate or ("", ""),
    )


def parse_epsilon(text: str) -> float:
    """`2/255`, `0.03` or `1.5` as a number.

    Raises:
        BlurvoteError: not a positive number.
    """
    found = re.fullmatch(r"\s*([0-9.]+(?:e-?\d+)?)\s*(?:/\s*([0-9.]+))?\s*", text)
    try:
        value = float(found[1]) / float(found[2] or 1) if found else 0.0
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if value <= 0:
        raise BlurvoteError(
            f"epsilon {text!r} is no number above 0; expected such as 2/255 or 0.03"
        )
    return value


def cases(
    attacks: Sequence[str],
    threats: Sequence[str],
    epsilons: Sequence[float],
    l2: Sequence[float],
    steps: tuple[int, ...],
    restarts: int = 1,
    targeted: bool = False,
    queries: int = 1000,
    surrogate: tuple[str, str] | None = None,
    noises: Sequence[float] = (0.0,),
) -> tuple[Case, ...]:
    """Every attack under every threat at every radius, the untouched pictures first.

    The control, the queries and the attacks on the noise switch have one threat model each,
    whatever was asked for. All are run on frames of every noise level, but `force` is on quiet
    frames alone, and `evade` on noisy ones alone: of `EVADED` where no noise was asked for.

    Raises:
        BlurvoteError: an unknown attack or threat, or an epsilon out of range.
    """
    from blurvote.benchmarks.robustness.attacks.budget import check_epsilon

    for kind, given, known in (("attack", attacks, ATTACKS), ("threat", threats, THREATS)):
        strange = [name for name in given if name not in known]
        if strange:
            raise BlurvoteError(f"{kind} {strange[0]!r} is unknown; expected {', '.join(known)}")
    found = [
        replace(case, noise=noise)
        for noise in noises
        for case in _quiet_cases(
            [name for name in attacks if name not in SWITCH],
            threats, epsilons, l2, steps, restarts, targeted, queries, surrogate,
        )
    ]  # fmt: skip
    for epsilon in epsilons:
        noisy = [noise for noise in noises if noise] or [EVADED]
        for attack, levels in (("force", [0.0]), ("evade", noisy)):
            if attack in attacks:
                check_epsilon(epsilon, "linf")
                found += [replace(CLEAN, noise=noise) for noise in levels]
                found += [
                    Case(attack, "adaptive", epsilon, steps, targeted=targeted, noise=noise)  # type: ignore[arg-type]
                    for noise in levels
                ]
    return tuple(dict.fromkeys([CLEAN, *found]))


def _quiet_cases(
    attacks: Sequence[str],
    threats: Sequence[str],
    epsilons: Sequence[float],
    l2: Sequence[float],
    steps: tuple[int, ...],
    restarts: int,
    targeted: bool,
    queries: int,
    surrogate: tuple[str, str] | None,
) -> list[Case]:
    """The cases without noise and without a switch; arguments were checked but for the radii."""
    from blurvote.benchmarks.robustness.attacks.budget import check_epsilon

    found = [CLEAN]
    for attack in attacks:
        radii = l2 if attack == "pgd-l2" else epsilons
        for epsilon in [0.0] if attack in _UNBOUNDED else radii:
            if epsilon:
                check_epsilon(epsilon, "l2" if attack == "pgd-l2" else "linf")
            if attack == "random":
                found.append(Case("random", "control", epsilon))
            elif attack == "square":
                found.append(Case("square", "black-box", epsilon, queries=queries))
            else:
                iterated = attack not in ("fgsm", "scaled")
                found += [
                    Case(
                        attack,  # type: ignore[arg-type]  # checked above
                        threat,  # type: ignore[arg-type]
                        epsilon,
                        tuple(sorted({*steps, _SGD_STEPS}))
                        if attack == "sgd"
                        else steps
                        if iterated
                        else (),
                        restarts if attack.startswith("pgd") else 1,
                        targeted,
                        surrogate=surrogate if threat == "transfer" else None,
                    )
                    for threat in threats
                ]
    if "random" in attacks and "pgd-l2" in attacks:
        found += [Case("random-l2", "control", epsilon) for epsilon in l2]
    return found
