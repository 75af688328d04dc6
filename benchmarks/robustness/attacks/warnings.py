"""Signs that an attack was too weak to say anything about a defence.

After AutoAttack's flags (Croce and Hein, *Reliable Evaluation of Adversarial Robustness*, 2020) and
the checklist of Carlini et al., *On Evaluating Adversarial Robustness* (2019). Each warning is one
sentence with its figures. None of them proves an attack sound; each of them proves a doubt.
"""

from __future__ import annotations

from dataclasses import dataclass

from blurvote.runtime.errors import BlurvoteError

__all__ = ["Evidence", "Successes", "attack_warnings"]


@dataclass(frozen=True)
class Successes:
    """How often an attack succeeded.

    Attributes:
        count: frames on which it did.
        of: frames that it tried.

    Raises:
        BlurvoteError: not 0 <= count <= of, or `of` is 0.
    """

    count: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.count <= self.of or self.of == 0:
            raise BlurvoteError(
                f"{self.count} successes of {self.of} frames; expected 0 <= count <= of, of >= 1"
            )

    @property
    def share(self) -> float:
        """Successes per frame tried."""
        return self.count / self.of

    def __str__(self) -> str:
        return f"{self.count} of {self.of} ({self.share:.1%})"


@dataclass(frozen=True)
class Evidence:
    """What the checks need; what is None is not checked.

    All successes are counted the same way (wrong and accepted, on the deployed guard) and at the
    same epsilon.

    Attributes:
        zero_gradients: frames on which the attack met a gradient of zero, of all it tried.
        grey_box: the strongest attack on the undefended backbone.
        adaptive: the strongest attack through all views.
        transfer: crafted on another model.
        black_box: by queries.
        random: noise of the same norm.
        fewer_steps: the strongest attack at the last checkpoint but one, such as 40 steps.
        more_steps: the same attack on the same frames at the last checkpoint, such as 100 steps.
        fewer, more: those numbers of steps.
    """

    zero_gradients: Successes | None = None
    grey_box: Successes | None = None
    adaptive: Successes | None = None
    transfer: Successes | None = None
    black_box: Successes | None = None
    random: Successes | None = None
    fewer_steps: Successes | None = None
    more_steps: Successes | None = None
    fewer: int = 40
    more: int = 100


def attack_warnings(evidence: Evidence) -> list[str]:
    """The warnings that the figures give cause for, the gravest first; empty when none."""
    found = []
    known = [kind for kind in (evidence.adaptive, evidence.grey_box) if kind is not None]
    white_box = max(known, key=lambda successes: successes.share, default=None)
    if evidence.zero_gradients is not None and evidence.zero_gradients.count:
        found.append(
            f"Zero gradients on {evidence.zero_gradients} frames: the attack had no direction "
            f"there, so that their robustness may be an artefact (gradient masking)."
        )
    for name, without in (("black-box", evidence.black_box), ("transfer", evidence.transfer)):
        if without is not None and white_box is not None and without.share > white_box.share:
            found.append(
                f"The {name} attack ({without}) is stronger than the white-box one ({white_box}): "
                f"gradients mislead, or the white-box attack is badly tuned."
            )
    adaptive, grey = evidence.adaptive, evidence.grey_box
    if adaptive is not None and grey is not None and adaptive.share < grey.share:
        found.append(
            f"The adaptive attack ({adaptive}) is weaker than the non-adaptive one ({grey}): it "
            f"knows more and reaches less, so its objective or its budget falls short."
        )
    if evidence.random is not None and white_box is not None:
        found += _control(evidence.random, white_box)
    if evidence.fewer_steps is not None and evidence.more_steps is not None:
        found += _steps(evidence.fewer_steps, evidence.more_steps, evidence.fewer, evidence.more)
    return found


def _control(random: Successes, attack: Successes) -> list[str]:
    if attack.count == 0:
        return [f"The attack never succeeded ({attack}); raise epsilon until it does, to test it."]
    if random.share < attack.share:
        return []
    return [
        f"Random noise of the same norm ({random}) does as much as the attack ({attack}): the "
        f"attack found nothing but noise."
    ]


def _steps(fewer: Successes, more: Successes, few: int, many: int) -> list[str]:
    if fewer.of != more.of:
        raise BlurvoteError(
            f"{few} steps were tried on {fewer.of} frames and {many} steps on {more.of}; expected "
            f"the same frames"
        )
    gained = more.count - fewer.count
    # Paired frames: McNemar's z is (gained - lost) / sqrt(gained + lost), here with none lost, as
    # the best so far is kept. Above 1.96 the gain is beyond chance; below 1 % it hardly matters.
    if gained <= 0 or gained**0.5 <= 1.96 or gained / more.of < 0.01:
        return []
    return [
        f"More steps still help: {fewer} at {few} steps, {more} at {many}; the attack has not "
        f"converged, and more steps or restarts would lower the robust accuracy further."
    ]
