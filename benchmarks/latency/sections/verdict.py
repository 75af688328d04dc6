"""From a uint8 frame to a verdict: every plan, the undefended model and the peers, in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.latency.bench import Bench, size_name
from blurvote.benchmarks.latency.ways import (
    OneByOne,
    Recorded,
    agreeing_frame,
    copies_ms,
    differing_frame,
    percentiles,
)
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.guard import Guard
from blurvote.runtime.undefended import Undefended
from blurvote.runtime.views import ViewBuilder

__all__ = ["UNDEFENDED", "measure"]

UNDEFENDED = "undefended"
CHECKED = 4  # frames on which a peer's output is compared with the guard's


def measure(bench: Bench) -> None:
    """Adds the rows of section `verdict`, one case per frame size."""
    guards = {plan: bench.load(plan) for plan in bench.plans}
    if len(bench.plans) > 1:
        guards["auto"] = bench.load("auto")
    others = {path.name: Guard(path, **asdict(bench.engine)) for path in bench.others}
    undefended = None
    if bench.has_clean_view:
        undefended = Undefended(bench.guard, bench.engine)
    else:
        bench.skip("verdict", UNDEFENDED, "the guard has no clean view that can be run alone")
    try:
        for size in bench.sizes:
            _case(bench, size, guards, others, undefended)
    finally:
        for peer in bench.peers:
            peer.close()
        for guard in (*guards.values(), *others.values()):
            guard.close()


def _case(
    bench: Bench,
    size: tuple[int, int],
    guards: dict[Any, Guard],
    others: dict[str, Guard],
    undefended: Undefended | None,
) -> None:
    name = size_name(size)
    frames = bench.pictures.frames(*size, count=12)
    agree = agreeing_frame([guards["batched"], *others.values()], frames)
    differ = differing_frame(guards["batched"], frames)
    ways: dict[str, Callable[[], Any]] = {}
    detail: dict[str, dict[str, Any]] = {}

    def add(way: str, function: Callable[[], Any], **facts: Any) -> None:
        ways[way] = function
        detail[way] = facts

    ours = {
        "threads": guards["batched"].threads,
        "provider": guards["batched"].provider,
        "compute": guards["batched"].compute,
    }
    if undefended:
        add(UNDEFENDED, partial(undefended.classify, agree), **ours)
        views = bench.metadata.defense.views
        if bench.metadata.defense.decision != "mean":  # whose vote is no majority
            one_by_one = OneByOne(undefended, views)
            add(f"{len(views)} views, one by one", partial(one_by_one.classify, agree), **ours)
    add("batched", Recorded(guards["batched"], agree), plan="batched", **ours)
    if "cascade" in guards:
        cascade = guards["cascade"]
        add("cascade, views agree", Recorded(cascade, agree), plan="cascade", **ours)
        if differ is None:
            bench.skip("verdict", f"cascade, views differ, {name}", "no such frame was found")
        else:
            add("cascade, views differ", Recorded(cascade, differ), plan="cascade", **ours)
        add("auto", Recorded(guards["auto"], agree), **ours)
    for file, guard in others.items():
        add(f"auto, {file}", Recorded(guard, agree), **ours)
    for peer, report in _correct(bench, name, frames):
        facts = {"peer": peer.family, "threads": peer.threads, "provider": "cpu", "checked": report}
        facts["layout"] = peer.layout
        add(peer.name, partial(peer.classify, agree), **facts)

    # Long windows average out what a machine does over seconds; a long pause lets the threads of
    # four libraries come to rest.
    method = replace(
        bench.method,
        pause_s=0.05,
        window_s=2.5 * bench.method.window_s,
        budget_s=2.5 * bench.method.budget_s,
    )
    measured = bench.measure(f"verdict, {name}", ways, method)
    copies = copies_ms(bench, agree)
    for way, function in ways.items():
        detail[way]["distribution"] = percentiles(measured.samples[way])
        if isinstance(function, Recorded):
            detail[way]["stage_ms"] = function.stage_ms(copies)
            detail[way].setdefault("plan", f"auto: {function.guard.plan}")
            if function.guard.auto_plan:
                detail[way]["auto_plan"] = function.guard.auto_plan.facts
        elif "peer" in detail[way]:
            detail[way]["times"] = {
                own: asdict(measured.ratio(way, own))
                for own, function in ways.items()
                if isinstance(function, Recorded) and own != "auto"
            }
    baseline = UNDEFENDED if undefended else "batched"
    bench.results.rows += rows_of("verdict", name, measured, baseline, detail=detail)


def _correct(
    bench: Bench, name: str, frames: list[NDArray[np.uint8]]
) -> Iterator[tuple[peers.Peer, dict[str, Any]]]:
    """The peers whose output was compared with the guard's on this size and found right."""
    if not bench.peers:
        return
    builder = ViewBuilder(bench.metadata.defense)
    engine = open_engine(bench.guard, EngineSettings("cpu"))
    for peer in bench.peers:
        bench.say(f"verdict, {name}: checking {peer.name}")
        report = peers.check(
            peer, frames[:CHECKED], builder.build, lambda views: engine.run(views)[0]
        )
        if report["failed"]:
            bench.skip("verdict", f"{peer.name}, {name}", report["failed"])
        else:
            yield peer, report
    engine.close()
