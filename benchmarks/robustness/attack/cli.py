"""`blurvote attack`: robust accuracy of guards against attacks that know less or more of them."""

from __future__ import annotations

import argparse

from blurvote.benchmarks.robustness.attack.cases import ATTACKS, EVADED, THREATS
from blurvote.runtime.command import Command, natural, positive_int
from blurvote.runtime.engines.arguments import add_engine_arguments

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "guards", nargs="+", metavar="GUARD", help="guard files; several are compared in charts"
    )
    parser.add_argument(
        "dataset",
        metavar="DATASET",
        help="folder of labelled pictures (by WordNet id or class), or a TSV of file and index",
    )
    what = parser.add_argument_group("attacks")
    what.add_argument(
        "--attack",
        type=_list,
        default=("random", "fgsm", "pgd"),
        metavar="LIST",
        help="some of those below, or all (default: random,fgsm,pgd)",
    )
    what.add_argument(
        "--threats",
        type=_list,
        default=None,
        metavar="LIST",
        help="some of those below (default: grey-box,adaptive, and transfer with --surrogate)",
    )
    what.add_argument(
        "--epsilon",
        type=_list,
        default=("2/255", "4/255"),
        metavar="LIST",
        help="L-inf radii, such as 2/255,0.03 (default: 2/255,4/255)",
    )
    what.add_argument(
        "--epsilon-l2",
        type=_list,
        default=("1", "3"),
        metavar="LIST",
        help="L2 radii of pgd-l2 over the frame in [0, 1] (default: 1,3)",
    )
    what.add_argument(
        "--noise",
        type=_list,
        default=("0",),
        metavar="LIST",
        help="standard deviations, in [0, 1], of Gaussian noise on the frames that are attacked, "
        f"such as 0,0.125 (default: 0; of evade {EVADED:g})",
    )
    what.add_argument(
        "--steps",
        type=_steps,
        default=(10, 40, 100),
        metavar="LIST",
        help="where success is counted (default: 10,40,100)",
    )
    what.add_argument("--restarts", type=positive_int, default=1, help="of pgd (default: 1)")
    what.add_argument(
        "--targeted", action="store_true", help="aim at one wrong class, drawn per picture"
    )
    what.add_argument(
        "--queries", type=positive_int, default=1000, help="of square, per picture (default: 1000)"
    )
    what.add_argument("--surrogate", metavar="GUARD", help="another model's guard, for transfer")
    what.add_argument(
        "--twin",
        metavar="FILE",
        help="where gradients come from: the fp32 (views) export of an int8 or frames guard",
    )
    what.add_argument(
        "--limit", type=positive_int, default=100, metavar="N", help="pictures (default: 100)"
    )
    what.add_argument("--seed", type=natural, default=0, help="of every random draw (default: 0)")
    machine = parser.add_argument_group("machine")
    add_engine_arguments(machine)
    machine.add_argument("--device", default="cpu", help="torch's, such as cuda (default: cpu)")
    machine.add_argument(
        "--workers", type=positive_int, help="processes (default: the usable physical cores)"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "-o",
        "--out",
        metavar="FOLDER",
        default="lab-output",
        help="results go to FOLDER/<guard>/; an interrupted run goes on from there, and further "
        "attacks are added (default: lab-output)",
    )
    output.add_argument(
        "--keep",
        type=natural,
        default=4,
        metavar="N",
        help="pictures whose adversarial frames are kept as PNG and shown (default: 4)",
    )
    output.add_argument("--fresh", action="store_true", help="start over, whatever is there")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")


def _list(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise argparse.ArgumentTypeError(f"{text!r} names nothing")
    return parts


def _steps(text: str) -> tuple[int, ...]:
    return tuple(sorted({positive_int(part) for part in text.split(",")}))


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.robustness.attack.session import run

    return run(args)


def _lines(names: dict[str, str]) -> str:
    return "\n".join(f"  {name:<16} {what}" for name, what in names.items())


COMMAND = Command(
    name="attack",
    help="attack a guard, with and without knowledge of its defence",
    description=f"""\
Crafts adversarial frames of native size and 8 bits, and counts what the deployed guard makes of
them: right, wrong and accepted (the attacker's success), or rejected. Gradients come from a torch
twin of the guard, which is checked against it first. Beside the guard stands the undefended model,
accepting as many frames by its own confidence.

attacks:
{_lines(ATTACKS)}
threats:
{_lines(THREATS)}

Exit status: 0 done, 1 done but pictures could not be read (they are listed), 2 error, 130 Ctrl-C;
run the same command again to go on.""",
    examples="""
blurvote attack guard.onnx imagenet-val/
blurvote attack resnet50.onnx photos.tsv --attack all --surrogate mobilenetv2.onnx --limit 200
blurvote attack guard.onnx photos.tsv --attack pgd --epsilon 1/255,8/255 --targeted --restarts 5
blurvote attack int8.onnx photos.tsv --twin fp32.onnx
blurvote attack denoising.onnx photos.tsv --attack random,pgd,force,evade --noise 0,0.06,0.125
blurvote attack mlp.onnx resnet.onnx mnist-test/ --attack until-confident
""",
    configure=_configure,
    run=_run,
)
