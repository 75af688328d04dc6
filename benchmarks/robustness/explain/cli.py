"""`blurvote explain`: which pixels each view, and the vote, went by."""

from __future__ import annotations

import argparse

from blurvote.runtime.command import Command, natural, positive_int

__all__ = ["COMMAND"]

METHODS = ("gradient-x-input", "integrated-gradients", "occlusion")
BASELINES = "black, grey, white, blur (the frame, heavily blurred) or a picture"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", metavar="GUARD", help="guard file, written by blurvote export")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="picture file")
    what = parser.add_argument_group("what is explained")
    what.add_argument(
        "--method",
        type=_methods,
        default=METHODS,
        metavar="LIST",
        help=f"some of {','.join(METHODS)} (default: all; occlusion takes longest)",
    )
    what.add_argument(
        "--target",
        metavar="CLASS",
        help="class to explain, by index or name (default: the verdict's; of a rejected frame the "
        "clean view's)",
    )
    what.add_argument(
        "--same-class",
        action="store_true",
        help="explain the clean frame's class in the attacked frame too",
    )
    what.add_argument(
        "--quantity",
        choices=("log-odds", "logit"),
        default="log-odds",
        help="number of a view that is explained (default: log-odds of the class)",
    )
    methods = parser.add_argument_group("methods")
    methods.add_argument(
        "--baseline",
        default="black",
        metavar="WHAT",
        help=f"where integrated gradients begin: {BASELINES} (default: black)",
    )
    methods.add_argument(
        "--ig-steps",
        type=positive_int,
        default=32,
        metavar="N",
        help="points of the integral (default: 32); more make the convergence delta smaller",
    )
    methods.add_argument(
        "--occlusion-patch",
        type=_share,
        default=0.15,
        metavar="SHARE",
        help="side of the covered square, of the short side that the views read (default: 0.15)",
    )
    methods.add_argument(
        "--occlusion-stride",
        type=_share,
        default=0.075,
        metavar="SHARE",
        help="its step; half of it takes four times as long (default: 0.075)",
    )
    methods.add_argument(
        "--occlusion-baseline",
        default="grey",
        metavar="WHAT",
        help=f"what covers: {BASELINES} (default: grey)",
    )
    attack = parser.add_argument_group("the attacked frame beside the clean one")
    attack.add_argument(
        "--attack",
        choices=("pgd", "none"),
        default="pgd",
        help="pgd: in L-inf, on the undefended backbone (grey-box), away from the guard's answer "
        "(default: pgd)",
    )
    attack.add_argument(
        "--attacked", metavar="FILE", help="an attacked picture made elsewhere; for one IMAGE"
    )
    attack.add_argument(
        "--epsilon",
        type=_epsilon,
        default=4 / 255,
        metavar="SIZE",
        help="largest change of a pixel in [0, 1], also as N/255 (default: 4/255)",
    )
    attack.add_argument(
        "--attack-steps", type=positive_int, default=10, metavar="N", help="default: 10"
    )
    attack.add_argument("--seed", type=natural, default=0, help="of the attack (default: 0)")
    run = parser.add_argument_group("running")
    run.add_argument(
        "--twin",
        metavar="FILE",
        help="float32 views guard of the same model, where GUARD is int8 or takes frames",
    )
    run.add_argument("--device", default="cpu", help="torch's device (default: cpu)")
    run.add_argument("--threads", type=positive_int, help="of torch and of the guard")
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--out",
        default="explain-output",
        metavar="FOLDER",
        help="for figures and explain.json (default: explain-output)",
    )
    output.add_argument(
        "--maps", action="store_true", help="also write the attributions, as float32 .npz"
    )
    output.add_argument("--json", action="store_true", help="print explain.json instead of a table")


def _methods(text: str) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(part for part in text.split(",") if part))
    unknown = [name for name in chosen if name not in METHODS]
    if unknown or not chosen:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of {', '.join(METHODS)}")
    return chosen


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share above 0, at most 1")
    return value


def _epsilon(text: str) -> float:
    over, _, under = text.partition("/")
    try:
        value = float(over) / float(under or 1)
    except (ValueError, ZeroDivisionError):
        value = 0.0
    if not 1 / 255 - 1e-9 <= value <= 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is out of range; expected 1/255 (one 8-bit level) to 1, such as 4/255"
        )
    return value


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.robustness.explain.session import run

    return run(args)


COMMAND = Command(
    name="explain",
    help="show which pixels each view and the vote went by, clean beside attacked",
    description="""\
Attributes what each view of a guard says, and their vote, to the pixels of the frame: |gradient| x
input, integrated gradients and occlusion, by captum on a differentiable twin that is first checked
against the guard. Clean beside attacked, as one figure per picture and method, with the figures
behind them in explain.json.

A view is explained by the log-odds of the class; the vote by their mean over the views that voted
for it.

Exit status: 0 done, 1 some pictures were skipped, 2 error, 130 Ctrl-C; every picture that was
finished before is kept.""",
    examples="""
blurvote explain guard.onnx hen.jpg
blurvote explain guard.onnx *.jpg --method gradient-x-input -o maps/
blurvote explain guard.onnx hen.jpg --method integrated-gradients --baseline blur --ig-steps 100
blurvote explain guard.onnx hen.jpg --target "cock" --attack none
blurvote explain guard.onnx hen.jpg --attacked hen-attacked.png --same-class
blurvote explain guard-int8.onnx hen.jpg --twin guard.onnx --json
""",
    configure=_configure,
    run=_run,
)
