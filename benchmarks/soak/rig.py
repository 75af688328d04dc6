"""A pipeline under watch: its verdicts timed, its sources counted, its memory sampled."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from blurvote.benchmarks.soak.flatness import Sample, Sampler
from blurvote.benchmarks.soak.outcome import Check, Fault, Outcome
from blurvote.benchmarks.soak.setup import say
from blurvote.benchmarks.soak.sums import sum_checks
from blurvote.benchmarks.soak.tally import Tallies
from blurvote.benchmarks.soak.witness import Mark, Witness
from blurvote.runtime.guard import Guard
from blurvote.runtime.observation import Observation
from blurvote.runtime.pipeline.pipeline import Pipeline
from blurvote.runtime.pipeline.settings import CameraSettings, Flow
from blurvote.runtime.sinks import Sink

__all__ = ["Rig"]

PATIENCE_S = 60.0  # that anything may take at most to come back
MOST_EVENTS = 60  # that an outcome keeps
GOODBYE_S = 12.0  # for a source that was just being opened when the pipeline was stopped
_OURS = ("blurvote-", "sink ")  # how the pipeline's own threads are called


class Rig:
    """Runs a pipeline as a context; `outcome` afterwards says what happened.

    Args:
        guard: stays the caller's to close.
        cameras: each with a name.
        sinks: besides the witness.
        flow: as of the pipeline.

    Attributes:
        pipeline, witness, tallies, sampler: at work from entering on.
        checks, facts: what the scenario adds to its outcome.
        unsettled: why threads and descriptors may differ at the end; empty where they may not.
        faults: what was done so far.
    """

    def __init__(
        self,
        guard: Guard,
        cameras: Sequence[CameraSettings],
        sinks: Sequence[str | Sink | Callable[[Observation], None]] = (),
        flow: Flow | None = None,
        tallies: Tallies | None = None,
    ) -> None:
        self.began = time.monotonic()
        self.settings = list(cameras)
        self.tallies = tallies or Tallies()
        self.witness = Witness()
        self.pipeline = Pipeline(guard, self.settings, [self.witness, *sinks], flow)
        self.sampler = Sampler(lambda: float(sum(self.witness.verdicts.values())))
        self.checks: list[Check] = []
        self.faults: list[Fault] = []
        self.facts: dict[str, Any] = {}
        self.unsettled = ""
        self.shot: dict[str, Any] = {}
        self._start: Sample | None = None
        self._end: Sample | None = None

    def __enter__(self) -> Rig:
        self.pipeline.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._settle()
        finally:
            self.sampler.stop()
            self.pipeline.stop(timeout_s=15.0)
            self.shot = self.pipeline.snapshot()
            late = _threads()
            if late:
                self.facts["threads left when the pipeline said that it had stopped"] = late

    # ---- watching ----

    def warm_up(self, names: Sequence[str] | None = None, seconds: float = 1.0) -> None:
        """Waits until all cameras (or those of `names`) deliver, and a while longer.

        Ages and gaps count from then on, and memory is compared with then.
        """
        wanted = list(names) if names is not None else [one.name for one in self.settings]
        marks = [self.witness.mark(name) for name in wanted]
        came = self.witness.wait(marks, PATIENCE_S)
        late = [mark.camera for mark in marks if mark.first is None]
        self.check("all cameras deliver at first", came, ", ".join(late))
        time.sleep(seconds)
        self.witness.restart()
        self._start = self.sampler.take()

    def settle_in(self, within_s: float) -> Sample:
        """Waits until no more threads and descriptors are held than after warm-up."""
        before = self._start
        deadline = time.monotonic() + within_s
        while True:
            now = self.sampler.take()
            if before is None or (now.threads <= before.threads and now.files <= before.files):
                return now
            if time.monotonic() > deadline:
                return now
            time.sleep(0.1)

    def _settle(self) -> None:
        before = self._start
        if before is None:
            return
        if self.unsettled:
            self._end = self.sampler.take()
            return
        self._end = now = self.settle_in(15.0)
        self.check(
            "as many threads as after warm-up",
            now.threads <= before.threads,
            f"{before.threads} then, {now.threads} now",
        )
        self.check(
            "as many descriptors as after warm-up",
            now.files <= before.files,
            f"{before.files} then, {now.files} now",
        )

    def check(self, name: str, passed: bool, detail: str = "") -> None:
        """Adds to the outcome's checks."""
        self.checks.append(Check(name, bool(passed), detail))

    def counts(self, name: str) -> dict[str, Any]:
        """What the pipeline says about a camera now, or said at its end."""
        shot = self.shot or self.pipeline.snapshot()
        (found,) = [camera for camera in shot["cameras"] if camera["name"] == name]
        return dict(found)

    # ---- doing harm ----

    def harm(
        self,
        what: str,
        cameras: Sequence[str],
        inject: Callable[[], None],
        remedy: Callable[[], None],
        lasts_s: float,
        within_s: float = PATIENCE_S,
    ) -> list[Fault]:
        """Injects a fault, removes its cause after a while, waits until verdicts flow again."""
        injected = [self.witness.mark(name) for name in cameras]
        inject()
        time.sleep(lasts_s)
        remedy()
        marks = [self.witness.mark(name) for name in cameras]
        self.witness.wait(marks, within_s)
        self.witness.wait(injected, 0.0)
        found = [self._fault(what, *pair) for pair in zip(injected, marks, strict=True)]
        self.faults += found
        for fault in found:
            back = (
                "not back"
                if fault.back_after_s is None
                else f"back after {fault.back_after_s:.2f} s"
            )
            say(f"{what}: {fault.whom}: {fault.told or 'nothing told'}; {back}")
        return found

    def _fault(self, what: str, injected: Mark, removed: Mark) -> Fault:
        name = injected.camera
        told = self.witness.first_told(name, injected.since)
        # Verdicts of what was under way when the fault came still count as before it.
        before = max(removed.before, injected.before)
        first = removed.first
        return Fault(
            what=what,
            whom=name,
            at_s=injected.since - self.began,
            lasted_s=removed.since - injected.since,
            told=told.event.text if told else "",
            told_after_s=told.at - injected.since if told else None,
            silent_s=(first or time.monotonic()) - before,
            back_after_s=None if first is None else first - removed.since,
        )

    # ---- telling ----

    def outcome(self, scenario: str, did: str) -> Outcome:
        """What happened; after the context was left."""
        checks = [*self.checks, *sum_checks(self.settings, self.shot, self.witness, self.tallies)]
        if self.faults:
            late = [
                f"{fault.whom} ({fault.what})"
                for fault in self.faults
                if fault.back_after_s is None
            ]
            checks.append(
                Check("verdicts flowed again after every fault", not late, ", ".join(late))
            )
        deadline = time.monotonic() + GOODBYE_S
        while (left := _threads()) and time.monotonic() < deadline:
            time.sleep(0.05)
        checks.append(Check("the pipeline gave its threads back", not left, ", ".join(left)))
        usage = {}
        if self._start is not None:
            usage["start"] = _usage(self._start)
            usage["end"] = _usage(self._end or self._start)
        return Outcome(
            scenario,
            "passed" if all(check.passed for check in checks) else "failed",
            did,
            seconds=time.monotonic() - self.began,
            faults=tuple(self.faults),
            cameras=tuple(self.cameras()),
            usage=usage,
            checks=tuple(checks),
            facts=self.facts,
            events=tuple(
                f"{told.at - self.began:8.2f} s  {told.event.text}"
                for told in list(self.witness.events)[-MOST_EVENTS:]
            ),
        )

    def cameras(self) -> list[dict[str, Any]]:
        """Per camera its counts and its ages since warm-up."""
        rows = []
        for camera in self.shot["cameras"]:
            name = camera["name"]
            keys = ("frames", "verdicts", "dropped", "pending", "errors", "reconnects", "reasons")
            ages = self.witness.ages.get(name)
            rows.append(
                {
                    "name": name,
                    **{key: camera[key] for key in keys},
                    "state": camera["state"],
                    "age_ms": ages.to_dict() if ages and ages.count else None,
                    "longest_gap_s": self.witness.longest_gap.get(name),
                }
            )
        return rows


def _threads() -> list[str]:
    """Names of the pipeline's threads that still run."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(_OURS)]


def _usage(sample: Sample) -> dict[str, float]:
    return {"rss_mib": sample.rss_mib, "threads": sample.threads, "files": sample.files}
