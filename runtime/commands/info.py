"""`blurvote info`: what a guard file says about itself."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from blurvote.runtime.command import Command

__all__ = ["COMMAND", "frame_size"]

USUAL_SIZES = ((480, 640), (720, 1280), (1080, 1920))


def frame_size(text: str) -> tuple[int, int]:
    """An argparse type: `HEIGHTxWIDTH` in pixels."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, such as 1080x1920")
    return int(height), int(width)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("guard", help="guard file, written by blurvote export")
    parser.add_argument(
        "--frame-size",
        type=frame_size,
        metavar="HxW",
        help="show the effective blur for this frame size",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(args: argparse.Namespace) -> int:
    from blurvote.runtime.engine import Engine
    from blurvote.runtime.errors import DefenseError
    from blurvote.runtime.metadata import GuardMetadata
    from blurvote.runtime.views import ViewBuilder

    engine = Engine(args.guard, "cpu", threads=1)
    metadata = GuardMetadata.from_map(engine.metadata, args.guard)
    builder = ViewBuilder(metadata.defense)
    sizes = [args.frame_size] if args.frame_size else list(USUAL_SIZES)
    if metadata.frame_size and not args.frame_size:
        sizes = [metadata.frame_size]
    effective: dict[str, Any] = {}
    for height, width in sizes:
        try:
            effective[f"{height}x{width}"] = builder.effective_sigma(height, width)
        except DefenseError as error:
            effective[f"{height}x{width}"] = str(error)
    if args.json:
        print(
            json.dumps(
                {
                    "path": args.guard,
                    "kind": metadata.kind,
                    "frame_size": metadata.frame_size,
                    "defense": asdict(metadata.defense),
                    "labels": list(metadata.labels),
                    "effective_sigma_px": effective,
                    "provenance": dict(metadata.provenance),
                    "parity": dict(metadata.parity),
                },
                indent=2,
            )
        )
        return 0
    print(_text(args.guard, metadata, effective))
    return 0


def _text(path: str, metadata: Any, effective: dict[str, Any]) -> str:
    defense = metadata.defense
    takes = "normalised views" if metadata.kind == "views" else "uint8 frames"
    size = "x".join(map(str, metadata.frame_size)) if metadata.frame_size else "any size"
    lines = [
        f"{path}: {metadata.kind} guard (takes {takes}, frames of {size})",
        f"  views      {', '.join(defense.view_name(view) for view in defense.views)}",
        f"  blur       {defense.kernel_size} taps, sigma {defense.sigma:g} px at the "
        f"{defense.blur_at}, border {defense.border}",
        f"  grid       {defense.fit} to {defense.crop[0]}x{defense.crop[1]}"
        + (f" from a short side of {defense.resize}" if defense.fit == "crop" else "")
        + f", {defense.interpolation}, {'antialiased' if defense.antialias else 'no antialias'}",
        f"  normalise  mean {list(defense.mean)}, std {list(defense.std)}",
        f"  decision   {defense.decision}"
        + (f", threshold {defense.threshold:.4f}" if defense.threshold is not None else ""),
        f"  labels     {len(metadata.labels)}"
        + (
            f" ({', '.join(metadata.labels[:4])}, ...)"
            if len(metadata.labels) > 4
            else f" ({', '.join(metadata.labels)})"
            if metadata.labels
            else " (none: verdicts give numbers)"
        ),
    ]
    for frame, sigmas in effective.items():
        if isinstance(sigmas, str):
            lines.append(f"  {frame}: {sigmas}")
            continue
        values = ", ".join(f"{(vertical + horizontal) / 2:.2f}" for vertical, horizontal in sigmas)
        lines.append(f"  effective sigma on a {frame} frame: {values} px of the grid")
    for name, entries in (("provenance", metadata.provenance), ("parity", metadata.parity)):
        if entries:
            lines.append(f"  {name}")
            lines += [
                f"    {key}: {value}"
                for key, value in entries.items()
                if not isinstance(value, (list, dict))
            ]
    return "\n".join(lines)


COMMAND = Command(
    name="info",
    help="show what a guard file says about itself",
    description="Prints a guard's defence, labels, origin and parity report, and how strong its "
    "blur really is on the backbone's grid for a frame size.",
    examples="""
blurvote info guard.onnx
blurvote info guard.onnx --frame-size 1080x1920
blurvote info guard.onnx --json
""",
    configure=_configure,
    run=_run,
)
