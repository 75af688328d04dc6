"""`blurvote run`: a guard on pictures, videos or a camera."""

from __future__ import annotations

import argparse
import json
import sys

from blurvote.runtime.command import Command, positive_int

__all__ = ["COMMAND"]

INPUT_BROKEN = 1
INTERRUPTED = 130


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
    parser.add_argument("--max-frames", type=positive_int, help="stop after this many frames")
    parser.add_argument(
        "--quiet", action="store_true", help="no line per verdict, only the summary"
    )


def _run(args: argparse.Namespace) -> int:
    from blurvote.runtime.annotate import annotate, label_name
    from blurvote.runtime.errors import BlurvoteError, SourceError
    from blurvote.runtime.guard import Guard
    from blurvote.runtime.sinks import Sink, open_sink
    from blurvote.runtime.sources import open_source
    from blurvote.runtime.summary import Summary
    from blurvote.runtime.verdict import Verdict

    guard = Guard(
        args.guard, args.provider, args.plan, args.threads, args.threshold, not args.no_spin
    )
    summary = Summary()
    sink: Sink | None = None
    progress = sys.stderr.isatty() and not (sys.stdout.isatty() and not args.quiet)

    def line_of(verdict: Verdict) -> str:
        if args.json:
            return json.dumps({"type": "verdict", **verdict.to_dict()})
        name = label_name(verdict.label, guard.labels)
        said = (
            f"{name} {verdict.confidence:.3f}" if verdict.accepted else f"REJECTED {verdict.reason}"
        )
        votes = ", ".join(
            "-" if vote is None else "none" if vote < 0 else label_name(vote, guard.labels)
            for vote in verdict.view_labels
        )
        where = f"{verdict.source}#{verdict.sequence}"
        return f"{where}  {said}  [{votes}]  {verdict.stage_ms.total:.1f} ms"

    def broken(source: str, error: BlurvoteError) -> None:
        summary.broken += 1
        if args.json:
            print(json.dumps({"type": "error", "source": source, "error": str(error)}))
        print(f"blurvote: {error}", file=sys.stderr)

    def classify_all() -> None:
        nonlocal sink
        for uri in args.sources:
            try:
                source = open_source(uri)
            except SourceError as error:
                broken(uri, error)
                continue
            try:
                while args.max_frames is None or summary.frames < args.max_frames:
                    try:
                        frame = source.read()
                        if frame is None:
                            break
                        verdict = guard.classify(frame)
                    except BlurvoteError as error:
                        broken(uri, error)
                        continue
                    summary.add(verdict)
                    if not args.quiet:
                        print(line_of(verdict), flush=True)
                    if args.out:
                        if sink is None:
                            sink = open_sink(
                                args.out, getattr(source, "frames_per_second", None) or 10
                            )
                        sink.write(
                            annotate(frame, verdict, guard.defense, guard.labels), frame.source
                        )
                    if progress:
                        known = f"/{source.total}" if source.total else ""
                        rate = summary.frames_per_second
                        print(
                            f"\r{uri}: {frame.sequence + 1}{known}, {rate:.1f}/s ",
                            end="",
                            file=sys.stderr,
                            flush=True,
                        )
            finally:
                source.close()

    status = 0
    try:
        classify_all()
    except KeyboardInterrupt:
        status = INTERRUPTED
    if progress:
        print(file=sys.stderr)
    if args.json:
        print(
            json.dumps(
                {
                    "type": "summary",
                    "plan": guard.plan,
                    "provider": guard.provider,
                    **summary.to_dict(),
                }
            )
        )
    else:
        print("\n".join(summary.lines()))
        print(f"  plan {guard.plan}, provider {guard.provider}")
    if sink is not None:
        sink.close()
    return status or (INPUT_BROKEN if summary.broken else 0)


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
