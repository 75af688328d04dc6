"""Finds the fastest settings of a guard on this machine, within a time budget.

Every combination of file (precision), provider, plan, threads and spinning is tried for a moment;
the quickest are then measured in turn until the budget ends. The measure is the *mean* time of a
verdict over a fixed set of frames, because a cascade's cost depends on the frame. Among settings
within 3 % of the best, the one that takes least from the rest of the machine wins: fewer threads,
then no spinning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.pictures import noisy
from blurvote.benchmarks.latency.sections.providers import PROVIDERS
from blurvote.benchmarks.latency.sections.threads import counts
from blurvote.benchmarks.report import table
from blurvote.benchmarks.results import rows_of
from blurvote.benchmarks.timing import Method, stopwatch
from blurvote.runtime.engines.openvino import openvino_version
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.engines.protocol import Provider
from blurvote.runtime.errors import BlurvoteError, GuardError, ProviderError
from blurvote.runtime.guard import Guard
from blurvote.runtime.plans import PlanName
from blurvote.runtime.tuning import Tuning, fingerprint, guard_sha256, save_tuning

__all__ = ["Setting", "choose", "tune"]

FRAMES = 8
FINALISTS = 5
WORTH = 1.03  # how much slower a more frugal setting may be


@dataclass(frozen=True)
class Setting:
    """One combination of a file and `Guard`'s settings."""

    path: Path
    provider: Provider
    plan: PlanName
    threads: int
    spin: bool

    def load(self) -> Guard:
        """The guard with these settings."""
        return Guard(self.path, self.provider, self.plan, self.threads, spin=self.spin)

    def __str__(self) -> str:
        spin = "" if self.spin else ", no spinning"
        return f"{self.path.name}: {self.provider}, {self.plan}, {self.threads} threads{spin}"


def tune(bench: Bench, budget_s: float) -> str:
    """Measures, keeps the settings where `Guard.tuned` finds them, and returns what to print.

    Raises:
        GuardError: no setting could be measured.
        ProviderError: a compute or options that change more than the time.
        SinkError: the settings cannot be kept.
    """
    if bench.engine.compute != "fp32" or bench.engine.options:
        raise ProviderError(
            "--tune looks for the fastest settings that leave the numbers as they are; leave out "
            "--compute and --option"
        )
    deadline = time.monotonic() + budget_s
    frames = _frames(bench)
    tried = _heats(bench, frames, time.monotonic() + budget_s / 2)
    finalists = sorted(tried, key=lambda setting: tried[setting])[:FINALISTS]
    guards = {setting: setting.load() for setting in finalists}
    ways = {str(s): partial(_classify_all, guard, frames) for s, guard in guards.items()}
    left = max(1.0, deadline - time.monotonic())
    method = Method(
        rounds=3,
        turn_s=0.0,
        min_calls=1,
        warm_s=left / 4 / FINALISTS,
        window_s=left / 4,
        budget_s=left / 2,
        max_windows=20,
        tolerance=0.02,
    )
    measured = bench.measure("tuning", ways, method)
    for guard in guards.values():
        guard.close()
    means = {s: measured.timings[str(s)].median / len(frames) for s in finalists}
    best = choose(means)
    bench.results.rows += rows_of(
        "tuning",
        f"{len(frames)} frames",
        measured,
        str(best),
        frames=dict.fromkeys(ways, len(frames)),
    )
    tuning = Tuning(
        best.provider,
        best.plan,
        best.threads,
        best.spin,
        guard_sha256(best.path),
        fingerprint(),
        means[best],
        time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    )
    file = save_tuning(tuning)
    bench.results.facts["tuning"] = {
        "chosen": {**tuning.settings, "guard": best.path.name},
        "tried_ms": {str(s): ms for s, ms in tried.items()},
        "final_ms": {str(s): ms for s, ms in means.items()},
        "file": file.name,
    }
    rows = [[str(s), ms, ms / means[best]] for s, ms in sorted(means.items(), key=lambda x: x[1])]
    return "\n".join(
        [
            f"{len(tried)} settings tried, {len(finalists)} measured on {len(frames)} frames",
            table(["setting", "mean ms per verdict", "times the chosen"], rows),
            f"use: {best}",
            f'in Python: Guard.tuned("{best.path}"); on the command line: '
            f"blurvote run --tuned {best.path} SOURCE",
            f"kept in {file}",
        ]
    )


def choose(means: dict[Setting, float]) -> Setting:
    """The most frugal of the settings that are as fast as the fastest, see the module."""
    best = min(means.values())
    close = [setting for setting, ms in means.items() if ms <= WORTH * best]
    return min(close, key=lambda setting: (setting.threads, setting.spin, means[setting]))


def _frames(bench: Bench) -> list[NDArray[np.uint8]]:
    """Clean frames and, one in four, noisy ones, so that a cascade meets both kinds."""
    frames = bench.pictures.frames(*bench.sizes[0], count=FRAMES)
    return [noisy(frame, 0.25, k) if k % 4 == 3 else frame for k, frame in enumerate(frames)]


def _classify_all(guard: Guard, frames: Sequence[NDArray[np.uint8]]) -> None:
    for frame in frames:
        guard.classify(frame)


def _heats(
    bench: Bench, frames: Sequence[NDArray[np.uint8]], deadline: float
) -> dict[Setting, float]:
    """Every setting that comes up, with milliseconds per verdict of one short try."""
    tried: dict[Setting, float] = {}
    broken: dict[tuple[Path, Provider, PlanName], BlurvoteError] = {}
    settings = list(_settings(bench))
    for setting in settings:
        kind = setting.path, setting.provider, setting.plan
        if kind in broken:
            continue
        if tried and time.monotonic() > deadline:
            bench.skip("tuning", str(setting), "the time budget ended first")
            continue
        bench.say(f"tuning: trying {setting}")
        try:
            with setting.load() as guard:
                run: Callable[[], Any] = partial(_classify_all, guard, frames)
                tried[setting] = stopwatch(run, 0.02) / len(frames)
        except BlurvoteError as error:
            broken[kind] = error
            bench.skip("tuning", f"{setting.path.name}, {setting.provider}, {setting.plan}", error)
    if not tried:
        reasons = "; ".join(str(error) for error in broken.values())
        raise GuardError(f"no setting of {bench.guard} could be measured: {reasons}")
    return tried


def _settings(bench: Bench) -> list[Setting]:
    """All combinations, the promising ones first so that a short budget meets them."""
    available = str(import_onnxruntime().get_available_providers()).lower()
    available += " openvino" * (openvino_version() is not None)
    providers: list[Provider] = [
        name for name in PROVIDERS if name in available and name != "tensorrt"
    ]
    if bench.requested != "auto":
        providers = [bench.requested]
    elif "tensorrt" in available:
        reason = "its engines take minutes to build; ask for it with --provider tensorrt"
        bench.skip("tuning", "tensorrt", reason)
    threads = [bench.threads] if bench.threads else counts()[::-1]
    plans: tuple[Any, ...] = bench.plans[::-1]
    return [
        Setting(path, provider, plan, count, spin)
        for spin in (True, False)
        for count in threads
        for plan in plans
        for provider in providers
        for path in (bench.guard, *bench.others)
        if spin or provider != "openvino"  # whose threads sleep between runs anyway
    ]
