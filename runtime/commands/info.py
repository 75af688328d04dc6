"""`blurvote info`: what a guard file says about itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from blurvote.runtime.command import Command, positive_int
from blurvote.runtime.engines.arguments import add_engine_arguments, engine_settings

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
        help="show the effective blur, and from which noise on it is denoised, for this frame size",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    here = parser.add_argument_group(
        "on this machine", "With any of these the guard is loaded, and its plans are timed."
    )
    add_engine_arguments(here)
    here.add_argument("--threads", type=positive_int, help="default: the usable physical cores")
    parser.set_defaults(provider=None)


def _run(args: argparse.Namespace) -> int:
    from blurvote.runtime.engines.onnx_metadata import read_metadata
    from blurvote.runtime.errors import DefenseError
    from blurvote.runtime.metadata import GuardMetadata
    from blurvote.runtime.views import ViewBuilder

    here: dict[str, Any] | None = None
    if args.provider or args.threads or args.options or args.compute != "fp32":
        metadata, here = _loaded(args)
    else:
        metadata = GuardMetadata.from_map(read_metadata(args.guard), args.guard)
    builder = ViewBuilder(metadata.defense)
    sizes = [args.frame_size] if args.frame_size else list(USUAL_SIZES)
    if metadata.frame_size and not args.frame_size:
        sizes = [metadata.frame_size]
    effective: dict[str, Any] = {}
    switch: dict[str, tuple[float, float]] = {}
    for height, width in sizes:
        try:
            effective[f"{height}x{width}"] = builder.effective_sigma(height, width)
            if metadata.defense.adaptive:
                gain = builder.noise_gain(height, width)
                low, high = metadata.defense.noise_switch
                switch[f"{height}x{width}"] = low / gain, high / gain
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
                    "denoiser": _denoiser(metadata),
                    "noise_switch_at_frame": switch,
                    "provenance": dict(metadata.provenance),
                    "parity": dict(metadata.parity),
                    "precision": {
                        "name": metadata.precision,
                        "report": dict(metadata.precision_report),
                    },
                    "here": here,
                },
                indent=2,
            )
        )
        return 0
    print(_text(args.guard, metadata, effective, switch))
    if here:
        print(_here(here))
    return 0


def _loaded(args: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """The guard's metadata, and how it runs on the provider that was asked for."""
    from blurvote.runtime.guard import Guard

    args.provider = args.provider or "auto"
    with Guard(args.guard, **asdict(engine_settings(args, args.threads))) as guard:
        return guard.metadata, {
            "provider": guard.provider,
            "compute": guard.compute,
            "threads": guard.threads,
            "plan": guard.plan,
            "auto_plan": guard.auto_plan.facts if guard.auto_plan else None,
        }


def _here(here: dict[str, Any]) -> str:
    line = (
        f"  here       {here['provider']}, {here['compute']}, {here['threads']} threads, "
        f"plan {here['plan']}"
    )
    if here["auto_plan"] is None:
        return f"{line} (the only one)"
    facts = here["auto_plan"]
    return (
        f"{line}\n             all views at once {facts['all_ms']:.2f} ms; cascade "
        f"{facts['first_ms']:.2f} ms, and {facts['one_ms']:.2f} ms for each further view: "
        f"{facts['cascade_ms']:.2f} ms where {facts['rate']:.0%} of frames need one"
    )


def _denoiser(metadata: Any) -> dict[str, str] | None:
    entry = metadata.denoiser
    return None if entry is None else {"name": entry.name, "sha256": entry.sha256}


def _text(
    path: str, metadata: Any, effective: dict[str, Any], switch: dict[str, tuple[float, float]]
) -> str:
    defense = metadata.defense
    remembers = metadata.kind == "views"  # a graph keeps nothing from one frame to the next
    takes = "normalised views" if remembers else "uint8 frames"
    size = "x".join(map(str, metadata.frame_size)) if metadata.frame_size else "any size"
    lines = [
        f"{path}: {metadata.kind} guard (takes {takes}, frames of {size})",
        f"  views      {', '.join(defense.view_name(view) for view in defense.views)}",
        *_noisy(metadata, remembers),
        f"  blur       {defense.kernel_size} taps, sigma {defense.sigma:g} px at the "
        f"{defense.blur_at}, border {defense.border}",
        f"  grid       {defense.fit} to {defense.crop[0]}x{defense.crop[1]}"
        + (f" from a short side of {defense.resize}" if defense.fit == "crop" else "")
        + f", {defense.interpolation}, {'antialiased' if defense.antialias else 'no antialias'}",
        f"  normalise  mean {list(defense.mean)}, std {list(defense.std)}",
        f"  decision   {defense.decision}"
        + (f", threshold {defense.threshold:.4f}" if defense.threshold is not None else "")
        + (
            f", of noisy frames {defense.noisy_threshold:.4f}"
            if defense.noisy_threshold is not None
            else ""
        ),
        f"  labels     {len(metadata.labels)}"
        + (
            f" ({', '.join(metadata.labels[:4])}, ...)"
            if len(metadata.labels) > 4
            else f" ({', '.join(metadata.labels)})"
            if metadata.labels
            else " (none: verdicts give numbers)"
        ),
        f"  precision  {metadata.precision}{_precision(metadata.precision_report)}",
    ]
    for frame, sigmas in effective.items():
        if isinstance(sigmas, str):
            lines.append(f"  {frame}: {sigmas}")
            continue
        values = ", ".join(f"{(vertical + horizontal) / 2:.2f}" for vertical, horizontal in sigmas)
        lines.append(f"  effective sigma on a {frame} frame: {values} px of the grid")
    for frame, (low, high) in switch.items():
        lines.append(
            f"  a {frame} frame is noisy from {high * 255:.1f} of 255 grey levels"
            + (f", in a stream until below {low * 255:.1f}" if remembers else "")
        )
    for name, entries in (("provenance", metadata.provenance), ("parity", metadata.parity)):
        if entries:
            fp32 = name == "parity" and metadata.precision != "fp32"
            lines.append(f"  {name}{' (of the fp32 guard that it was made of)' if fp32 else ''}")
            lines += [
                f"    {key}: {value}"
                for key, value in entries.items()
                if not isinstance(value, (list, dict))
            ]
    return "\n".join(lines)


def _noisy(metadata: Any, remembers: bool) -> list[str]:
    """What is done about noisy frames; nothing where that is nothing."""
    defense = metadata.defense
    if not defense.adaptive:
        return []
    names = ", ".join(defense.view_name(view, noisy=True) for view in defense.views)
    low, high = defense.noise_switch
    lines = [
        f"  if noisy   {names}",
        f"  noisy is   from {high * 255:.2f} of 255 grey levels on the grid"
        + (f", in a stream until below {low * 255:.2f}" if remembers else ""),
    ]
    if metadata.denoiser:
        lines.append(
            f"  denoiser   {metadata.denoiser.name} (sha256 {metadata.denoiser.sha256[:12]})"
        )
    return lines


def _precision(report: Mapping[str, Any]) -> str:
    """What a lower precision's report says in a few words; nothing for fp32."""
    parts = []
    if "activations" in report:
        parts.append(f"activations {report['activations']}")
    if report.get("agreement"):
        agreeing = ", ".join(
            f"{entry['view']} {entry['agreeing']} of {entry['views']}"
            for entry in report["agreement"]
        )
        parts.append(f"labels as fp32: {agreeing}")
    return f" ({'; '.join(parts)})" if parts else ""


COMMAND = Command(
    name="info",
    help="show what a guard file says about itself",
    description="Prints a guard's defence, labels, origin and parity report, how strong its blur "
    "really is on the backbone's grid for a frame size, and how noisy such a frame must be to be "
    "denoised.",
    examples="""
blurvote info guard.onnx
blurvote info guard.onnx --frame-size 1080x1920
blurvote info guard.onnx --provider openvino
blurvote info guard.onnx --json
""",
    configure=_configure,
    run=_run,
)
