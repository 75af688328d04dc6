"""The report of an export, for people and for programs."""

from __future__ import annotations

import json
from typing import Any

from blurvote.export.pipeline import ExportReport
from blurvote.export.precision.report_text import cost_text
from blurvote.runtime.metadata import GuardMetadata

__all__ = ["export_json", "export_text"]


def export_json(report: ExportReport) -> dict[str, Any]:
    """For programs."""
    metadata = report.metadata
    return {
        "path": str(report.path),
        "size_bytes": report.size_bytes,
        "seconds": report.seconds,
        "kind": metadata.kind,
        "frame_size": metadata.frame_size,
        "opset": report.opset,
        "classes": report.classes,
        "named_classes": len(metadata.labels),
        "defense": json.loads(metadata.defense.to_json()),
        "provenance": dict(metadata.provenance),
        "adaptations": list(report.adaptations),
        "parity": dict(metadata.parity),
        "precision": {"name": metadata.precision, "report": dict(metadata.precision_report)},
        "denoiser": None
        if metadata.denoiser is None
        else {"name": metadata.denoiser.name, "sha256": metadata.denoiser.sha256},
    }


def export_text(report: ExportReport) -> str:
    """For people."""
    metadata, defense = report.metadata, report.metadata.defense
    names = [defense.view_name(view) for view in defense.views]
    height, width = defense.crop
    fit = (
        f"short side to {defense.resize}, centre {width}x{height}"
        if defense.fit == "crop"
        else f"stretched to {width}x{height}"
    )
    size = metadata.frame_size
    frames = f" of {size[1]}x{size[0]} px" if size else " of any size"
    lines = []
    if report.parity.frames:
        lines += [
            f"parity {'of the fp32 guard ' if report.cost else ''}on drawn frames (largest "
            "differences; views in normalised units, logits as a part of their range)",
            report.parity.table(),
            "",
        ]
    if report.cost:
        lines += [cost_text(metadata.precision, metadata.precision_report)]
        if defense.adaptive:
            lines.append("  all of this         of the quiet views; the denoiser stays in fp32")
        lines.append("")
    lines += [
        f"wrote {report.path}: {report.size_bytes / 1e6:.2f} MB, opset {report.opset}, "
        f"{report.seconds:.1f} s",
        f"  takes    {metadata.kind}" + (frames if metadata.kind == "frames" else ""),
        f"  views    {', '.join(names)}: {defense.kernel_size} taps, sigma {defense.sigma:g}, "
        f"blurred at the {defense.blur_at}",
        *_noisy_lines(metadata),
        f"  fit      {fit}, {'antialiased ' if defense.antialias else 'plain '}"
        f"{defense.interpolation}",
        f"  decides  {defense.decision}",
        f"  classes  {report.classes}" + ("" if metadata.labels else ", without names"),
    ]
    lines += [f"  adapted  {step}" for step in report.adaptations]
    limits = [defense.threshold, defense.noisy_threshold if defense.adaptive else 1.0]
    if defense.decision == "mean" and None in limits:
        lines.append(
            f"next: blurvote calibrate {report.path} IMAGES --coverage 0.9 fits its threshold"
        )
    return "\n".join(lines)


def _noisy_lines(metadata: GuardMetadata) -> list[str]:
    defense, denoiser = metadata.defense, metadata.denoiser
    if not defense.adaptive or denoiser is None:
        return []
    names = ", ".join(defense.view_name(view, noisy=True) for view in defense.views)
    low, high = defense.noise_switch
    switch = f"from a noise level of {high:g} on"
    if metadata.kind == "views":
        switch += f", in streams down to {low:g}"
    return [
        f"  noisy    {names}: {switch}",
        f"  denoiser {denoiser.name} (sha256 {denoiser.sha256[:12]})",
    ]
