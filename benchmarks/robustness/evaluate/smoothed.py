"""Denoised smoothing (Salman et al. 2020, arXiv 2003.01908) beside the guard, on the same pictures.

The smoothed classifier takes the guard's clean view on the backbone's grid, adds noise of `sigma`
to `n` copies, denoises and classifies each, and takes their majority (PREDICT of Cohen et al. 2019,
arXiv 1902.02918, which abstains where the copies do not settle it). CERTIFY chooses the class by
`n0 = n / 10` further copies and bounds its probability by the same `n`.

On noisy camera frames, two uses of the same denoiser: the smoothed classifier as it is, its own
noise coming on top; and "denoise once", one denoising and one inference, which rejects nothing. The
denoiser is then told the noise that the resize leaves: averaging of neighbours makes it smaller
than that of the frame.
"""

from __future__ import annotations

import argparse
import functools
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness import smoothing
from blurvote.benchmarks.robustness.certainty import log_odds
from blurvote.benchmarks.robustness.dataset import Dataset, Sample
from blurvote.benchmarks.robustness.defenses import plain
from blurvote.benchmarks.robustness.degradations import Degradation
from blurvote.benchmarks.robustness.denoiser import Denoiser
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.measure import Plan, frame_of, recorder
from blurvote.benchmarks.robustness.evaluate.running import measured, settings_of
from blurvote.benchmarks.robustness.evaluate.smoothed_score import Smoothed, score_smoothed, text_of
from blurvote.export.reference import build_views
from blurvote.runtime import ViewBuilder
from blurvote.runtime.errors import GuardError
from blurvote.runtime.tuning import guard_sha256

__all__ = ["ALPHA", "Smoothing", "choose", "prepare", "run", "text_of"]

ALPHA = 0.001  # as Cohen et al. and Salman et al. take it
_BATCH = 4  # copies at once: on one core larger batches only leave the caches
Image = NDArray[np.float32]
Frame = NDArray[np.uint8] | NDArray[np.float32]


@dataclass(frozen=True)
class Smoothing:
    """How the classifier is smoothed; crosses to the workers.

    Attributes:
        denoiser: its ONNX file.
        sigma: of the noise, in [0, 1].
        n: copies that vote, and that bound the probability.
        n0: further copies that choose the class of the certificate.
        alpha: chance of a wrong label or certificate.
    """

    denoiser: Path
    sigma: float
    n: int
    n0: int
    alpha: float = ALPHA


def choose(args: argparse.Namespace, guard: Deployed) -> Smoothing:
    """What the command line asks for, refused before anything is run if it cannot be done.

    Raises:
        GuardError: the guard builds its views itself, or has a denoiser of its own.
        PlanError: sigma is out of range.
        SourceError: the denoiser cannot be used.
    """
    if guard.metadata.kind == "frames":
        guard.refuse_other_views()
    if guard.defense.adaptive:
        raise GuardError(
            f"{guard.path} denoises noisy frames itself, so that denoised smoothing would be "
            "compared with two defences at once; give --smoothing with the guard of the same "
            "model that was exported without a denoiser"
        )
    n = args.smoothing_n
    how = Smoothing(Path(args.smoothing), args.smoothing_sigma, n, max(1, n // 10))
    smoothing.largest_radius(how.n, how.alpha, how.sigma)
    Degradation("gaussian", how.sigma)
    Denoiser(how.denoiser, 1)
    return how


def run(
    how: Smoothing,
    args: argparse.Namespace,
    guard: Deployed,
    dataset: Dataset,
    plan: Plan,
    journal: Path,
) -> Smoothed:
    """Measures denoised smoothing and the guard on the same pictures.

    Args:
        how: as `choose` returned it.
        args: of `blurvote evaluate`.
        guard: of kind `views`.
        dataset: whose pictures are drawn from; those of a smaller draw are among a larger one's.
        plan: of the main table; its own defence, seed, delivery and subset are used.
        journal: the file of results.

    Raises:
        SourceError: no picture could be measured, or the journal is of other settings.
    """
    delivery = plan.degradations[0].delivery
    levels = tuple(Degradation("gaussian", level, delivery) for level in (0.0, how.sigma))
    plan = replace(plan, degradations=levels, variants=plan.variants[:1], repeats=1)
    count = args.smoothing_images if args.limit is None else min(args.limit, args.smoothing_images)
    sha256 = guard_sha256(how.denoiser)
    settings = settings_of(plan, guard, dataset) | {
        "sigma": how.sigma,
        "n": how.n,
        "n0": how.n0,
        "alpha": how.alpha,
        "denoiser_sha256": sha256,
    }
    found = measured(
        dataset.some(count, args.seed),
        plan,
        journal,
        settings,
        args,
        functools.partial(prepare, how),
        keep_records=True,
    )
    facts = {"file": how.denoiser.name, "sha256": sha256}
    largest = smoothing.largest_radius(how.n, how.alpha, how.sigma)
    return score_smoothed(found, facts, settings, largest, len(guard.defense.passes))


def prepare(how: Smoothing, plan: Plan) -> Callable[[Sample], dict[str, Any]]:
    """Loads guard and denoiser; returns the function from sample to record.

    A record is `measure`'s of the clean and the noisy frame, with `"smoothed"`: labels (-1 where
    it abstains), the certificate, and milliseconds.
    """
    guard = Deployed(plan.guard, plan.engine)
    denoiser = Denoiser(how.denoiser, plan.engine.threads)
    record = recorder(guard, plan)
    subset = None if plan.subset is None else list(plan.subset)
    mean, std = guard.defense.mean, guard.defense.std
    only_clean = plain(guard.defense, (0,))
    builder = ViewBuilder(only_clean)

    def backbone(views: Image) -> Image:
        logits = guard.view_logits(views)
        return logits if subset is None else np.ascontiguousarray(logits[:, subset])

    def classifier(sigma: float) -> smoothing.Classify:
        def denoise(images: Image) -> Image:
            return denoiser(images, sigma)

        return smoothing.smooth_classify(backbone, mean, std, denoise)

    smooth = classifier(how.sigma)

    def view(frame: Frame) -> Image:
        if frame.dtype == np.uint8:
            built = builder.build(np.asarray(frame, np.uint8))
        else:
            built = build_views(only_clean, np.asarray(frame, np.float32)).astype(np.float32)
        return np.asarray(built[0], np.float32)

    def work(sample: Sample) -> dict[str, Any]:
        found = record(sample)
        if "skipped" in found:
            return found
        pixels = frame_of(sample, plan)
        noisy = plan.degradations[1].apply(
            pixels, plan.degradations[1].generator(plan.seed, sample.index)
        )
        # Its own stream: neither the frame's noise nor another picture's.
        random = np.random.default_rng([plan.seed, sample.index, zlib.crc32(b"smoothing")])
        clean = _timed(lambda: backbone(view(pixels)[None]))
        guarded = _timed(lambda: guard.logits(pixels))
        image = smoothing.unit_view(view(pixels), mean, std)
        votes = _timed(
            lambda: smoothing.class_counts(smooth, image, how.sigma, how.n, _BATCH, random)
        )
        counts0 = smoothing.class_counts(smooth, image, how.sigma, how.n0, _BATCH, random)
        certificate = smoothing.certify(
            counts0, votes.value, how.alpha, how.sigma, n0=how.n0, n=how.n
        )
        disturbed = smoothing.unit_view(view(noisy), mean, std)
        counts = smoothing.class_counts(smooth, disturbed, how.sigma, how.n, _BATCH, random)
        left = how.sigma * builder.noise_gain(*pixels.shape[:2])
        once = _timed(lambda: classifier(left)(disturbed[None]))
        return found | {
            "smoothed": {
                "label": smoothing.predict(votes.value, how.alpha),
                "certified": certificate.label,
                "radius": certificate.radius,
                "noisy": smoothing.predict(counts, how.alpha),
                "once": int(once.value[0].argmax()),
                "once_confidence": log_odds(once.value, int(once.value[0].argmax())),
                "sigma_left": left,
                "ms": {
                    "no defence": clean.ms,
                    "majority": guarded.ms,
                    "denoised once": once.ms,
                    "smoothed": votes.ms,
                },
            }
        }

    return work


@dataclass(frozen=True, eq=False)
class _Timed:
    value: NDArray[Any]
    ms: float


def _timed(work: Callable[[], NDArray[Any]]) -> _Timed:
    start = time.perf_counter()
    value = work()
    return _Timed(value, round(1e3 * (time.perf_counter() - start), 3))
