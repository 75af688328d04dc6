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
from blurvote.benchmarks.robustness.defenses import plain
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Answer, Deployed
from blurvote.benchmarks.robustness.sizes import resized
from blurvote.runtime.decision import softmax
from blurvote.runtime.defense import Defense
from blurvote.runtime.demo.pen import to_u8
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import DefenseError, GuardError, SourceError
from blurvote.runtime.vote import REJECTED, majority_vote

__all__ = [
    "NO_LEVEL",
    "Plan",
    "Variant",
    "all_logits",
    "answer",
    "frame_of",
    "measure",
    "numbers",
    "passes_measured",
    "recorder",
    "variants",
]

NO_LEVEL = -1.0  # in a record, of a frame whose noise cannot be estimated
Frame = NDArray[np.uint8] | NDArray[np.float32]


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
        seed: of the noise; of its r-th draw, seed + r.
        colour_only: leave grey pictures out, as the blog did.
        subset: the classes that count, as indices; None means all. The rule of ImageNet-A and -O.
        repeats: draws of each degradation that is random; at least 1.
        short_side: of the frames, in pixels, to which pictures are resized before they are
            degraded; None leaves them as they are.
    """

    guard: Path
    engine: EngineSettings
    degradations: tuple[Degradation, ...]
    variants: tuple[Variant, ...]
    seed: int
    colour_only: bool = False
    subset: tuple[int, ...] | None = None
    repeats: int = 1
    short_side: int | None = None

    def draws(self, degradation: Degradation) -> int:
        """How many frames are made of a picture: another draw of what is not random is the same."""
        return self.repeats if degradation.random else 1


def variants(
    own: Defense, kernels: tuple[int, ...] = (), antialias: tuple[bool, ...] = ()
) -> tuple[Variant, ...]:
    """The guard's own defence, then those with other kernels and resize filters.

    The others have the same views for every frame: a denoiser was made for the guard's own.

    Raises:
        DefenseError: an impossible kernel.
    """
    found = {plain(own): Variant("own", own)}
    for kernel in kernels or (own.kernel_size,):
        for smooth in antialias or (own.antialias,):
            defense = replace(own, kernel_size=kernel, antialias=smooth)
            name = f"{kernel}x{kernel}, {'antialiased' if smooth else 'not antialiased'}"
            alone = replace(defense, noisy_views=(), noisy_threshold=None)
            found.setdefault(plain(defense), Variant(name, alone))
    return tuple(found.values())


def passes_measured(defense: Defense) -> tuple[int, ...]:
    """The defence's views, and the clean one, which the baseline without defence needs."""
    return tuple(sorted({0, *defense.passes}))


def numbers(defense: Defense) -> int:
    """How many numbers the row of a variant has."""
    quiet = 2 * len(passes_measured(defense)) + 6
    return quiet + (2 * len(defense.noisy_views) + 7) * defense.adaptive


def frame_of(sample: Sample, plan: Plan) -> NDArray[np.uint8]:
    """The picture as a frame of the plan's size.

    Raises:
        SourceError: it cannot be read.
    """
    return resized(sample.read(), plan.short_side)


def measure(plan: Plan) -> Callable[[Sample], dict[str, Any]]:
    """Loads the guard; returns the function from sample to record.

    A record is `{"label": int, "rows": [...]}`, one row per degradation, draw and variant (all
    variants of the first draw of the first degradation first), or `{"skipped": why}`. A row is a
    list of numbers: the labels of the views measured and their log-odds, the majority's label,
    votes and log-odds, the mean softmax's label and log-odds, and the label of the guard's own
    decision. Of an adaptive guard's own defence all but the last are of its quiet views; the same
    numbers (but the last) follow for the views that judged the frame, then the noise level read
    (`NO_LEVEL` without an estimate) and whether those were the views of noisy frames.
    """
    return recorder(Deployed(plan.guard, plan.engine), plan)


def recorder(guard: Deployed, plan: Plan) -> Callable[[Sample], dict[str, Any]]:
    """What `measure` returns, of a guard that is loaded already."""

    def record(sample: Sample) -> dict[str, Any]:
        try:
            pixels = frame_of(sample, plan)
        except SourceError as error:
            return {"skipped": str(error)}
        if plan.colour_only and is_grey(pixels):
            return {"skipped": "grey"}
        rows = []
        try:
            for degradation in plan.degradations:
                for draw in range(plan.draws(degradation)):
                    random = degradation.generator(plan.seed + draw, sample.index)
                    frame = degradation.apply(pixels, random)
                    rows += [_row(guard, frame, variant, plan.subset) for variant in plan.variants]
        except (DefenseError, GuardError) as error:  # too small, or not the guard's fixed size
            return {"skipped": f"{sample.path}: {error}"}
        return {"label": _position(sample.label, plan.subset), "rows": rows}

    return record


def _position(label: int, subset: tuple[int, ...] | None) -> int:
    return label if subset is None or label < 0 else subset.index(label)


def _row(
    guard: Deployed, frame: Frame, variant: Variant, subset: tuple[int, ...] | None
) -> list[float]:
    def cut(logits: NDArray[np.float32]) -> NDArray[np.float32]:
        return logits if subset is None else np.ascontiguousarray(logits[:, list(subset)])

    if variant.defense.adaptive:
        said = answer(guard, frame)
        assert said.quiet is not None  # asked for
        quiet, chosen = cut(said.quiet), cut(said.logits)
        return [
            *_judged(quiet, quiet),
            guard.decide(chosen, said.denoised).label,
            *_judged(chosen, chosen),
            NO_LEVEL if said.noise is None else said.noise,
            float(said.denoised),
        ]
    logits = cut(all_logits(guard, frame, variant.defense))
    passes = passes_measured(variant.defense)
    used = logits[[passes.index(p) for p in variant.defense.passes]]
    return [*_judged(logits, used), guard.decide(used).label]


def _judged(logits: NDArray[np.float32], used: NDArray[np.float32]) -> list[float]:
    """Each view's label and log-odds, and majority and mean softmax of those that are used."""
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
    ]


def answer(guard: Deployed, frame: Frame) -> Answer:
    """What an adaptive guard says of a frame, its quiet views included.

    The noise of a float frame is read as a camera would deliver it, in 8 bits.

    Raises:
        GuardError: a `frames` guard, asked for a noisy frame's quiet views or for a float frame.
    """
    if frame.dtype == np.uint8:
        return guard.answer(np.asarray(frame, np.uint8), quiet=True)
    if guard.metadata.kind == "frames":
        guard.refuse_other_views()
    level, _ = guard.read_noise(to_u8(np.asarray(frame, np.float32) * np.float32(255)))
    views = _built(plain(guard.defense), np.asarray(frame, np.float32))
    height, width = frame.shape[:2]
    return guard.judge(views, level, height, width, quiet=True)


def all_logits(guard: Deployed, frame: Frame, defense: Defense) -> NDArray[np.float32]:
    """Logits `(P, C)` of the views `passes_measured(defense)` of one frame.

    Raises:
        GuardError: a `frames` guard, asked for other views than its own or for a float frame.
    """
    if guard.metadata.kind == "frames" and frame.dtype == np.uint8 and defense == guard.defense:
        if 0 not in defense.passes:
            guard.refuse_other_views()
        return guard.logits(np.asarray(frame, np.uint8))
    wanted = plain(defense, passes_measured(defense))
    if frame.dtype == np.uint8:
        return guard.logits(np.asarray(frame, np.uint8), wanted)
    return guard.view_logits(_built(wanted, np.asarray(frame, np.float32)))


def _built(defense: Defense, frame: NDArray[np.float32]) -> NDArray[np.float32]:
    from blurvote.export.reference import build_views

    return np.asarray(build_views(defense, frame), np.float32)
