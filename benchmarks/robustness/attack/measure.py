"""One attack on one picture, judged by the deployed guard."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.attack.cases import Case
from blurvote.benchmarks.robustness.certainty import log_odds
from blurvote.benchmarks.robustness.dataset import Sample, is_grey
from blurvote.benchmarks.robustness.defenses import plain
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.runtime.decision import softmax
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.errors import DefenseError, GuardError, SinkError, SourceError
from blurvote.runtime.vote import REJECTED
from blurvote.runtime.whole_file import write_whole

__all__ = ["Job", "Plan", "measure", "picture_file", "start_frame"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Job:
    """One case on one picture."""

    case: Case
    sample: Sample

    @property
    def key(self) -> str:
        """The case's and the picture's, which begins after the first bar."""
        return f"{self.case.key.replace('|', '_')}|{self.sample.key}"


@dataclass(frozen=True)
class Plan:
    """What a worker needs; crosses to its process.

    Attributes:
        guard: the deployed guard.
        twin: the file of the backbone that gradients are taken of; None means the guard's own.
        surrogate: a guard of another model, for transfer; None where there is none.
        engine: how the guard runs; its threads are the twin's, too.
        device: where the twin runs.
        seed: of every random draw.
        keep: samples, by key, whose last frames are kept as PNG, and the folder for them.
    """

    guard: Path
    twin: Path | None
    surrogate: Path | None
    engine: EngineSettings
    device: str
    seed: int
    keep: tuple[frozenset[str], Path] | None = None


def picture_file(folder: Path, case: Case, sample: Sample) -> Path:
    """Where the adversarial frame of a case is kept."""
    slug = re.sub(r"[^\w.-]+", "-", case.key.replace("/", "of"))
    return folder / f"{sample.index:06}" / f"{slug}.png"


def start_frame(seed: int, case: Case, sample: Sample) -> Pixels:
    """The frame that a case starts from: the picture, under the noise of `blurvote evaluate`.

    Raises:
        SourceError: the picture cannot be read.
    """
    noise = Degradation("gaussian", case.noise)
    frame = noise.apply(sample.read(), noise.generator(seed, sample.index))
    return np.asarray(frame, np.uint8)


def measure(plan: Plan) -> Callable[[Job], dict[str, Any]]:
    """Loads guard and twins; returns the function from job to record.

    A record is `{"skipped": why}`, or has `case`, `label`, `target`, `seconds`, the attack's costs,
    `at`: steps to what the guard said of the frame and how far it was changed, and `alone`: what it
    says of the perturbation shown as an image.
    """
    import torch

    from blurvote.benchmarks.robustness.attack.crafting import craft, draw_target, seed_of
    from blurvote.benchmarks.robustness.attacks.blackbox import Answers
    from blurvote.benchmarks.robustness.attacks.frames8bit import show_perturbation, to_frames
    from blurvote.benchmarks.robustness.twin import Twin

    torch.set_num_threads(plan.engine.threads or 1)
    guard = Deployed(plan.guard, plan.engine)
    twin = Twin.load(plan.guard, plan.twin, plan.device)
    surrogate = Twin.load(plan.surrogate, None, plan.device) if plan.surrogate else None

    def query(frames: Pixels) -> Answers:
        answers = [guard.answer(frame) for frame in frames]
        used = list(guard.defense.views)
        return Answers(
            np.stack([softmax(each.logits[used]).mean(axis=0) for each in answers]),
            np.array(
                [guard.decide(each.logits, each.denoised).label for each in answers], np.int64
            ),
        )

    def record(job: Job) -> dict[str, Any]:
        case, sample = job.case, job.sample
        try:
            pixels = start_frame(plan.seed, case, sample)
            guard.logits(pixels)
        except (SourceError, DefenseError, GuardError) as error:
            return {"skipped": str(error)}
        target = None
        if case.targeted:
            target = draw_target(plan.seed, sample.index, sample.label, guard.classes)

        def wrong(frame: Pixels) -> bool:
            said = guard.answer(frame)
            label = guard.decide(said.logits, said.denoised).label
            return label == target if case.targeted else label not in (REJECTED, sample.label)

        started = time.perf_counter()
        seed_for = partial(seed_of, plan.seed, index=sample.index)
        try:
            crafted = craft(
                case, pixels, sample.label, target, seed_for, twin, surrogate, query, wrong
            )
        except DefenseError as error:  # the surrogate's, which cuts its own crop
            return {"skipped": str(error)}
        seconds = time.perf_counter() - started
        grey = is_grey(pixels)
        result = {
            "case": asdict(case),
            "label": sample.label,
            "target": target,
            "seconds": round(seconds, 4),
            "gradients": crafted.gradients,
            "forwards": crafted.forwards,
            "queries": crafted.queries,
            "zero_gradients": crafted.zero_gradients,
            "ending": crafted.ending,
            "at": {
                str(steps): _said(guard, frame) | _changed(pixels, frame, grey)
                for steps, frame in crafted.frames.items()
            },
        }
        last = crafted.frames[max(crafted.frames)]
        if plan.keep and sample.key in plan.keep[0]:
            _keep(last, picture_file(plan.keep[1], case, sample))
        if case.attack != "none" and (last != pixels).any():
            delta = to_frames(last[None]) - to_frames(pixels[None])
            result["alone"] = _said(guard, show_perturbation(delta)[0])
        result["before"] = _said(guard, pixels)
        return result

    return record


def _keep(pixels: Pixels, file: Path) -> None:
    _, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, data.tobytes())
    except OSError as error:
        raise SinkError(f"{file} cannot be written: {error.strerror}") from error


def _said(guard: Deployed, pixels: Pixels) -> dict[str, Any]:
    """The undefended model's label and confidence, every view's label, and the guard's verdict.

    Of an adaptive guard the views are those that judged the frame, and it is said which they were.
    """
    answer = guard.answer(pixels, quiet=True)
    logits, quiet = answer.logits, answer.quiet
    assert quiet is not None  # asked for
    outcome = guard.decide(logits, answer.denoised)
    if 0 in guard.defense.passes:
        clean = quiet[guard.defense.passes.index(0)]
    else:
        clean = guard.logits(pixels, plain(guard.defense, (0,)))[0]
    noise = {"noise": answer.noise, "denoised": answer.denoised} if guard.defense.adaptive else {}
    return noise | {
        "undefended": int(clean.argmax()),
        "confidence": round(float(softmax(clean).max()), 6),
        "log_odds": log_odds(clean[None], int(clean.argmax())),
        "views": [int(label) for label in logits.argmax(axis=1)],
        "guard": outcome.label,
    }


def _changed(original: Pixels, frame: Pixels, grey: bool) -> dict[str, float]:
    from blurvote.benchmarks.robustness.attacks.change import (
        THRESHOLD,
        THRESHOLD_MNIST,
        Channels,
        measure_change,
    )

    # A grey picture has one channel, however many copies of it the file holds.
    channels: Channels = "mean" if grey else "sum"
    fine = measure_change(original, frame, THRESHOLD, channels)
    coarse = measure_change(original, frame, THRESHOLD_MNIST, channels)
    return {
        "linf": round(fine.linf, 6),
        "l2": round(fine.l2, 4),
        "per_pixel": round(fine.per_pixel, 6),
        "changed_1": round(fine.changed_share, 6),
        "changed_10": round(coarse.changed_share, 6),
    }
