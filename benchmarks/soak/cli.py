"""`blurvote soak`: real faults in camera pipelines, and how long until verdicts flow again."""

from __future__ import annotations

import argparse

from blurvote.runtime.command import Command, positive_float

__all__ = ["COMMAND", "NAMES"]

NAMES = (
    "rtsp-kill",
    "rtsp-stall",
    "rtsp-slow",
    "rtsp-resize",
    "corrupt-h264",
    "broker",
    "full-disk",
    "fast-4k",
    "eight-sources",
    "frames-100k",
    "come-and-go",
    "rtsp-come-and-go",
    "cameras4",
    "service",
)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "guard",
        nargs="?",
        metavar="GUARD",
        help="guard file; without one, the small guard that ships with blurvote",
    )
    what = parser.add_argument_group("what to do")
    what.add_argument(
        "--scenario",
        type=_names,
        default=NAMES,
        metavar="NAME,...",
        help="some of those above (default: all)",
    )
    what.add_argument(
        "--seconds",
        type=positive_float,
        metavar="S",
        help="about how long each scenario takes (default: its own, 30 to 180)",
    )
    what.add_argument(
        "--video",
        metavar="FILE",
        help="MP4 with H.264 for corrupt-h264, rtsp-slow and cameras4; without it, a drawn one",
    )
    what.add_argument(
        "--short",
        action="store_true",
        help="each in a few seconds: shows that the scenarios work, not what a pipeline endures",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--out", metavar="FOLDER", help="write soak.json and soak.md there, after each"
    )
    output.add_argument("--json", action="store_true", help="print JSON instead of a report")


def _names(text: str) -> tuple[str, ...]:
    if text == "all":
        return NAMES
    chosen = tuple(dict.fromkeys(part for part in text.split(",") if part))
    unknown = [name for name in chosen if name not in NAMES]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(NAMES)}")
    return chosen


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.soak.session import run

    return run(args)


COMMAND = Command(
    name="soak",
    help="put real faults into running camera pipelines and measure what happens",
    description="""\
Runs camera pipelines, does them harm at known times, and reports how long until verdicts flowed
again, whether frames in, verdicts out and drops add up, the frames' ages, and whether memory,
threads and descriptors stay flat. Each scenario has a process of its own. Those that lack a program
(GStreamer, mosquitto, root for a small disk) are skipped with the reason.

scenarios: rtsp-kill, rtsp-stall, rtsp-slow, rtsp-resize, corrupt-h264, broker, full-disk, fast-4k,
eight-sources, frames-100k, come-and-go, rtsp-come-and-go, cameras4, service

Exit status: 0 all checks passed, 1 a check failed, 2 error, 130 Ctrl-C; scenarios that were
finished before are kept.""",
    examples="""
blurvote soak
blurvote soak --scenario rtsp-kill,broker -o results/
blurvote soak guard.onnx --scenario cameras4 --video drive.mp4 --seconds 120 -o results/
blurvote soak --short
""",
    configure=_configure,
    run=_run,
)
