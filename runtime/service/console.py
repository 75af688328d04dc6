"""What `blurvote run` prints: verdicts, what went wrong, progress, and the summary."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from blurvote.runtime.annotate import label_name
from blurvote.runtime.observation import Event, Observation
from blurvote.runtime.pipeline.backlog import Item
from blurvote.runtime.pipeline.pipeline import Pipeline
from blurvote.runtime.summary import Summary
from blurvote.runtime.verdict import Verdict

__all__ = ["Console", "report_lines", "verdict_line"]

PROGRESS_EVERY_S = 0.2  # of live streams; a file's frames are few enough to show each


class Console:
    """Prints for people, or JSON lines for machines.

    Args:
        as_json: one JSON object per line on stdout.
        quiet: no verdicts, only the summary.
    """

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._json = as_json
        self._quiet = quiet
        # On a terminal that also gets the verdicts, a progress line would only be in their way.
        self._progress = sys.stderr.isatty() and (quiet or not sys.stdout.isatty())
        self._progressed = 0.0

    def show(self, item: Item, pipeline: Pipeline) -> None:
        """Prints an observation or an event."""
        if isinstance(item, Event):
            self._tell(item)
            return
        if not self._quiet and self._json:
            print(json.dumps(item.to_dict()), flush=True)
        elif not self._quiet:
            print(verdict_line(item.verdict, pipeline.guard.labels), flush=True)
        if self._progress:
            self._show_progress(item, pipeline)

    def report(self, pipeline: Pipeline) -> None:
        """Prints the summary."""
        shot = pipeline.snapshot()
        pipeline.summary.broken = shot["totals"]["errors"]
        if self._progress:
            print(file=sys.stderr)
        if self._json:
            more = {key: shot[key] for key in ("totals", "cameras", "sinks", "process")}
            ran = {"plan": shot["guard"]["plan"], "provider": shot["guard"]["provider"]}
            summary = {"type": "summary", **ran, **pipeline.summary.to_dict(), **more}
            print(json.dumps(summary), flush=True)
            return
        print("\n".join(report_lines(shot, pipeline.summary)), flush=True)

    def _tell(self, event: Event) -> None:
        if self._json:
            print(json.dumps(event.to_dict()), flush=True)
        if self._progress and self._progressed:
            print(file=sys.stderr)
        print(f"blurvote: {event.text}", file=sys.stderr, flush=True)

    def _show_progress(self, seen: Observation, pipeline: Pipeline) -> None:
        camera = pipeline.camera(seen.camera)
        rate = f"{pipeline.summary.frames_per_second:.1f}/s"
        if camera is not None and not camera.live:
            known = f"/{camera.total}" if camera.total else ""
            line = f"{camera.uri}: {seen.frame.sequence + 1}{known}, {rate} "
        elif time.monotonic() - self._progressed < PROGRESS_EVERY_S:
            return
        else:
            frames = pipeline.summary.frames
            line = f"{len(pipeline.cameras)} cameras: {frames} verdicts, {rate}, "
            line += f"age {seen.verdict.age_ms:.0f} ms "
        self._progressed = time.monotonic()
        print(f"\r{line}", end="", file=sys.stderr, flush=True)


def report_lines(shot: dict[str, Any], summary: Summary) -> list[str]:
    """What a run amounted to, for people; `shot` is the pipeline's snapshot."""
    lines = summary.lines(live=any(camera["live"] for camera in shot["cameras"]))
    lines.append(f"  plan {shot['guard']['plan']}, provider {shot['guard']['provider']}")
    lines += [_camera_line(camera) for camera in shot["cameras"] if camera["live"]]
    lines += [_sink_line(s) for s in shot["sinks"] if s["dropped"] or s["state"] != "ok"]
    return lines


def verdict_line(verdict: Verdict, labels: tuple[str, ...]) -> str:
    """A verdict for people."""
    if verdict.accepted:
        said = f"{label_name(verdict.label, labels)} {verdict.confidence:.3f}"
    else:
        said = f"REJECTED {verdict.reason}"
    votes = ", ".join(
        "-" if vote is None else "none" if vote < 0 else label_name(vote, labels)
        for vote in verdict.view_labels
    )
    where = f"{verdict.source}#{verdict.sequence}"
    denoised = "  denoised" if verdict.denoised else ""
    return f"{where}  {said}  [{votes}]{denoised}  {verdict.stage_ms.total:.1f} ms"


def _camera_line(camera: dict[str, Any]) -> str:
    age = camera["age_ms"]
    ages = f"; age p50 {age['p50']:.0f} ms, p99 {age['p99']:.0f} ms" if age else ""
    alarm = "; ALARM" if camera["alarm"] and camera["alarm"]["raised"] else ""
    return (
        f"  {camera['name']}: {camera['frames']} frames = {camera['verdicts']} verdicts + "
        f"{camera['dropped']} dropped + {camera['pending']} pending; {camera['errors']} errors, "
        f"{camera['reconnects']} reconnects{ages}; {camera['state']}{alarm}"
    )


def _sink_line(sink: dict[str, Any]) -> str:
    error = f": {sink['last_error']}" if sink["last_error"] else ""
    return (
        f"  {sink['name']}: {sink['delivered']} delivered, {sink['dropped']} dropped; "
        f"{sink['state']}{error}"
    )
