"""`blurvote bench`: what the defence costs on this device, and beside what people use today."""

from __future__ import annotations

import argparse
from typing import Any

from blurvote.runtime.command import Command, positive_int
from blurvote.runtime.commands.info import frame_size
from blurvote.runtime.engines.arguments import add_engine_arguments

__all__ = ["COMMAND"]

SIZES = "1080x1920,375x500"
EFFORTS = {"quick": 0.2, "normal": 1.0, "full": 3.0}


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "guards",
        nargs="*",
        metavar="GUARD",
        help="guard file; more files are the same model in other precisions; without one, the "
        "small guard that ships with blurvote. Or: compare A.json B.json",
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument("--sections", type=_list, metavar="LIST", help="only these of those above")
    what.add_argument("--against", type=_list, metavar="LIST", default=(), help="the peers above")
    what.add_argument(
        "--images", metavar="FOLDER", help="pictures to make frames of; without it, drawn ones"
    )
    what.add_argument(
        "--frame-size",
        type=_sizes,
        metavar="HxW,...",
        default=_sizes(SIZES),
        help=f"frames of the headline (default: {SIZES})",
    )
    add_engine_arguments(what)
    what.add_argument("--threads", type=positive_int, help="default: the usable physical cores")
    what.add_argument(
        "--effort",
        choices=tuple(EFFORTS),
        default="normal",
        help="how many windows, pictures and processes (default: normal)",
    )
    scenarios = parser.add_argument_group("MLPerf's scenarios (results are unverified)")
    scenarios.add_argument(
        "--scenarios", type=_list, metavar="LIST", default=(), help="all, or some of those above"
    )
    scenarios.add_argument(
        "--harness",
        choices=("auto", "loadgen", "built-in"),
        default="auto",
        help="auto: MLCommons' LoadGen where it is installed, else the built-in one",
    )
    scenarios.add_argument(
        "--scenario-seconds", type=float, default=60.0, metavar="S", help="default: 60 each"
    )
    scenarios.add_argument(
        "--official", action="store_true", help="the durations and counts of MLPerf's rules"
    )
    scenarios.add_argument(
        "--server-latency-ms", type=float, metavar="MS", help="default: 5 times the p90 of one"
    )
    tune = parser.add_argument_group("settings for this machine")
    tune.add_argument(
        "--tune", action="store_true", help="only find the fastest settings and keep them"
    )
    tune.add_argument(
        "--budget", type=float, default=60.0, metavar="S", help="seconds to tune (default: 60)"
    )
    compare = parser.add_argument_group("compare")
    compare.add_argument(
        "--noise",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="differences below this are noise (default: 0.05)",
    )
    compare.add_argument(
        "--fail-on",
        choices=("slower", "missing", "never"),
        default="slower",
        help="what makes the exit status 1; missing: also rows that are gone (default: slower)",
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o", "--out", metavar="FOLDER", help="write results.json, report.md and figures there"
    )
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _list(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


def _share(text: str) -> float:
    from blurvote.benchmarks.latency.compare import noise_share

    return noise_share(text)


def _sizes(text: str) -> tuple[tuple[int, int], ...]:
    return tuple(frame_size(part) for part in text.split(","))


def _run(args: argparse.Namespace) -> int:
    if args.guards[:1] == ["compare"]:
        return _compare(args)
    from blurvote.benchmarks.latency.session import run

    return run(args)


def _compare(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.latency import compare
    from blurvote.runtime.errors import SourceError

    files: list[Any] = args.guards[1:]
    if len(files) != 2:
        raise SourceError(f"compare takes two results.json, before and after; got {len(files)}")
    before, after = files
    return compare.run(before, after, args.noise, args.json, args.fail_on)


COMMAND = Command(
    name="bench",
    help="measure what a guard costs on this machine, beside its peers",
    description="""\
Measures a guard from frame to verdict, stage by stage, on every plan, over frame sizes, cameras,
threads and providers, beside the undefended model and beside what people use today; all
alternatives in turn in one run, in windows that are repeated until they agree.

sections: verdict, tail, cascade, cameras, sizes, threads, providers, views, formats, noise, boxes,
vote, compute, start
peers (--against): blog, torch, opencv-ort, openvino, all
scenarios: single-stream, multi-stream, offline, server, all

Exit status: 0 done, 1 a part failed or (compare) something is slower, 2 error, 130 Ctrl-C; what was
measured before an error or Ctrl-C is kept.""",
    examples="""
blurvote bench guard.onnx
blurvote bench guard.onnx --images photos/ --against all -o results/
blurvote bench guard.onnx --sections verdict,cameras --effort quick
blurvote bench guard.onnx --sections verdict --scenarios all -o results/
blurvote bench --tune guard.onnx
blurvote bench compare before/results.json after/results.json --noise 0.03
""",
    configure=_configure,
    run=_run,
)
