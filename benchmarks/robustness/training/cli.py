"""`blurvote train`: trains a small net, or takes given weights, and writes a guard."""

from __future__ import annotations

import argparse
from pathlib import Path

from blurvote.benchmarks.robustness.training.catalogue import AUGMENTATIONS, DATASETS, NETS
from blurvote.runtime.command import Command, natural, positive_float, positive_int

__all__ = ["COMMAND"]


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET", help=", ".join(DATASETS))
    parser.add_argument("--net", metavar="NET", help="one of those above; without it, no net")
    parser.add_argument("-o", "--out", type=Path, metavar="FOLDER", help="where the files go")
    parser.add_argument("--name", help="of the files (default: DATASET-NET-AUGMENTATION)")
    parser.add_argument("--json", action="store_true", help="print the record as JSON")

    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="folder with idx files, torchvision's downloads or class folders; or a tar of those",
    )
    data.add_argument("--download", action="store_true", help="fetch what is missing into --data")
    data.add_argument(
        "--export-test",
        type=Path,
        metavar="FOLDER",
        help="write the held-out pictures there, as class folders of PNG and labels.tsv",
    )

    how = parser.add_argument_group("training")
    how.add_argument(
        "--augment",
        choices=AUGMENTATIONS,
        default="none",
        help="what is done to training pictures (default: none)",
    )
    how.add_argument(
        "--noise-sigma",
        type=positive_float,
        default=0.25,
        metavar="S",
        help="of the noise, of pixels in [0, 1] (default: 0.25)",
    )
    how.add_argument(
        "--flips",
        action=argparse.BooleanOptionalAction,
        help="mirror half the pictures (default: where a mirrored picture keeps its class)",
    )
    how.add_argument("--epochs", type=positive_int, default=5, metavar="N", help="default: 5")
    how.add_argument("--batch-size", type=positive_int, default=128, metavar="N", help="(128)")
    how.add_argument("--optimiser", choices=("adam", "sgd"), default="adam", help="default: adam")
    how.add_argument(
        "--learning-rate",
        type=positive_float,
        metavar="R",
        help="highest of the OneCycle schedule (default: adam 0.005, sgd 0.1)",
    )
    how.add_argument("--seed", type=natural, default=0, metavar="N", help="default: 0")
    how.add_argument("--threads", type=positive_int, metavar="N", help="default: torch's own")
    how.add_argument(
        "--gradient-samples",
        type=natural,
        default=0,
        metavar="N",
        help="sum the loss gradient at the first N test pictures over all steps",
    )
    how.add_argument(
        "--weights", type=Path, metavar="FILE", help="train nothing: make a guard of these"
    )

    guard = parser.add_argument_group("the guard's defence")
    guard.add_argument(
        "--kernel-size", type=positive_int, default=5, metavar="TAPS", help="default: 5"
    )
    guard.add_argument(
        "--blur-sigma",
        type=positive_float,
        default=1.0,
        metavar="PX",
        help="of one pass (default: 1)",
    )
    guard.add_argument(
        "--blur-at",
        choices=("frame", "model"),
        default="frame",
        help="the same for pictures of the data set's own size (default: frame)",
    )


def _run(args: argparse.Namespace) -> int:
    from blurvote.benchmarks.optional import require

    require(
        "blurvote train",
        ("torch", "torchvision", "onnx", "onnxscript"),
        "torch torchvision onnx onnxscript",
    )
    from blurvote.benchmarks.robustness.training.session import run

    return run(args)


_NETS = "\n".join(f"  {kind.name:<12} {kind.about}" for kind in NETS.values())

COMMAND = Command(
    name="train",
    help="train a small net to compare, as a guard",
    description=f"""\
Trains a small net on MNIST, Fashion-MNIST or CIFAR-10, plain or on noisy or geometrically changed
pictures, and writes NAME.onnx (a guard), NAME.pt (its weights) and NAME.json (how it was trained,
accuracy after every epoch). The test pictures are never changed. Where only one part of the data
set is there, it is split into train and test, always in the same way.

nets:
{_NETS}

Ctrl-C keeps the epochs that are done; the same command goes on from there.""",
    examples="""
blurvote train mnist --net mlp --augment noise --data mnist/ --download -o models/
blurvote train cifar10 --net resnet --augment geometric --data cifar10.tar -o models/
blurvote train mnist --data mnist/ --export-test test/
blurvote train mnist --net lenet5 --weights lenet5.pt --data mnist/ -o models/
blurvote train mnist --net resnet --data mnist/ -o models/ --gradient-samples 8
""",
    configure=_configure,
    run=_run,
)
