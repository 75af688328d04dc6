"""`blurvote evaluate`: accuracy and rejections on clean, noisy and degraded pictures."""

from __future__ import annotations

import argparse

from blurvote.runtime.command import Command, natural, positive_int
from blurvote.runtime.engines.arguments import add_engine_arguments

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", metavar="GUARD", help="guard file")
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder of labelled pictures (by WordNet id or class), or a TSV of file and index",
    )
    what = parser.add_argument_group("what to measure")
    what.add_argument(
        "--degradations",
        metavar="LIST",
        help="blank-separated, such as 'gaussian:0,0.25 shot:1-5 jpeg', or all; a bare name is "
        "all its severities (default: gaussian, of sigma 0, 0.125, 0.25, 0.375; of natural "
        "examples only 0)",
    )
    what.add_argument(
        "--float-frames",
        action="store_true",
        help="hand noisy frames over as float, as the blog did, not as the camera's 8 bits",
    )
    what.add_argument(
        "--kernels", type=_kernels, default=(), metavar="LIST", help="also these kernels, as 5,7"
    )
    what.add_argument(
        "--antialias",
        choices=("own", "both"),
        default="own",
        help="both: also with the other resize filter (torchvision before 0.17 had none)",
    )
    what.add_argument(
        "--protocol",
        choices=("plain", "imagenet-a", "imagenet-o"),
        default="plain",
        help="imagenet-a: only its 200 classes count; imagenet-o: how well its pictures of no "
        "class are told apart from --in-distribution",
    )
    what.add_argument(
        "--in-distribution", metavar="DATASET", help="pictures of ImageNet-O's 200 classes"
    )
    what.add_argument("--colour-only", action="store_true", help="leave grey pictures out")
    what.add_argument("--limit", type=positive_int, metavar="N", help="only N pictures, drawn")
    what.add_argument("--seed", type=natural, default=0, help="of noise, draw and bootstrap")
    what.add_argument(
        "--repeats",
        type=positive_int,
        default=1,
        metavar="N",
        help="draws of the noise per picture, of the seeds SEED to SEED + N - 1, pooled; intervals "
        "are still of the pictures (default: 1)",
    )
    what.add_argument(
        "--short-side",
        type=positive_int,
        metavar="PX",
        help="resize pictures to this short side before they are degraded, as a large camera's "
        "frames would be: 1080 for 1080p (default: their own size)",
    )
    smoothing = parser.add_argument_group("denoised smoothing, as a comparison")
    smoothing.add_argument("--smoothing", metavar="DENOISER", help="ONNX denoiser; turns it on")
    smoothing.add_argument(
        "--smoothing-sigma", type=float, default=0.25, metavar="S", help="(default: 0.25)"
    )
    smoothing.add_argument(
        "--smoothing-n",
        type=positive_int,
        default=100,
        metavar="N",
        help="noisy copies per picture (default: 100; published: 10,000 and more)",
    )
    smoothing.add_argument(
        "--smoothing-images",
        type=positive_int,
        default=100,
        metavar="N",
        help="pictures (default: 100)",
    )
    machine = parser.add_argument_group("machine")
    add_engine_arguments(machine)
    machine.add_argument(
        "--workers", type=positive_int, help="processes (default: the usable physical cores)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        default="lab-output",
        help="results go to FOLDER/<guard>/; an interrupted run goes on from there "
        "(default: lab-output)",
    )
    output.add_argument("--fresh", action="store_true", help="start over, whatever is there")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _kernels(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of kernel sizes, as 5,7") from None


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.robustness.evaluate.session import run

    return run(args)


COMMAND = Command(
    name="evaluate",
    help="measure a guard's accuracy and rejections under noise and other sensor faults",
    description="""\
Runs the deployed guard on labelled pictures, clean and degraded, and writes accuracy of each view,
of the majority on accepted and on all frames, and the reject rate; beside them what the undefended
model's own confidence would have achieved at the same coverage, the mean softmax, the
risk-coverage curves, and the figures that the defence was published with. All with 95 %
intervals. No attack is run here: see blurvote attack.

degradations: gaussian (by sigma), shot, impulse, speckle, jpeg, low-light, defocus, motion (by
severity 1 to 5); jpeg-quality (by libjpeg's quality 1 to 100; not among all)

Of a guard whose noisy frames have views of their own, the table shows on the same frames the blog's
majority (of the quiet views), majority and mean of the views that judged each frame, and the model
without defence; and the noise level that was read.

Exit status: 0 done, 1 done but pictures could not be read (they are listed), 2 error, 130 Ctrl-C;
run the same command again to go on.""",
    examples="""
blurvote evaluate guard.onnx imagenet-val/
blurvote evaluate guard.onnx photos.tsv --limit 500 --colour-only --kernels 5,7 --antialias both
blurvote evaluate guard.onnx imagenet-val/ --degradations all -o results/
blurvote evaluate guard.onnx imagenet-val/ --repeats 3 --short-side 1080
blurvote evaluate guard.onnx imagenet-a/ --protocol imagenet-a
blurvote evaluate guard.onnx imagenet-o/ --protocol imagenet-o --in-distribution imagenet-val/
blurvote evaluate guard.onnx imagenet-val/ --smoothing ffdnet.onnx --smoothing-n 100
""",
    configure=_configure,
    run=_run,
)
