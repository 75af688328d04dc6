"""Frames in, verdicts out and drops must add up, counted in three places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blurvote.benchmarks.soak.outcome import Check
from blurvote.benchmarks.soak.tally import Tallies
from blurvote.benchmarks.soak.witness import Witness
from blurvote.runtime.pipeline.settings import CameraSettings

__all__ = ["sum_checks"]


def sum_checks(
    settings: Sequence[CameraSettings],
    shot: Mapping[str, Any],
    witness: Witness,
    tallies: Tallies,
) -> list[Check]:
    """Checks of a pipeline that has stopped.

    The pipeline counts frames when its mailbox takes them; the tallies count what sources deliver,
    the witness what a sink receives. A reader that is stopped throws away the frame in its hand,
    so a live source may have delivered one more; a file's reader reads up to two ahead.
    """
    uris = {one.name: one.uri for one in settings}
    sums, sources, verdicts, closed = [], [], [], []
    for camera in shot["cameras"]:
        name, frames = camera["name"], camera["frames"]
        if frames != camera["verdicts"] + camera["dropped"] or camera["pending"]:
            sums.append(
                f"{name}: {frames} = {camera['verdicts']} + {camera['dropped']} "
                f"+ {camera['pending']}"
            )
        tally = tallies.of(uris[name])
        spare = 1 if camera["live"] is not False else 3
        if not 0 <= tally.frames - frames <= spare:
            sources.append(f"{name}: source {tally.frames}, pipeline {frames}")
        if witness.verdicts[name] != camera["verdicts"]:
            verdicts.append(f"{name}: {camera['verdicts']}, sink {witness.verdicts[name]}")
        if tally.opened != tally.closed:
            closed.append(f"{name}: {tally.opened} opened, {tally.closed} closed")
    total = {key: sum(camera[key] for camera in shot["cameras"]) for key in _COUNTS}
    return [
        Check(
            "frames = verdicts + dropped, none pending",
            not sums,
            "; ".join(sums) or "{frames} = {verdicts} + {dropped}".format(**total),
        ),
        Check("sources delivered as many frames as were counted", not sources, "; ".join(sources)),
        Check("a sink received every verdict", not verdicts, "; ".join(verdicts)),
        Check("every source that was opened is closed", not closed, "; ".join(closed)),
        _sink_sums(shot["sinks"]),
    ]


_COUNTS = ("frames", "verdicts", "dropped")


def _sink_sums(sinks: Sequence[Mapping[str, Any]]) -> Check:
    wrong = [
        f"{sink['name']}: {sink['put']} = {sink['delivered']} + {sink['dropped']} + "
        f"{sink['queued']}"
        for sink in sinks
        if sink["put"] != sink["delivered"] + sink["dropped"] + sink["queued"]
    ]
    return Check("of every sink, put = delivered + dropped + queued", not wrong, "; ".join(wrong))
