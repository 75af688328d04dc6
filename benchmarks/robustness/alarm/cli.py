"""`blurvote alarm`: how often the alarm errs, and how soon it comes."""

from __future__ import annotations

import argparse
from typing import get_args

from blurvote.runtime.command import Command, natural, positive_int
from blurvote.runtime.engines.protocol import Provider

__all__ = ["COMMAND"]

DISTURBANCES = "gaussian:0.0625,0.125,0.25 jpeg:5 defocus:5"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", metavar="GUARD", help="guard file")
    parser.add_argument("video", metavar="VIDEO", help="video of an undisturbed camera")
    what = parser.add_argument_group("what is laid over the video")
    what.add_argument(
        "--degradations",
        default=DISTURBANCES,
        metavar="LIST",
        help=f"as of blurvote evaluate; '' for none (default: {DISTURBANCES!r})",
    )
    what.add_argument(
        "--attacked",
        action="append",
        default=[],
        metavar="VIDEO",
        help="the same frames, attacked elsewhere; may be given again",
    )
    what.add_argument(
        "--fractions",
        type=_fractions,
        default=(0.25, 0.5, 1.0),
        metavar="LIST",
        help="shares of the frames that are disturbed (default: 0.25,0.5,1)",
    )
    what.add_argument("--limit", type=positive_int, metavar="N", help="only the first N frames")
    what.add_argument("--fps", type=float, metavar="F", help="frames per second (default: its own)")
    alarm = parser.add_argument_group("the alarm")
    alarm.add_argument("--false-alarm-days", type=float, metavar="D", help="one in D days")
    alarm.add_argument("--learn-s", type=float, metavar="S", help="seconds to learn from")
    alarm.add_argument("--block-s", type=float, metavar="S", help="seconds counted together")
    alarm.add_argument("--hold-s", type=float, metavar="S", help="length of a clump, assumed")
    alarm.add_argument("--odds", type=float, metavar="X", help="smallest change looked for")
    alarm.add_argument("--fewer", action="store_true", default=None, help="notice too few hits too")
    alarm.add_argument("--adapt-s", type=float, metavar="S", help="time constant of the baseline")
    size = parser.add_argument_group("simulation")
    size.add_argument(
        "--camera-days",
        type=positive_int,
        default=2000,
        metavar="N",
        help="streams of a day each, drawn from the video (default: 2000)",
    )
    size.add_argument(
        "--streams",
        type=positive_int,
        default=500,
        metavar="N",
        help="streams per disturbance (default: 500)",
    )
    size.add_argument(
        "--chain-days",
        type=natural,
        default=60,
        metavar="N",
        help="streams of a day per chain of known correlation; 0 for none (default: 60)",
    )
    size.add_argument(
        "--mean-block",
        type=float,
        metavar="FRAMES",
        help="mean stretch of the bootstrap (default: ten times the video's inflation)",
    )
    size.add_argument("--seed", type=natural, default=0, help="of noise and simulation")
    machine = parser.add_argument_group("machine")
    machine.add_argument("--provider", default="auto", choices=get_args(Provider))
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        default="lab-output",
        help="results go to FOLDER/<guard>/alarm/, where the guard's answers are kept for the "
        "next run (default: lab-output)",
    )
    output.add_argument("--fresh", action="store_true", help="ask the guard again")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _fractions(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 1 for value in values):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of shares above 0 and up to 1, as 0.25,1"
        )
    return values


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.robustness.alarm.session import run

    return run(args)


COMMAND = Command(
    name="alarm",
    help="measure the alarm's false alarms and delays on a guard and a video",
    description="""\
Runs the guard over a video, clean and disturbed, and resamples what it said into thousands of long
streams that keep the video's autocorrelation (stationary bootstrap). On these the alarm learns,
watches and clears as it does on a camera. Reported are false alarms per camera-day against the
stated rate, the share of disturbed streams that are noticed, how soon, and how soon they are
cleared; and false alarms on Markov chains of known rate and correlation time.

Exit status: 0 done, 2 error, 130 Ctrl-C; the guard's answers up to then are kept.""",
    examples="""
blurvote alarm guard.onnx road.mp4
blurvote alarm guard.onnx road.mp4 --degradations 'gaussian:0.25 jpeg' --fractions 0.1,1
blurvote alarm guard.onnx road.mp4 --degradations '' --attacked road-pgd.avi
blurvote alarm guard.onnx road.mp4 --false-alarm-days 7 --learn-s 600 --fewer -o results/
blurvote alarm guard.onnx road.mp4 --camera-days 100 --chain-days 0 --json
""",
    configure=_configure,
    run=_run,
)
