"""What a cascade costs over many pictures, clean and noisy: mean, p99, agreement.

The cascade's cost depends on the frame: where the first two views agree the third never runs. A
median over one frame cannot show that, so here every picture is classified once by each way, in
turn, at its own size, after one uncounted call that plans the size.

So does that of a guard with a denoiser, whatever its plan: noisy frames cost the denoiser, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.pictures import noisy
from blurvote.benchmarks.results import rows_of
from blurvote.benchmarks.timing import Measured, stopwatch, summarise
from blurvote.runtime.undefended import Undefended

__all__ = ["measure"]

NOISE = (0.0, 0.25)
NOISE_DENOISED = (0.0, 0.125, 0.25, 0.375)  # of guards with a denoiser


def measure(bench: Bench) -> None:
    """Adds the rows and facts of section `cascade`."""
    adaptive = bench.metadata.defense.adaptive
    if not bench.has_clean_view or not (adaptive or "cascade" in bench.plans):
        bench.skip("cascade", "cascade", "this guard always runs all views in one inference")
        return
    guards = {plan: bench.load(plan) for plan in reversed(bench.plans)}
    undefended = Undefended(bench.guard, bench.engine)
    facts = {}
    for sigma in NOISE_DENOISED if adaptive else NOISE:
        case = f"noise {sigma:g}" if sigma else "clean"
        samples: dict[str, list[float]] = {way: [] for way in ("undefended", *guards)}
        agreed, denoised = [], []
        for seed, image in enumerate(bench.pictures.images):
            bench.say(f"cascade, {case}: picture {seed + 1} of {len(bench.pictures.images)}")
            frame = noisy(image, sigma, seed) if sigma else image
            ways: dict[str, Callable[[], Any]] = {
                "undefended": partial(undefended.classify, frame),
                **{plan: partial(guard.classify, frame) for plan, guard in guards.items()},
            }
            for way, function in ways.items():
                samples[way].append(stopwatch(function, bench.method.pause_s))
            verdict = next(iter(guards.values())).classify(frame)
            if verdict.disagreement is not None:  # as it always is where one view decides
                agreed.append(not verdict.disagreement)
            denoised.append(verdict.denoised)
        timings = {way: summarise(values) for way, values in samples.items()}
        measured = Measured(timings, samples, samples)
        bench.results.rows += rows_of("cascade", case, measured, "undefended")
        facts[case] = _split(samples, np.array(agreed))
        if adaptive:
            facts[case]["denoised_rate"] = float(np.mean(denoised))
    bench.results.facts["cascade"] = facts
    for guard in guards.values():
        guard.close()


def _split(samples: dict[str, list[float]], agreed: Any) -> dict[str, Any]:
    """Means and p99 over all pictures, and of the cascade over those that agree and the rest.

    Args:
        samples: ms of each picture, by way.
        agreed: whether its first two views do, bool; empty where there are no two.
    """
    undefended = np.array(samples["undefended"])
    mean = {way: float(np.mean(values)) for way, values in samples.items()}
    found: dict[str, Any] = {
        "images": len(undefended),
        "mean_ms": mean,
        "p99_ms": {way: summarise(values).p99 for way, values in samples.items()},
        "mean_times_undefended": {way: value / mean["undefended"] for way, value in mean.items()},
    }
    if len(agreed):
        found["agreement_rate"] = float(agreed.mean())
    if "cascade" in samples:
        cascade = np.array(samples["cascade"])
        found["agree"] = _part(cascade[agreed], undefended[agreed])
        found["differ"] = _part(cascade[~agreed], undefended[~agreed])
    return found


def _part(cascade: Any, undefended: Any) -> dict[str, float | None] | None:
    if not len(cascade):
        return None
    return {
        "images": len(cascade),
        "mean_ms": float(cascade.mean()),
        "p99_ms": summarise(cascade).p99,
        "mean_times_undefended": float(cascade.mean() / undefended.mean()),
    }
