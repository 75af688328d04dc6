"""One picture through every degradation and every variant of the defence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.certainty import log_odds
from blurvote.benchmarks.robustness.dataset import Sample, is_grey
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.decision import softmax
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import DefenseError, GuardError, SourceError
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = ["Plan", "Variant", "measure", "passes_measured", "recorder", "variants"]


@dataclass(frozen=True)
class Variant:
    """The guard's defence, or one that differs from it in the kernel or in antialiasing."""

    name: str
    defense: Defense


@dataclass(frozen=True)
class Plan:
    """What is measured of every picture; crosses to the workers.

    Attributes:
        guard, engine: as `Deployed` takes them.
        degradations: in the order of the table.
        variants: the guard's own first.
        seed: of the noise.
        colour_only: leave grey pictures out, as the blog did.
        subset: the classes that count, as indices; None means all. The rule of ImageNet-A and -O.
    """

    guard: Path
    engine: EngineSettings
    degradations: tuple[Degradation, ...]
    variants: tuple[Variant, ...]
    seed: int
    colour_only: bool = False
    subset: tuple[int, ...] | None = None


def variants(
    own: Defense, kernels: tuple[int, ...] = (), antialias: tuple[bool, ...] = ()
) -> tuple[Variant, ...]:
    """The guard's own defence, then those with other kernels and resize filters.

    Raises:
        DefenseError: an impossible kernel.
    """
    found = {own: Variant("own", own)}
    for kernel in kernels or (own.kernel_size,):
        for smooth in antialias or (own.antialias,):
            defense = replace(own, kernel_size=kernel, antialias=smooth)
            name = f"{kernel}x{kernel}, {'antialiased' if smooth else 'not antialiased'}"
            found.setdefault(defense, Variant(name, defense))
    return tuple(found.values())


def passes_measured(defense: Defense) -> tuple[int, ...]:
    """The defence's views, and the clean one, which the baseline without defence needs."""
    return tuple(sorted({0, *defense.passes}))


def measure(plan: Plan) -> Callable[[Sample], dict[str, Any]]:
    """Loads the guard; returns the function from sample to record.

    A record is `{"label": int, "rows": [...]}`, one row per degradation and variant (all variants
    of the first degradation first), or `{"skipped": why}`. A row is a list of numbers: the labels
    of the views measured and their log-odds, the majority's label, votes and log-odds, the mean
    softmax's label and log-odds, and the label of the guard's own decision.
    """
    return recorder(Deployed(plan.guard, plan.engine), plan)


def recorder(guard: Deployed, plan: Plan) -> Callable[[Sample], dict[str, Any]]:
    """What `measure` returns, of a guard that is loaded already."""

    def record(sample: Sample) -> dict[str, Any]:
        try:
            pixels = sample.read()
        except SourceError as error:
            return {"skipped": str(error)}
        if plan.colour_only and is_grey(pixels):
            return {"skipped": "grey"}
        rows = []
        try:
            for degradation in plan.degradations:
                frame = degradation.apply(pixels, degradation.generator(plan.seed, sample.index))
                rows += [_row(guard, frame, variant, plan.subset) for variant in plan.variants]
        except (DefenseError, GuardError) as error:  # too small, or not the guard's fixed size
            return {"skipped": f"{sample.path}: {error}"}
        return {"label": _position(sample.label, plan.subset), "rows": rows}

    return record


def _position(label: int, subset: tuple[int, ...] | None) -> int:
    return label if subset is None or label < 0 else subset.index(label)


def _row(
    guard: Deployed,
    frame: NDArray[np.uint8] | NDArray[np.float32],
    variant: Variant,
    subset: tuple[int, ...] | None,
) -> list[float]:
    logits = all_logits(guard, frame, variant.defense)
    if subset is not None:
        logits = np.ascontiguousarray(logits[:, list(subset)])
    passes = passes_measured(variant.defense)
    used = logits[[passes.index(p) for p in variant.defense.passes]]
    votes = majority_vote(used[None])
    each = majority_vote(logits[None]).view_labels[0]
    # A view without a vote (non-finite logits) has no share in the mean either.
    valid = used[[label != REJECTED for label in votes.view_labels[0]]]
    averaged = int(softmax(valid).mean(axis=0).argmax()) if len(valid) else REJECTED
    label = int(votes.labels[0])
    # Label -1 of a view names its last class, but all its logits are left out then.
    return [
        *(int(value) for value in each),
        *(log_odds(logits[k : k + 1], int(value)) for k, value in enumerate(each)),
        label,
        int(votes.counts[0]),
        log_odds(used, label),
        averaged,
        log_odds(used, averaged),
        guard.decide(used).label,
    ]


def all_logits(
    guard: Deployed, frame: NDArray[np.uint8] | NDArray[np.float32], defense: Defense
) -> NDArray[np.float32]:
    """Logits `(P, C)` of the views `passes_measured(defense)` of one frame.

    Raises:
        GuardError: a `frames` guard, asked for other views than its own or for a float frame.
    """
    if guard.metadata.kind == "frames" and frame.dtype == np.uint8 and defense == guard.defense:
        if 0 not in defense.passes:
            guard.refuse_other_views()
        return guard.logits(np.asarray(frame, np.uint8))
    # Without threshold and decision, which are no matter of the views.
    wanted = replace(defense, passes=passes_measured(defense), decision="majority", threshold=None)
    if frame.dtype == np.uint8:
        return guard.logits(np.asarray(frame, np.uint8), wanted)
    from blurvote.export.reference import build_views

    return guard.view_logits(build_views(wanted, np.asarray(frame, np.float32)).astype(np.float32))
