"""`blurvote doctor`: what works on this machine, what does not, and the line that fixes it."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any, get_args

from blurvote.runtime.command import Command

__all__ = ["COMMAND", "examine"]

UNWELL = 1


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(args: argparse.Namespace) -> int:
    report = examine()
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print("\n".join(_lines(report)))
    return 0 if report["healthy"] else UNWELL


def examine() -> dict[str, Any]:
    """Everything the command prints, as plain values; `healthy` is the verdict."""
    from blurvote.runtime import _kernels
    from blurvote.runtime.machine import cpu_name, is_jetson, usable_cores

    guards = _shipped_guards()
    return {
        "versions": _versions(),
        "machine": {
            "system": platform.platform(),
            "architecture": platform.machine(),
            "jetson": is_jetson(),
            "cpu": cpu_name(),
            "usable_cores": usable_cores(),
            "kernel_instruction_sets": _kernels.available_isas(),
        },
        "jetson": _jetson(),
        "providers": _providers(),
        "pipelines": _pipelines(),
        "shipped_guards": guards,
        "healthy": bool(guards) and all(guard["runs"] for guard in guards.values()),
    }


def _versions() -> dict[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    versions: dict[str, str | None] = {"python": sys.version.split()[0]}
    for package in (
        "blurvote",
        "numpy",
        "opencv-python",
        "onnxruntime",
        "onnxruntime-gpu",
        "onnx",
        "torch",
        "torchvision",
        "av",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def _jetson() -> dict[str, Any] | None:
    """What this Jetson is, has and lacks; None on other machines."""
    from dataclasses import asdict

    from blurvote.runtime.jetson import read_jetson, wheel_advice
    from blurvote.runtime.jetson_health import examine_jetson

    jetson = read_jetson()
    if jetson is None:
        return None
    known = {**asdict(jetson), "jetpack": jetson.jetpack}
    return {**known, "checks": examine_jetson(), "onnxruntime": wheel_advice(jetson)}


def _providers() -> dict[str, dict[str, Any]]:
    """Per provider whether a guard really runs on it, and the reason and fix where not."""
    import numpy as np

    from blurvote.runtime.demo import guard_path
    from blurvote.runtime.engines.ort import import_onnxruntime
    from blurvote.runtime.engines.protocol import ON_CPU, Provider
    from blurvote.runtime.errors import BlurvoteError
    from blurvote.runtime.guard import Guard
    from blurvote.runtime.machine import is_jetson

    frame = np.zeros((240, 320, 3), np.uint8)
    try:
        available = import_onnxruntime().get_available_providers()
    except BlurvoteError:
        available = []  # each provider of it will say so
    report: dict[str, dict[str, Any]] = {}
    names: tuple[Provider, ...] = get_args(Provider)
    for name in names[1:]:  # the first is "auto"
        try:
            if name == "tensorrt" and "TensorrtExecutionProvider" in available:
                # Building its engine would take minutes, so only its presence is reported.
                report[name] = {
                    "works": None,
                    "why": "in this wheel; not started (engine builds take minutes)",
                }
                continue
            # Run, not only loaded: a wheel without kernels for this GPU shows it only then.
            with Guard(guard_path("views"), name, plan="batched", threads=1) as guard:
                guard.classify(frame)
            report[name] = {"works": True, "why": None}
        except BlurvoteError as error:
            # A Jetson's driver leaves no such file before JetPack 7.
            driver = is_jetson() or Path("/proc/driver/nvidia/version").exists()
            missing = "" if name in ON_CPU or driver else " (and no NVIDIA driver is loaded)"
            report[name] = {"works": False, "why": f"{error}{missing}"}
    return report


def _pipelines() -> dict[str, dict[str, Any]]:
    """What camera pipelines can do here beyond files, and what would bring the rest."""
    from importlib.util import find_spec

    from blurvote.runtime.errors import SourceError
    from blurvote.runtime.gst import load_gstreamer

    damage = "OpenCV decodes, and notices neither damaged pictures nor a changed size"
    report: dict[str, dict[str, Any]] = {}
    for name, modules, extra, without in (
        ("streams by PyAV", ("av",), "stream", damage),
        ("mqtt://", ("paho",), "mqtt", "not there"),
        ("live page", ("starlette", "uvicorn", "prometheus_client"), "serve", "not there"),
        ("--config", ("tomllib",) if sys.version_info >= (3, 11) else ("tomli",), "service", ""),
    ):
        works = all(find_spec(module) for module in modules)
        why = None if works else f"{without}; pip install 'blurvote[{extra}]'"
        report[name] = {"works": works, "why": why}
    try:
        gst, _ = load_gstreamer(SourceError)
        report["GStreamer"] = {"works": True, "why": gst.version_string()}
    except SourceError as error:
        report["GStreamer"] = {"works": False, "why": str(error).removeprefix("gst: ")}
    return report


def _shipped_guards() -> dict[str, dict[str, Any]]:
    """Runs both demo guards on one drawn frame."""
    from blurvote.runtime.demo import guard_path
    from blurvote.runtime.demo.scenes import draw_clip
    from blurvote.runtime.errors import BlurvoteError
    from blurvote.runtime.guard import Guard

    sample = next(iter(draw_clip(seed=0)))
    report: dict[str, dict[str, Any]] = {}
    for kind in ("views", "frames"):
        try:
            with Guard(guard_path(kind), "cpu", plan="batched") as guard:
                verdict = guard.classify(sample.pixels)
                right = verdict.label == sample.label
                report[kind] = {
                    "runs": True,
                    "verdict": verdict.name or verdict.reason,
                    "right": right,
                    "milliseconds": verdict.stage_ms.total,
                }
        except BlurvoteError as error:
            report[kind] = {"runs": False, "why": str(error)}
    return report


def _lines(report: dict[str, Any]) -> list[str]:
    machine = report["machine"]
    lines = ["versions"]
    lines += [
        f"  {name:<16} {number or 'not installed'}" for name, number in report["versions"].items()
    ]
    lines += [
        "machine",
        f"  {machine['system']}" + (" (Jetson)" if machine["jetson"] else ""),
        f"  {machine['cpu']}, {machine['usable_cores']} usable cores",
        f"  view kernel: {', '.join(machine['kernel_instruction_sets'])} (the first is used)",
        *_jetson_lines(report["jetson"]),
        "providers",
    ]
    lines += _marked(report["providers"])
    lines += ["camera pipelines", *_marked(report["pipelines"])]
    lines.append("shipped guards, on one drawn frame")
    for kind, state in report["shipped_guards"].items():
        if state["runs"]:
            lines.append(f"  ok {kind}: {state['verdict']}, {state['milliseconds']:.1f} ms")
        else:
            lines.append(f"  no {kind}: {state['why']}")
    lines.append("all well" if report["healthy"] else "blurvote cannot run here yet; see above")
    return lines


def _jetson_lines(jetson: dict[str, Any] | None) -> list[str]:
    if jetson is None:
        return []
    known = {name: jetson[name] or "unknown" for name in ("gpu", "l4t", "jetpack")}
    board, module = jetson["model"] or "unknown board", jetson["module"] or "unknown module"
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return [
        "jetson",
        f"  {board}: {module}, GPU {known['gpu']}",
        f"  L4T {known['l4t']}, JetPack {known['jetpack']}, Python {python}",
        *_marked(jetson["checks"]),
        f"  onnxruntime for its GPU: {jetson['onnxruntime']}",
    ]


def _marked(report: dict[str, dict[str, Any]]) -> list[str]:
    marks = {True: "ok", False: "no", None: "--"}
    return [
        f"  {marks[state['works']]} {name}" + (f": {state['why']}" if state["why"] else "")
        for name, state in report.items()
    ]


COMMAND = Command(
    name="doctor",
    help="check this machine: versions, providers, kernels, a trial run",
    description="Reports versions, the machine, which execution providers really work and why the "
    "others do not, and runs the shipped guards. Exit status: 0 all well, 1 not.",
    examples="""
blurvote doctor
blurvote doctor --json
""",
    configure=_configure,
    run=_run,
)
