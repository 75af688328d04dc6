"""A film served as four RTSP cameras through one guard, with and without batches across them."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import replace

import numpy as np

from blurvote.benchmarks.soak.films import film_of
from blurvote.benchmarks.soak.outcome import Outcome
from blurvote.benchmarks.soak.rig import Rig
from blurvote.benchmarks.soak.rtsp import RtspServer, film
from blurvote.benchmarks.soak.setup import Scenario, Setup, need_gstreamer, say
from blurvote.runtime.guard import Guard
from blurvote.runtime.pipeline.settings import CameraSettings, Flow

__all__ = ["SCENARIOS"]

_BATCHES = (1, 4)
_FAST = 40.0  # frames per second of each camera: more than most guards serve four times on a CPU
_RATES = {"own rate": None, f"{_FAST:g} per second": _FAST}
_CAMERAS = ("a", "b", "c", "d")


def _turn(
    guard: Guard, server: RtspServer, batch: int, seconds: float
) -> tuple[Rig, dict[str, float]]:
    """One pipeline for a while; what it did, and its figures."""
    cameras = [CameraSettings(server.url(name), name) for name in _CAMERAS]
    with Rig(guard, cameras, flow=Flow(max_batch=batch)) as rig:
        rig.warm_up()
        before = {name: rig.counts(name) for name in _CAMERAS}
        busy = time.process_time()
        began = time.monotonic()
        time.sleep(seconds)
        lasted = time.monotonic() - began
        cpu = (time.process_time() - busy) / lasted
        after = {name: rig.counts(name) for name in _CAMERAS}
        ages = {name: rig.witness.ages[name].to_dict() for name in _CAMERAS}

    def rate(key: str) -> float:
        return float(sum(after[name][key] - before[name][key] for name in _CAMERAS)) / lasted

    figures = {
        "frames_per_s": rate("frames"),
        "verdicts_per_s": rate("verdicts"),
        "dropped_per_s": rate("dropped"),
        "age_p50_ms": float(np.mean([age["p50"] for age in ages.values()])),
        "age_p99_ms": max(age["p99"] for age in ages.values()),
        "cpu_cores": cpu,
    }
    return rig, figures


def _cameras(setup: Setup) -> Outcome:
    need_gstreamer()
    path = film_of(setup)
    turns = 1 if setup.short else 3
    loads = dict([*_RATES.items()][-1:]) if setup.short else _RATES
    each_s = setup.seconds / (turns * len(_BATCHES) * len(loads))
    figures: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    rigs = []
    mounts = {name: film(path) for name in _CAMERAS}
    with Guard(setup.guard, "cpu") as guard, RtspServer(mounts) as server:
        began = time.monotonic()
        for turn in range(turns):
            for load, rate in loads.items():
                if rate is not None:
                    for name in _CAMERAS:
                        server.pace(name, rate)
                for batch in _BATCHES if turn % 2 else reversed(_BATCHES):
                    rig, found = _turn(guard, server, batch, each_s)
                    figures[load, batch].append(found)
                    rigs.append(rig)
                    told = ", ".join(f"{key} {value:.1f}" for key, value in found.items())
                    say(f"{load}, at most {batch} in a batch: {told}")
            server.restart()  # at the film's own rate again
        seconds = time.monotonic() - began
    last = rigs[-1]
    for rig in rigs[:-1]:
        last.checks += [one for one in rig.outcome("", "").checks if not one.passed]
    for (load, batch), found_in_turns in figures.items():
        medians = {
            key: round(float(np.median([found[key] for found in found_in_turns])), 1)
            for key in found_in_turns[0]
        }
        last.facts[f"{load}, at most {batch} in a batch"] = medians
    served = [last.counts(name)["verdicts"] for name in _CAMERAS]
    last.check("cameras are served alike", min(served) > 0.8 * max(served), str(served))
    worst = max(found["age_p99_ms"] for turn in figures.values() for found in turn)
    last.check("frames stay fresh", worst < 2000, f"largest p99 of the age {worst:.0f} ms")
    what = setup.video.name if setup.video else "a drawn film"
    did = (
        f"{what} as four RTSP cameras through {setup.guard.name}, {turns} turns of {each_s:.0f} s "
        f"each with at most {' and '.join(map(str, _BATCHES))} frames in a batch, at the film's "
        f"own rate and at {_FAST:g} frames per second; the table of cameras is that of the last "
        "turn, other figures are medians of turns; the server works on the same machine"
    )
    return replace(last.outcome("cameras4", did), seconds=seconds)


SCENARIOS = (Scenario("cameras4", "a film as four RTSP cameras at once", 120.0, _cameras),)
