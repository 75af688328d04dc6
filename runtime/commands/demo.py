"""`blurvote demo`: the defence at work on a drawn clip, without network, camera or torch."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blurvote.runtime.command import Command, positive_int

__all__ = ["COMMAND"]

NOTE = (
    "The clip is drawn by blurvote, road signs and all; it shows how the defence behaves, not how "
    "well it does on your camera."
)


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        default="demo-output",
        metavar="FOLDER",
        help="where video, figure and figures go (default: demo-output)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another clip (default: 0)")
    parser.add_argument(
        "--kind",
        default="views",
        choices=("views", "frames"),
        help="which of the two shipped guards classifies (default: views)",
    )
    parser.add_argument(
        "--frames-per-sign",
        type=positive_int,
        default=24,
        metavar="N",
        help="length of the clip (default: 24)",
    )
    parser.add_argument("--no-video", action="store_true", help="only the table and the figure")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(args: argparse.Namespace) -> int:
    import cv2

    from blurvote.runtime.demo import guard_path
    from blurvote.runtime.demo.experiment import SIGMAS, latencies, run_level
    from blurvote.runtime.demo.figure import draw_figure
    from blurvote.runtime.demo.scenes import CLASSES, draw_clip
    from blurvote.runtime.demo.video import write_video
    from blurvote.runtime.errors import SinkError
    from blurvote.runtime.guard import Guard

    started = time.monotonic()
    folder = Path(args.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SinkError(f"{folder} cannot be made a folder: {error.strerror}") from error

    _step("drawing the clip")
    clip = list(draw_clip(args.seed, frames_per_sign=args.frames_per_sign))
    guard = Guard(guard_path(args.kind), "cpu", plan="batched")
    levels = []
    for sigma in SIGMAS:
        _step(f"classifying {len(clip)} frames, noise sigma {sigma:g}")
        levels.append(run_level(guard, clip, sigma))
    _step("timing")
    times = latencies(clip)
    results: dict[str, Any] = {
        "note": NOTE,
        "frames": len(clip),
        "classes": len(CLASSES),
        "seed": args.seed,
        "guard": str(args.kind),
        "table": [asdict(level.row()) for level in levels],
        "latency_ms": times,
    }
    files = [folder / "demo.json", folder / "demo.png"]
    _step("drawing the figure")
    _, png = cv2.imencode(".png", draw_figure(clip, levels))
    try:
        files[0].write_text(json.dumps(results, indent=2) + "\n")
        files[1].write_bytes(png.tobytes())
    except OSError as error:
        raise SinkError(f"{error.filename} cannot be written: {error.strerror}") from error
    if not args.no_video:
        _step("writing the video")
        files.append(folder / "demo.mp4")
        write_video(str(files[2]), clip, levels, guard.defense)
    _step("")
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        print(_text(results))
        print(f"\nwrote {', '.join(map(str, files))} in {time.monotonic() - started:.0f} s")
    return 0


def _step(what: str) -> None:
    """A progress line on a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)


def _text(results: dict[str, Any]) -> str:
    lines = [
        f"{results['frames']} frames, {results['classes']} kinds of road sign. {NOTE}",
        "",
        "                 each view alone         majority vote of the three",
        "  sigma      clean  single  double    on accepted  over all  rejected",
    ]
    for row in results["table"]:
        lines.append(
            f"  {row['sigma']:<7g} {row['clean']:8.3f}{row['single']:8.3f}{row['double']:8.3f}"
            f"{row['majority_accepted']:15.3f}{row['majority_all']:10.3f}{row['rejected']:10.3f}"
        )
    times = results["latency_ms"]
    one = times["undefended"]
    lines += ["", "  frame to answer, median:"]
    lines += [
        f"    {name:<18} {ms:6.2f} ms  ({ms / one:.2f} times undefended)"
        for name, ms in times.items()
    ]
    return "\n".join(lines)


COMMAND = Command(
    name="demo",
    help="see the defence work on a drawn road-sign clip",
    description="Draws a camera clip of road signs, switches noise on, classifies it with and "
    "without the defence, and writes a video, a figure and the table. Needs no network, camera or "
    "torch.",
    examples="""
blurvote demo
blurvote demo --out /tmp/demo --seed 7
blurvote demo --no-video --json
""",
    configure=_configure,
    run=_run,
)
