"""`blurvote run`: a guard on pictures, videos or a camera."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from blurvote.runtime.command import Command, positive_int
from blurvote.runtime.errors import BlurvoteError, PlanError, SourceError

if TYPE_CHECKING:
    from types import FrameType

    from blurvote.runtime.frame import Frame
    from blurvote.runtime.guard import Guard
    from blurvote.runtime.sinks import Sink
    from blurvote.runtime.sources import Source
    from blurvote.runtime.verdict import Verdict

__all__ = ["COMMAND"]

INPUT_BROKEN = 1
INTERRUPTED = 130
STILLS_PER_SECOND = 10  # of a video made from pictures


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", help="guard file, written by blurvote export")
    parser.add_argument(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="picture, folder, glob, video file, camera number, or - for picture paths on stdin",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object per line on stdout")
    parser.add_argument(
        "--out", metavar="PATH", help="write annotated frames to a video (.mp4, .avi) or a folder"
    )
    parser.add_argument("--provider", default="auto", choices=("auto", "cpu", "cuda", "tensorrt"))
    parser.add_argument("--plan", default="auto", choices=("auto", "batched", "cascade"))
    parser.add_argument("--threads", type=positive_int, help="default: the usable physical cores")
    parser.add_argument("--threshold", type=float, help="for guards that decide by mean softmax")
    parser.add_argument("--no-spin", action="store_true", help="idle threads sleep during a run")
    parser.add_argument(
        "--tuned",
        action="store_true",
        help="provider, plan, threads and spinning as blurvote bench --tune found them here",
    )
    parser.add_argument("--max-frames", type=positive_int, help="stop after this many frames")
    parser.add_argument(
        "--quiet", action="store_true", help="no line per verdict, only the summary"
    )


def _run(args: argparse.Namespace) -> int:
    with _load(args) as guard:
        job = _Job(args, guard)
        try:
            with job.interrupt, contextlib.suppress(KeyboardInterrupt):
                job.classify_all()
            job.report()
        finally:
            job.close()
    if job.interrupt.requested:
        return INTERRUPTED
    return INPUT_BROKEN if job.summary.broken else 0


def _load(args: argparse.Namespace) -> Guard:
    from blurvote.runtime.guard import Guard

    given = args.provider, args.plan, args.threads, not args.no_spin
    if not args.tuned:
        provider, plan, threads, spin = given
        return Guard(args.guard, provider, plan, threads, args.threshold, spin)
    if given != ("auto", "auto", None, True):
        raise PlanError(
            "--tuned sets the provider, plan, threads and spinning; leave out --provider, --plan, "
            "--threads and --no-spin, or leave out --tuned"
        )
    return Guard.tuned(args.guard, args.threshold)


class _Interrupt:
    """Ctrl-C ends a run between two frames; at once while a source is waited for, or when repeated.

    An exception in the middle of a frame would tear a line or a picture apart, and OpenCV 5's text
    functions have been seen to crash when a signal's exception reaches them.
    """

    def __init__(self) -> None:
        self.requested = False
        self.waiting = False

    def _on_signal(self, number: int, stack: FrameType | None) -> None:
        again, self.requested = self.requested, True
        if self.waiting or again:
            raise KeyboardInterrupt

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT)
        if self._before is signal.default_int_handler:  # else somebody else decides
            signal.signal(signal.SIGINT, self._on_signal)

    def __exit__(self, *_: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._before)

    @contextlib.contextmanager
    def wait(self) -> Iterator[None]:
        """The time in which an interrupt takes effect at once."""
        self.waiting = True
        try:
            if self.requested:
                raise KeyboardInterrupt
            yield
        finally:
            self.waiting = False


class _Job:
    """Takes sources through the guard, to stdout, the sink and the summary."""

    def __init__(self, args: argparse.Namespace, guard: Guard) -> None:
        from blurvote.runtime.summary import Summary

        self.args = args
        self.guard = guard
        self.summary = Summary()
        self.sink: Sink | None = None
        self.interrupt = _Interrupt()
        # On a terminal that also gets the verdicts, a progress line would only be in their way.
        self.progress = sys.stderr.isatty() and (args.quiet or not sys.stdout.isatty())

    def classify_all(self) -> None:
        from blurvote.runtime.sources import open_source

        for uri in self.args.sources:
            if self._enough():
                return
            try:
                with self.interrupt.wait():
                    source = open_source(uri)
            except SourceError as error:
                self._broken(uri, error)
                continue
            with contextlib.closing(source):
                self._classify(uri, source)

    def _classify(self, uri: str, source: Source) -> None:
        while not self._enough():
            try:
                with self.interrupt.wait():
                    frame = source.read()
                if frame is None:
                    return
                verdict = self.guard.classify(frame)
            except BlurvoteError as error:
                self._broken(uri, error)
                continue
            self.summary.add(verdict)
            if not self.args.quiet:
                self._say(verdict)
            if self.args.out:
                self._draw(frame, verdict, source)
            if self.progress:
                known = f"/{source.total}" if source.total else ""
                rate = f"{self.summary.frames_per_second:.1f}/s"
                line = f"\r{uri}: {frame.sequence + 1}{known}, {rate} "
                print(line, end="", file=sys.stderr, flush=True)

    def _enough(self) -> bool:
        most = self.args.max_frames
        return self.interrupt.requested or (most is not None and self.summary.frames >= most)

    def _broken(self, uri: str, error: BlurvoteError) -> None:
        self.summary.broken += 1
        if self.args.json:
            print(json.dumps({"type": "error", "source": uri, "error": str(error)}), flush=True)
        print(f"blurvote: {error}", file=sys.stderr)

    def _say(self, verdict: Verdict) -> None:
        if self.args.json:
            print(json.dumps({"type": "verdict", **verdict.to_dict()}), flush=True)
        else:
            print(_line(verdict, self.guard.labels), flush=True)

    def _draw(self, frame: Frame, verdict: Verdict, source: Source) -> None:
        from blurvote.runtime.annotate import annotate
        from blurvote.runtime.sinks import open_sink

        if self.sink is None:
            self.sink = open_sink(self.args.out, source.frames_per_second or STILLS_PER_SECOND)
        picture = annotate(frame, verdict, self.guard.defense, self.guard.labels)
        self.sink.write(picture, frame.source)

    def report(self) -> None:
        """Prints the summary."""
        if self.progress:
            print(file=sys.stderr)
        if self.args.json:
            ran = {"plan": self.guard.plan, "provider": self.guard.provider}
            print(json.dumps({"type": "summary", **ran, **self.summary.to_dict()}))
        else:
            print("\n".join(self.summary.lines()))
            print(f"  plan {self.guard.plan}, provider {self.guard.provider}")

    def close(self) -> None:
        """Finishes the annotated output."""
        if self.sink is not None:
            self.sink.close()


def _line(verdict: Verdict, labels: tuple[str, ...]) -> str:
    """A verdict for people."""
    from blurvote.runtime.annotate import label_name

    if verdict.accepted:
        said = f"{label_name(verdict.label, labels)} {verdict.confidence:.3f}"
    else:
        said = f"REJECTED {verdict.reason}"
    votes = ", ".join(
        "-" if vote is None else "none" if vote < 0 else label_name(vote, labels)
        for vote in verdict.view_labels
    )
    where = f"{verdict.source}#{verdict.sequence}"
    return f"{where}  {said}  [{votes}]  {verdict.stage_ms.total:.1f} ms"


COMMAND = Command(
    name="run",
    help="classify pictures, videos or a camera with a guard",
    description="Classifies every frame of the sources and prints a verdict for each, then a "
    "summary. Exit status: 0 all read, 1 some inputs could not be read, 2 error, 130 Ctrl-C.",
    examples="""
blurvote run guard.onnx photo.jpg
blurvote run guard.onnx 'images/*.png' --json
blurvote run guard.onnx drive.mp4 --out annotated.mp4 --plan cascade
find . -name '*.jpg' | blurvote run guard.onnx - --quiet
blurvote run guard.onnx 0 --max-frames 100
""",
    configure=_configure,
    run=_run,
)
