"""The command line's options of `blurvote export --precision`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blurvote.export.precision.options import PrecisionOptions

__all__ = ["configure_precision", "precision_options"]


def configure_precision(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    from blurvote.export.precision.options import METHODS

    add = parser.add_argument_group(
        "the precision", "What a lower one costs is measured, printed and kept in the guard."
    ).add_argument
    add(
        "--precision",
        choices=("fp32", "fp16", "int8"),
        default="fp32",
        help="of the backbone's weights and activations (default: fp32)",
    )
    add(
        "--calibrate",
        type=Path,
        metavar="IMAGES",
        help="a folder of pictures like those to come: int8 takes its ranges from a quarter of "
        "them (64 at most), makes its choices on another, and the rest report the cost; fp16 "
        "checks up to 16 of them for its range",
    )
    add(
        "--truth",
        type=Path,
        metavar="TSV",
        help="lines of file, tab, class index: report accuracies, not only agreement with fp32",
    )
    add(
        "--activations",
        choices=("uint8", "int8"),
        help="of int8: uint8 with a zero point (default: what ONNX Runtime's CPU kernels are fast "
        "on), or int8 without (what TensorRT takes); OpenVINO runs both",
    )
    add(
        "--ranges",
        choices=("auto", *METHODS),
        help="how int8 sets the ranges of activations (default: the best of all, by measurement)",
    )
    add(
        "--search-seconds",
        type=float,
        metavar="S",
        help="for finding tensors that are better kept in float (default: 120; 0: none)",
    )
    add(
        "--max-loss",
        type=float,
        metavar="POINTS",
        help="of clean accuracy (without --truth: of clean verdicts, contradicted or newly "
        "rejected; without IMAGES: of labels of drawn frames) that may be lost "
        "(default: 3); beyond it nothing is written",
    )
    add("--seed", type=int, help="of the pictures' parts and of the noise (default: 0)")


def precision_options(args: argparse.Namespace) -> PrecisionOptions | None:
    """What the options say; None for fp32.

    Raises:
        ExportError: they contradict each other, or a value is impossible.
    """
    from blurvote.export.precision.options import PrecisionOptions
    from blurvote.runtime.errors import ExportError

    given = {
        name: value
        for name, value in (
            ("images", args.calibrate),
            ("truth", args.truth),
            ("activations", args.activations),
            ("method", args.ranges),
            ("search_s", args.search_seconds),
            ("max_loss", args.max_loss),
            ("seed", args.seed),
        )
        if value is not None
    }
    if args.precision == "fp32":
        if given:
            raise ExportError(
                "--calibrate, --truth and the other options of the precision need --precision fp16 "
                "or int8"
            )
        return None
    only_int8 = {"activations", "method", "search_s"}.intersection(given)
    if args.precision == "fp16" and only_int8:
        raise ExportError("--activations, --ranges and --search-seconds are for --precision int8")
    return PrecisionOptions(args.precision, **given)
