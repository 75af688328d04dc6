"""From a frame to a verdict, of every candidate and beside what a user would put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.engines.candidates import Candidate, Model
from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.latency.peers.needs import Skip
from blurvote.benchmarks.latency.ways import Recorded, agreeing_frame, differing_frame
from blurvote.benchmarks.timing import Measured, Method, Ratio, Timing, measure
from blurvote.runtime.engines.protocol import Engine, EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.guard import Guard
from blurvote.runtime.plans import PlanName
from blurvote.runtime.undefended import Undefended
from blurvote.runtime.views import ViewBuilder

__all__ = ["CandidateTimes", "Latency", "PeerTimes", "time_all"]

Pixels = NDArray[np.uint8]
CHECKED = 4  # frames on which a peer's output is compared with the guard's


@dataclass(frozen=True)
class CandidateTimes:
    """Milliseconds of one candidate, medians where a number stands alone.

    Attributes:
        views: building all views of the frame.
        inference: by the number of views in a batch.
        undefended: one view, one inference, from the same frame.
        batched: a verdict of all views in one inference.
        agree, differ: a verdict by cascade, where the first two views agree and where they differ;
            None where no frame was found on which they differ.
        auto: the plan that `plan="auto"` chose at warm-up.
        ratios: verdict name to its time over the fastest peer's of all, round by round.
        own_ratios: the same over the fastest peer on the candidate's own file.
    """

    views: float
    inference: dict[int, float]
    undefended: Timing
    batched: Timing
    agree: Timing
    differ: Timing | None
    auto: PlanName
    ratios: dict[str, Ratio] = field(default_factory=dict)
    own_ratios: dict[str, Ratio] = field(default_factory=dict)


@dataclass(frozen=True)
class PeerTimes:
    """A peer: its file, its milliseconds, and how far its answers lie from the guard's."""

    file: str
    timing: Timing
    checked: dict[str, Any]


@dataclass(frozen=True)
class Latency:
    """Everything timed in one interleaved run.

    Attributes:
        frame: `(height, width)` of the frame in pixels.
        times: by candidate's name.
        peers: by name.
        fastest: the fastest peer's name, or None without peers.
    """

    frame: tuple[int, int]
    times: dict[str, CandidateTimes]
    peers: dict[str, PeerTimes]
    fastest: str | None


def time_all(
    candidates: Sequence[Candidate],
    frames: Sequence[Pixels],
    threads: int | None,
    against: bool,
    method: Method,
    say: Callable[[str], None],
    skip: Skip,
) -> Latency:
    """Measures all in turn in one run.

    Args:
        candidates: at least one.
        frames: of one size, `(H, W, 3)` uint8 RGB; one is timed on which all guards' first two
            views agree, and one on which they differ.
        threads: as for `Guard`.
        against: whether OpenCV with OpenVINO is measured beside them.
        method: how long and how often.
        say, skip: told what goes on, and what cannot be measured.
    """
    guards: dict[str, dict[PlanName, Guard]] = {}
    autos: dict[str, PlanName] = {}
    singles: dict[str, Undefended] = {}
    for candidate in candidates:
        say(f"loading {candidate.name}")
        plans: tuple[PlanName, ...] = ("batched", "cascade")
        guards[candidate.name] = {plan: _guard(candidate, plan, threads) for plan in plans}
        with _guard(candidate, "auto", threads) as guard:
            autos[candidate.name] = guard.plan
        singles[candidate.name] = Undefended(candidate.model.path, candidate.settings(threads))
    agree = agreeing_frame([pair["batched"] for pair in guards.values()], frames)
    ways: dict[str, Callable[[], Any]] = {}
    for candidate in candidates:
        name = candidate.name
        pair = guards[name]
        ways[f"{name}, undefended"] = partial(singles[name].classify, agree)
        ways[f"{name}, batched"] = Recorded(pair["batched"], agree)
        ways[f"{name}, agree"] = Recorded(pair["cascade"], agree)
        differ = differing_frame(pair["batched"], frames)
        if differ is None:
            skip(f"{name}, cascade, views differ", "no such frame was found")
        else:
            ways[f"{name}, differ"] = Recorded(pair["cascade"], differ)
    loaded = _peers(candidates, frames, say, skip) if against else {}
    for name, (_, peer, _) in loaded.items():
        ways[name] = partial(peer.classify, agree)
    # A long pause lets the threads of several libraries come to rest; see `timing`.
    measured = measure(ways, replace(method, pause_s=0.05), say)
    found = {
        name: PeerTimes(file, measured.timings[name], report)
        for name, (file, _, report) in loaded.items()
    }
    times = {
        candidate.name: _times(candidate, measured, ways, autos[candidate.name], found)
        for candidate in candidates
    }
    for pair in guards.values():
        for guard in pair.values():
            guard.close()
    for _, peer, _ in loaded.values():
        peer.close()
    height, width = agree.shape[:2]
    return Latency((height, width), times, found, _fastest(found))


def _guard(candidate: Candidate, plan: Any, threads: int | None) -> Guard:
    return Guard(
        candidate.model.path,
        candidate.provider,
        plan,
        threads,
        compute=candidate.compute,
    )


def _fastest(found: dict[str, PeerTimes], file: str | None = None) -> str | None:
    """The peer of the smallest median, of all files or of one."""
    names = [name for name, peer in found.items() if file in (None, peer.file)]
    return min(names, key=lambda name: found[name].timing.median, default=None)


def _times(
    candidate: Candidate,
    measured: Measured,
    ways: dict[str, Callable[[], Any]],
    auto: PlanName,
    found: dict[str, PeerTimes],
) -> CandidateTimes:
    name = candidate.name
    timings = measured.timings

    def stages(way: str) -> dict[str, float]:
        recorded = ways[f"{name}, {way}"]
        assert isinstance(recorded, Recorded)
        return recorded.stage_ms({})

    total = len(candidate.model.metadata.defense.views)
    batched, agree = stages("batched"), stages("agree")
    verdicts = [way for way in ("batched", "agree", "differ") if f"{name}, {way}" in timings]

    def ratios(peer: str | None) -> dict[str, Ratio]:
        if peer is None:
            return {}
        return {way: measured.ratio(f"{name}, {way}", peer) for way in verdicts}

    return CandidateTimes(
        views=batched["views"],
        inference={total // 2 + 1: agree["inference"], total: batched["inference"]},
        undefended=timings[f"{name}, undefended"],
        batched=timings[f"{name}, batched"],
        agree=timings[f"{name}, agree"],
        differ=timings.get(f"{name}, differ"),
        auto=auto,
        ratios=ratios(_fastest(found)),
        own_ratios=ratios(_fastest(found, candidate.model.path.name)),
    )


def _peers(
    candidates: Sequence[Candidate],
    frames: Sequence[Pixels],
    say: Callable[[str], None],
    skip: Skip,
) -> dict[str, tuple[str, peers.Peer, dict[str, Any]]]:
    """OpenCV with OpenVINO on every file, those whose answers were found right: file and report."""
    loaded: dict[str, tuple[str, peers.Peer, dict[str, Any]]] = {}
    models: dict[str, Model] = {
        candidate.model.path.name: candidate.model for candidate in candidates
    }
    for file, model in models.items():
        builder = ViewBuilder(model.metadata.defense)
        engine = open_engine(model.path, EngineSettings("cpu"))
        for peer in peers.load("openvino", model.path, say, skip):
            say(f"checking {peer.name} on {file}")
            report = peers.check(peer, frames[:CHECKED], builder.build, partial(_logits, engine))
            if report["failed"]:
                skip(f"{peer.name}, {file}", report["failed"])
                peer.close()
            else:
                loaded[f"{peer.name}, {file}"] = file, peer, report
        engine.close()
    return loaded


def _logits(engine: Engine, views: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(engine.run(views, ["logits"])[0], np.float32)
