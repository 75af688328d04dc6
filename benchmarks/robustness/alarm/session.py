"""One run of `blurvote alarm`, from the video to the figures."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.alarm.chains import CHAINS, chain_rows
from blurvote.benchmarks.robustness.alarm.figure import draw
from blurvote.benchmarks.robustness.alarm.indicators import CLEAN, Indicators, Video, measure
from blurvote.benchmarks.robustness.alarm.measure import detection, false_alarms
from blurvote.benchmarks.robustness.alarm.report import text_of
from blurvote.benchmarks.robustness.alarm.streams import (
    Resampled,
    autocorrelation,
    inflation,
    mean_block,
)
from blurvote.benchmarks.robustness.degradations import Degradation, parse_degradations
from blurvote.benchmarks.robustness.outputs import write_json, write_text
from blurvote.benchmarks.robustness.sweep import Progress
from blurvote.runtime import Guard
from blurvote.runtime.errors import SettingsError, SourceError
from blurvote.runtime.pipeline.alarm import STATISTICS, AlarmOptions
from blurvote.runtime.tuning import guard_sha256

__all__ = ["SCHEMA", "run"]

SCHEMA = "blurvote.alarm/1"
_LAGS_S = 5.0
_PLAIN_DAYS = 50  # enough: there are many alarms
_OPTIONS = ("false_alarm_days", "learn_s", "block_s", "hold_s", "odds", "fewer", "adapt_s")
_MAX_SIZE = 65_535  # frames in a block: hits are counted in 16 bits


def run(args: argparse.Namespace) -> int:
    """Measures, writes, prints, and returns the exit status.

    Raises:
        GuardError: no guard.
        PlanError: a degradation that cannot be read.
        ProviderError: a package is missing.
        SettingsError: an option of the alarm, or the bootstrap, that cannot be.
        SinkError: the output cannot be written.
        SourceError: a video that cannot be read, is too short, or has no frame rate.
    """
    require("blurvote alarm", ("matplotlib", "scipy"), "matplotlib scipy")
    options = AlarmOptions(
        **{name: value for name in _OPTIONS if (value := getattr(args, name)) is not None}
    )
    folder = Path(args.out) / Path(args.guard).stem / "alarm"
    video = Video(args.video, args.limit)
    fps = args.fps or video.frames_per_second
    if not (fps and math.isfinite(fps) and fps > 0):
        raise SourceError(f"{args.video} does not say its frame rate; give it with --fps")
    size = math.ceil(options.block_s * fps - 1e-6)
    if size > _MAX_SIZE:
        raise SettingsError(f"a block has {size} frames; expected at most {_MAX_SIZE}")
    found = _indicators(args, video, folder)
    clean = found.rows[CLEAN]
    mean = mean_block(clean) if args.mean_block is None else args.mean_block
    if not 1 <= mean <= clean.shape[1]:
        raise SettingsError(
            f"--mean-block is {mean:g}; expected 1 to the video's {clean.shape[1]} frames"
        )
    document: dict[str, Any] = {
        "command": sys.argv[1:],
        "guard": {"file": Path(args.guard).name, "sha256": guard_sha256(Path(args.guard))},
        "video": {"file": Path(args.video).name, "frames": clean.shape[1], "fps": fps},
        "options": asdict(options) | {"threshold": options.threshold},
        "views_compared": found.views_compared,
        "simulation": {"mean_block": mean, "frames_per_block": size, "seed": args.seed},
        "indicators": {name: _facts(rows, fps) for name, rows in found.rows.items()},
        **_simulated(args, found, mean, size, options),
    }
    text = text_of(document)
    written = write_json(folder / "alarm.json", SCHEMA, document)
    write_text(folder / "alarm.md", text)
    draw(folder / "alarm.png", document)
    print(json.dumps(written, indent=1) if args.json else text)
    print(f"results are in {folder}", file=sys.stderr)
    return 0


def _indicators(args: argparse.Namespace, video: Video, folder: Path) -> Indicators:
    disturbances: list[Degradation | Video] = [
        *(parse_degradations(args.degradations, "8-bit") if args.degradations.strip() else ()),
        *(Video(path, args.limit) for path in args.attacked),
    ]
    cache = folder / "indicators.json"
    if args.fresh:
        cache.unlink(missing_ok=True)
    count = sum(1 for _ in video.frames())
    progress = Progress("alarm, frames", count * (1 + len(disturbances)))
    try:
        return measure(
            Path(args.guard), video, disturbances, args.seed, cache,
            lambda: Guard(args.guard, provider=args.provider), progress.update,
        )  # fmt: skip
    finally:
        progress.close()


def _facts(rows: NDArray[np.bool_], fps: float) -> dict[str, Any]:
    lags = min(round(_LAGS_S * fps), rows.shape[1] // 3)
    return {
        name: {
            "rate": float(row.mean()),
            "inflation": inflation(row),
            "correlation_s": inflation(row) / 2 / fps,
            "autocorrelation": autocorrelation(row, lags).tolist(),
        }
        for name, row in zip(STATISTICS, rows, strict=True)
    }


def _simulated(
    args: argparse.Namespace, found: Indicators, mean: float, size: int, options: AlarmOptions
) -> dict[str, Any]:
    others = [name for name in found.rows if name != CLEAN]
    plain = min(_PLAIN_DAYS, args.camera_days)
    total = args.camera_days + plain + len(others) * len(args.fractions) * args.streams
    total += len(CHAINS) * args.chain_days
    progress = Progress("alarm, streams", total)
    before = 0

    def done(streams: int) -> None:
        progress.update(before + streams)

    try:
        quiet = Resampled(found.rows[CLEAN], mean)
        every = tuple(dict.fromkeys((1 / 24, 1.0, options.false_alarm_days)))
        false = false_alarms(quiet, args.camera_days, size, options, every, args.seed, done)
        before += args.camera_days
        uncorrected = false_alarms(
            quiet, plain, size, options, every, args.seed, done, corrected=False
        )
        before += plain
        noticed = []
        for name in others:
            for fraction in args.fractions:
                mixed = _mixed(found, name, fraction, args.seed)
                one = detection(
                    quiet, Resampled(mixed, mean), args.streams, size, options, args.seed
                )
                noticed.append({"disturbance": name, "fraction": fraction, **asdict(one)})
                before += args.streams
                done(0)
        chains = chain_rows(args.chain_days, size, options, args.seed, done)
    finally:
        progress.close()
    return {
        "false_alarms": asdict(false),
        "uncorrected": asdict(uncorrected),
        "detection": noticed,
        "chains": chains,
    }


def _mixed(found: Indicators, name: str, fraction: float, seed: int) -> NDArray[np.bool_]:
    """The video's indicators where each frame is disturbed with probability `fraction`."""
    clean, other = found.rows[CLEAN], found.rows[name]
    chosen = np.random.default_rng([seed, 7]).random(clean.shape[1]) < fraction
    return np.where(chosen, other, clean)
