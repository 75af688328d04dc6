"""The command line's options of `blurvote export --denoiser`."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["configure_denoiser", "denoiser_fields"]

_SHIPPED = "shipped"  # as in `loading`, which needs onnx


def configure_denoiser(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument_group(
        "noisy frames", "Their noise is measured; they are denoised and judged by other views."
    ).add_argument
    add(
        "--denoiser",
        nargs="?",
        const=_SHIPPED,
        metavar="PATH",
        help="an ONNX denoiser of RGB images in [0, 1], told the noise level or not (without PATH: "
        "the one that blurvote ships)",
    )
    add(
        "--noisy-views",
        type=lambda text: tuple(name.strip() for name in text.split(",")),
        metavar="A,B,C",
        help="views of a noisy frame, as many as --passes (default for three: "
        "90%%-denoised,denoised,50%%-denoised)",
    )
    add(
        "--noise-switch",
        nargs=2,
        type=float,
        metavar=("LOW", "HIGH"),
        help="a frame is noisy from the noise level HIGH on, in [0, 1] on the backbone's grid, and "
        "the next of its stream until it falls below LOW; a frames guard knows HIGH alone "
        "(default: 0.02 0.025)",
    )
    add(
        "--noisy-threshold",
        type=float,
        metavar="P",
        help="the same as --threshold, of noisy frames; blurvote calibrate fits one",
    )


def denoiser_fields(args: argparse.Namespace) -> dict[str, Any]:
    """The fields of `Defense` that the options set.

    Raises:
        ExportError: they need a denoiser.
    """
    from blurvote.runtime.errors import ExportError

    fields: dict[str, Any] = {}
    if args.noisy_views is not None:
        fields["noisy_views"] = args.noisy_views
    if args.noise_switch is not None:
        fields["noise_switch"] = tuple(args.noise_switch)
    if args.noisy_threshold is not None:
        fields["noisy_threshold"] = args.noisy_threshold
    if fields and args.denoiser is None:
        raise ExportError(
            "--noisy-views, --noise-switch and --noisy-threshold need --denoiser (without a path: "
            "the one that blurvote ships)"
        )
    return fields
