"""One run of `blurvote bench`, from its arguments to its files."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from blurvote.benchmarks import environment, nvidia
from blurvote.benchmarks.latency import figures, peers, report_md
from blurvote.benchmarks.latency.bench import Bench, describe_guard
from blurvote.benchmarks.latency.cli import EFFORTS
from blurvote.benchmarks.latency.pictures import Pictures
from blurvote.benchmarks.latency.scenarios import Scenario
from blurvote.benchmarks.latency.sections import (
    boxes,
    cameras,
    cascade,
    compute,
    formats,
    noise,
    providers,
    scenarios,
    sizes,
    start,
    tail,
    threads,
    verdict,
    views,
    vote,
)
from blurvote.benchmarks.latency.tune import tune
from blurvote.benchmarks.results import Results
from blurvote.benchmarks.tegrastats import Recorder
from blurvote.benchmarks.timing import Method
from blurvote.runtime.demo import guard_path
from blurvote.runtime.engines.arguments import engine_settings
from blurvote.runtime.engines.protocol import ON_CPU
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import BlurvoteError, SinkError, SourceError
from blurvote.runtime.whole_file import write_whole

__all__ = ["SECTIONS", "run"]

SECTIONS: dict[str, Callable[[Bench], None]] = {
    "verdict": verdict.measure,
    "tail": tail.measure,
    "cascade": cascade.measure,
    "cameras": cameras.measure,
    "sizes": sizes.measure,
    "threads": threads.measure,
    "providers": providers.measure,
    "views": views.measure,
    "formats": formats.measure,
    "noise": noise.measure,
    "boxes": boxes.measure,
    "vote": vote.measure,
    "compute": compute.measure,
    "start": start.measure,
}
SCENARIOS: dict[str, Scenario] = {
    "single-stream": "SingleStream",
    "multi-stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}
PICTURES = 100  # of the cascade's mean cost, at normal effort
INTERRUPTED = 130


class Progress:
    """One line on a terminal that is written over; elsewhere a line per section."""

    def __init__(self) -> None:
        self._terminal = sys.stderr is not None and sys.stderr.isatty()
        self._started = time.monotonic()

    def step(self, text: str) -> None:
        """Something small goes on."""
        if self._terminal:
            print(f"\r\033[K{self._clock()} {text[:100]}", end="", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Something that should stay readable."""
        if sys.stderr is not None:
            start = "\r\033[K" if self._terminal else ""
            print(f"{start}{self._clock()} {text}", file=sys.stderr, flush=True)

    def done(self) -> None:
        """Clears the line."""
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
        return f"[{minutes}:{seconds:02d}]"


def run(args: argparse.Namespace) -> int:
    """Measures what `args` ask for; returns the exit status.

    Raises:
        BlurvoteError: nothing could be measured, or the results cannot be written.
    """
    progress = Progress()
    chosen = _sections(args)
    bench = _prepare(args, progress)
    if args.out:
        _check_writable(Path(args.out))  # shows now, not after minutes
    texts: list[str] = []
    if args.tune:
        chosen = {"tuning": lambda bench: texts.append(tune(bench, args.budget))}
    try:
        with _jetson_power(bench):
            status = _measure(bench, chosen, progress, args.out)
    except SinkError:  # nothing more can be written; what was measured can still be read
        progress.done()
        print(report_md.terminal(bench.results))
        raise
    bench.results.complete = status == 0
    bench.results.facts["load"]["end"] = environment.load()
    progress.done()
    _publish(bench, args, progress, texts)
    return status


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(1024))
    except OSError as error:
        raise SinkError(f"{folder} cannot be written to: {error.strerror}") from error


def _prepare(args: argparse.Namespace, progress: Progress) -> Bench:
    paths = [Path(name) for name in args.guards] or [guard_path("views")]
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        raise SourceError(
            f"{', '.join(map(str, paths))}: two files have the same name, by which the results "
            "would tell them apart; rename one"
        )
    described = [describe_guard(path) for path in paths]
    asked = engine_settings(args, args.threads)
    engine = open_engine(paths[0], asked)
    settings = replace(asked, provider=engine.provider)  # "auto" becomes what really runs
    session = {
        "provider": engine.provider,
        "compute": engine.compute,
        "threads": engine.threads,
        "provider_options": engine.provider_options,
        "effort": args.effort,
    }
    engine.close()
    effort = EFFORTS[args.effort]
    usual = Method()
    method = replace(
        usual,
        rounds=max(2, round(usual.rounds * min(effort, 1))),
        turn_s=usual.turn_s * min(effort, 1),
        window_s=usual.window_s * effort,
        max_windows=max(3, round(usual.max_windows * effort)),
        budget_s=usual.budget_s * effort,
    )
    machine = environment.machine()
    results = Results(sys.argv[1:], machine, asdict(method), [facts for _, facts in described])
    results.facts["warnings"] = environment.warnings(machine)
    results.facts["load"] = {"start": environment.load()}
    results.facts["session"] = session
    metadata = described[0][0]
    pictures = Pictures(args.images, max(10, round(PICTURES * effort)))
    results.facts["pictures"] = pictures.described
    bench = Bench(
        guard=paths[0],
        others=paths[1:],
        metadata=metadata,
        sizes=[metadata.frame_size] if metadata.frame_size else args.frame_size,
        pictures=pictures,
        results=results,
        method=method,
        engine=settings,
        requested=args.provider,
        effort=min(effort, 1.0),
        folder=Path(args.out) if args.out else None,
        say=progress.step,
    )
    bench.peers = _peers(bench, args.against)
    return bench


def _peers(bench: Bench, names: tuple[str, ...]) -> list[peers.Peer]:
    """The peers asked for: by name each must come up, of `all` those that do."""
    families = peers.FAMILIES if "all" in names else names
    unknown = [name for name in families if name not in peers.FAMILIES]
    if unknown:
        raise SourceError(
            f"--against {unknown[0]}: expected some of {', '.join(peers.FAMILIES)}, or all"
        )
    if families and bench.provider not in ON_CPU:
        reason = f"the peers run on the CPU and the guard on {bench.provider}"
        if "all" not in names:
            raise SourceError(f"--against: {reason}; add --provider cpu")
        bench.skip("verdict", "peers", f"{reason}; --provider cpu compares them")
        return []
    loaded: list[peers.Peer] = []
    for family in families:
        bench.say(f"loading the peers {family}")
        skip = partial(bench.skip, "verdict") if "all" in names else None
        try:
            loaded += peers.load(family, bench.guard, bench.say, skip)
        except BlurvoteError as error:
            if skip is None:
                raise
            skip(family, error)
    return loaded


def _sections(args: argparse.Namespace) -> dict[str, Callable[[Bench], None]]:
    unknown = [name for name in args.sections or () if name not in SECTIONS]
    if unknown:
        raise SourceError(f"--sections {unknown[0]}: expected some of {', '.join(SECTIONS)}")
    chosen = {name: SECTIONS[name] for name in args.sections or SECTIONS}
    if args.scenarios:
        wanted = SCENARIOS if "all" in args.scenarios else args.scenarios
        unknown = [name for name in wanted if name not in SCENARIOS]
        if unknown:
            raise SourceError(f"--scenarios {unknown[0]}: expected some of {', '.join(SCENARIOS)}")
        chosen["scenarios"] = partial(
            scenarios.measure,
            wanted=tuple(SCENARIOS[name] for name in wanted),
            harness=None if args.harness == "auto" else args.harness,
            seconds=args.scenario_seconds,
            official=args.official,
            latency_bound_ms=args.server_latency_ms,
        )
    return chosen


def _measure(
    bench: Bench,
    chosen: dict[str, Callable[[Bench], None]],
    progress: Progress,
    folder: str | None,
) -> int:
    """Section by section, saving after each; 0 done, 1 a section failed, 130 Ctrl-C."""
    failed = 0
    started = time.monotonic()
    for number, (name, section) in enumerate(chosen.items(), 1):
        progress.line(f"{name} ({number} of {len(chosen)})")
        try:
            section(bench)
        except SinkError:
            raise
        except Exception as error:  # a peer's or a library's own; the other sections go on
            failed = 1
            text = str(error) if isinstance(error, BlurvoteError) else repr(error)
            bench.results.skip(name, "the rest of the section", text)
            progress.line(f"{name} failed: {text}")
        except KeyboardInterrupt:
            bench.results.skip(name, "the rest of the run", "interrupted by Ctrl-C")
            progress.line("interrupted; what was measured is kept")
            return INTERRUPTED
        finally:
            bench.results.seconds = time.monotonic() - started
        if gpus := nvidia.gpus():  # their clocks are still up
            bench.results.facts.setdefault("gpus_after", {})[name] = gpus
        if folder:
            bench.results.save(folder)
    return failed


@contextlib.contextmanager
def _jetson_power(bench: Bench) -> Iterator[None]:
    """Power and temperature while the run lasts, where tegrastats exists."""
    with Recorder() as recorder:
        yield
    summary: Any = recorder.summary()
    if summary:
        bench.results.facts["tegrastats"] = summary


def _publish(bench: Bench, args: argparse.Namespace, progress: Progress, texts: list[str]) -> None:
    if args.json:
        print(json.dumps(bench.results.to_dict(), indent=1))
    else:
        print("\n\n".join(texts) if texts else report_md.terminal(bench.results))
    if args.out:
        folder = Path(args.out)
        bench.results.save(folder)  # before the figures, which take a moment
        drawn: dict[str, str] = {}
        try:
            drawn = figures.draw(bench.results, folder)
        except SinkError:
            raise
        except BlurvoteError as error:
            bench.results.skip("report", "figures", str(error))
            progress.line(f"no figures: {error}")
        file = bench.results.save(folder)
        try:
            write_whole(folder / "report.md", report_md.markdown(bench.results, drawn))
        except OSError as error:
            raise SinkError(
                f"{folder / 'report.md'} cannot be written: {error.strerror}"
            ) from error
        progress.line(f"wrote {file}, report.md and {len(drawn)} figures")
