"""`blurvote engines`: which precision on which engine, what it gains and what it costs."""

from __future__ import annotations

import argparse

from blurvote.runtime.command import Command, natural, positive_int
from blurvote.runtime.commands.info import frame_size

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "guards",
        nargs="+",
        metavar="GUARD",
        help="files of one model in several precisions; the first is the reference",
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--engines",
        type=lambda text: tuple(part for part in text.split(",") if part),
        metavar="LIST",
        help="such as cpu,openvino,openvino:bf16,cuda,cuda:tf32,tensorrt (default: all that are "
        "here)",
    )
    what.add_argument(
        "--truth",
        metavar="DATASET",
        help="labelled pictures, as of blurvote evaluate; without them only times are measured",
    )
    what.add_argument(
        "--degradations",
        default="gaussian:0,0.125,0.25,0.375",
        metavar="LIST",
        help="as of blurvote evaluate (default: gaussian:0,0.125,0.25,0.375)",
    )
    what.add_argument("--colour-only", action="store_true", help="leave grey pictures out")
    what.add_argument("--limit", type=positive_int, metavar="N", help="only N pictures, drawn")
    what.add_argument("--seed", type=natural, default=0, help="of noise, draw and bootstrap")
    what.add_argument(
        "--frame-size",
        type=frame_size,
        metavar="HxW",
        default=(1080, 1920),
        help="frames that are timed (default: 1080x1920)",
    )
    what.add_argument(
        "--images", metavar="FOLDER", help="pictures to time on; without it, drawn ones"
    )
    what.add_argument(
        "--no-times", action="store_true", help="only accuracies; these may use all cores"
    )
    what.add_argument(
        "--no-peers",
        action="store_true",
        help="do not measure OpenCV with OpenVINO beside the guards",
    )
    what.add_argument("--threads", type=positive_int, help="default: the usable physical cores")
    what.add_argument(
        "--workers", type=positive_int, metavar="N", help="processes for the accuracies"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        default="lab-output",
        help="results go to FOLDER/engines/<first guard>/ (default: lab-output)",
    )
    output.add_argument("--fresh", action="store_true", help="start over, whatever is there")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.engines.session import run

    return run(args)


COMMAND = Command(
    name="engines",
    help="compare precisions and engines: times, accuracy, rejections",
    description="""\
Runs every file of a model on every engine of this machine: milliseconds of views, inference and
verdict, batched and as a cascade, all in turn in one run and beside what one would put together
from OpenCV and OpenVINO; and, on labelled pictures, accuracy and rejections under noise with their
paired differences from the first file on the first engine.

Exit status: 0 done, 1 something was left out, 2 error, 130 Ctrl-C; answers up to then are kept.""",
    examples="""
blurvote engines guard.onnx guard-int8.onnx
blurvote engines guard.onnx guard-int8.onnx --truth imagenet-val/ --limit 500
blurvote engines guard.onnx guard-fp16.onnx --engines cuda,tensorrt --images photos/
""",
    configure=_configure,
    run=_run,
)
