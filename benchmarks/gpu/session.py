"""One run: checks, measures and writes what a GPU makes of some guards of one model."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from blurvote.benchmarks import environment
from blurvote.benchmarks.gpu import ceilings, parity
from blurvote.benchmarks.gpu.ways import Ways, open_ways
from blurvote.benchmarks.latency.bench import describe_guard
from blurvote.benchmarks.latency.formatting import aligned, number, times
from blurvote.benchmarks.latency.pictures import natural_frame
from blurvote.benchmarks.latency.ways import Recorded, engine_copies_ms
from blurvote.benchmarks.results import Results, rows_of
from blurvote.benchmarks.timing import Method, measure
from blurvote.runtime.engines.arguments import add_engine_arguments, engine_settings
from blurvote.runtime.engines.protocol import ON_CPU, EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import BlurvoteError
from blurvote.runtime.guard import Guard
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["Effort", "main", "run"]

CAMERAS = (1, 2, 4, 8, 16, 32, 64)
DEPTHS = (1, 2, 3, 4)
FAILED = 2


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        seconds: for each table, about.
        cameras: how many frames at once.
        stream: frames of a stream.
    """

    seconds: float = 60.0
    cameras: tuple[int, ...] = CAMERAS
    stream: int = 200

    @property
    def stage_calls(self) -> int:
        """Verdicts of which the stages are timed."""
        return max(12, min(60, round(60 * self.seconds)))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit status: 0 done, 2 no such device or another error."""
    parser = argparse.ArgumentParser(
        prog="python -m blurvote.benchmarks.gpu", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("guards", nargs="+", type=Path, help="guards of one model, of any kind")
    add_engine_arguments(parser)
    parser.set_defaults(provider="cuda")
    parser.add_argument("--frame", default="1080x1920", metavar="HxW", help="default: 1080x1920")
    parser.add_argument("--seconds", type=float, default=60.0, help="per table (default: 60)")
    parser.add_argument("--most-cameras", type=int, default=max(CAMERAS), help="default: 64")
    parser.add_argument("--stream", type=int, default=200, help="frames of a stream (default: 200)")
    parser.add_argument("-o", "--out", type=Path, help="folder for results.json")
    args = parser.parse_args(argv)
    if args.most_cameras < 1:
        parser.error(f"argument --most-cameras: {args.most_cameras} is not a number of cameras")
    try:
        height, width = map(int, args.frame.split("x"))
        results = run(
            args.guards,
            engine_settings(args),
            (height, width),
            Effort(
                args.seconds,
                tuple(count for count in CAMERAS if count <= args.most_cameras),
                args.stream,
            ),
        )
        if args.out:
            args.out.mkdir(parents=True, exist_ok=True)
            results.save(args.out)
    except (BlurvoteError, OSError, ValueError) as error:
        print(f"blurvote.benchmarks.gpu: error: {error}", file=sys.stderr)
        return FAILED
    print(_text(results))
    return 0


def run(
    paths: Sequence[Path],
    settings: EngineSettings,
    size: tuple[int, int],
    asked: Effort,
) -> Results:
    """Measures guards of one model on one provider.

    Args:
        paths: guards; the first views guard's undefended model is what ratios are to.
        settings: the provider, which must come up, its compute and options.
        size: of the frames, `(height, width)`; a frames guard must be of this size.
        asked: how long and how many.

    Raises:
        BlurvoteError: the provider does not come up, or a guard cannot serve these frames.
    """
    described = {path: describe_guard(path) for path in paths}
    metadata = {path: facts for path, (facts, _) in described.items()}
    engine = open_engine(paths[0], settings)  # fails here, in one line, without the device
    session = {
        "provider": engine.provider,
        "compute": engine.compute,
        "provider_options": engine.provider_options,
    }
    engine.close()
    # p99 needs a hundred calls in the windows that count.
    method = Method(
        rounds=10,
        window_s=asked.seconds / 4,
        turn_s=min(0.05, asked.seconds / 20),
        min_calls=5,
        budget_s=asked.seconds,
        warm_s=min(3.0, asked.seconds),
    )
    frames = [natural_frame(*size, seed=seed) for seed in range(4)]
    results = Results(
        sys.argv[1:],
        environment.machine(),
        asdict(method),
        [facts for _, facts in described.values()],
    )
    started = time.monotonic()
    results.facts["session"] = session
    results.facts["parity"] = {
        path.name: parity.compare(path, settings, metadata[path], frames) for path in paths
    }
    copies = {path: _device(results, path, settings, metadata[path], frames[0]) for path in paths}
    with open_ways(metadata, settings, frames[0]) as ways:
        _verdicts(results, ways, size, method)
        for name, reason in ways.skipped.items():
            results.skip("verdict", name, reason)
        for name, guard in ways.guards.items():
            stages = _stages(guard, frames[0], copies[guard.path], asked.stage_calls)
            results.facts.setdefault("stages", {})[name] = stages
            _several(results, name, guard, frames, asked, method)
    device = "cpu" if settings.provider in ON_CPU else "cuda"
    results.facts["products_tflops"] = ceilings.products(
        method, ceilings.SIDE if device == "cuda" else 256, device
    )
    results.seconds = time.monotonic() - started
    results.complete = True
    return results


def _verdicts(results: Results, ways: Ways, size: tuple[int, int], method: Method) -> None:
    measured = measure(ways.calls, method)
    baseline = next((name for name in ways.calls if "undefended" in name), None)
    results.rows += rows_of("verdict", f"{size[1]}x{size[0]}", measured, baseline)


def _stages(
    guard: Guard, frame: Any, copies: Mapping[int, tuple[float, float]], calls: int
) -> dict[str, float]:
    """Median milliseconds of a verdict's stages, the copies apart from the inference."""
    recorded = Recorded(guard, frame)
    for _ in range(calls):
        recorded()
    return recorded.stage_ms(copies)


def _several(
    results: Results, name: str, guard: Guard, frames: list[Any], asked: Effort, method: Method
) -> None:
    """Frames of several cameras at once, and one camera's frames in flight together."""
    endless = frames * (max(*asked.cameras, asked.stream) // len(frames) + 1)
    counts = {str(count): count for count in asked.cameras}
    many = {key: partial(guard.classify_batch, endless[:n]) for key, n in counts.items()}
    results.rows += rows_of("cameras", name, measure(many, method), "1", counts)

    def flow(depth: int) -> None:
        for _ in guard.classify_stream(endless[: asked.stream], depth):
            pass

    flows = {f"{depth} in flight": partial(flow, depth) for depth in DEPTHS}
    quick = replace(method, rounds=2, min_calls=1, max_calls=1, turn_s=0.0, skip_first=False)
    lengths = dict.fromkeys(flows, asked.stream)
    results.rows += rows_of("stream", name, measure(flows, quick), "1 in flight", lengths)


def _device(
    results: Results,
    path: Path,
    settings: EngineSettings,
    metadata: GuardMetadata,
    frame: Any,
) -> dict[int, tuple[float, float]]:
    """What copies cost: of the batches of a verdict, and as bandwidth."""
    batch = frame[None]
    if metadata.kind == "views":
        batch = ViewBuilder(metadata.defense).build(frame, views=metadata.defense.views)
    engine = open_engine(path, settings)
    try:
        results.facts.setdefault("copies", {})[path.name] = ceilings.copies(engine, batch)
        if settings.provider in ON_CPU:  # which reads arrays in place
            return {}
        return engine_copies_ms(engine, metadata, frame)
    finally:
        engine.close()


def _text(results: Results) -> str:
    gpus = results.machine.get("gpus") or []
    session = results.facts["session"]
    lines = [
        f"{session['provider']}, {session['compute']}; "
        + (", ".join(str(gpu.get("name")) for gpu in gpus) or "no GPU"),
        "",
        aligned(
            ("section", "case", "way", "p50 ms", "p99 ms", "frames/s", "ratio"),
            [
                (
                    row.section,
                    row.case,
                    row.way,
                    number(row.timing.median),
                    number(row.timing.p99),
                    number(row.frames_per_second),
                    times(row.ratio),
                )
                for row in results.rows
            ],
            words=3,
        ),
        "",
    ]
    for name in ("parity", "stages", "copies", "products_tflops"):
        lines.append(f"{name}: {json.dumps(results.facts.get(name), indent=1)}")
    lines += [f"skipped {one['what']}: {one['reason']}" for one in results.skipped]
    return "\n".join(lines)
