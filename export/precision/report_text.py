"""The report of a conversion for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["cost_text"]


def cost_text(name: str, report: Mapping[str, Any]) -> str:
    """Lines on what `report`, a guard's `precision_report`, says.

    Args:
        name: of the precision.
    """
    lines = _settings(name, report)
    lines.append(
        "  label as fp32     "
        + ", ".join(
            f"{entry['view']} {entry['agreeing']} of {entry['views']}"
            for entry in report["agreement"]
        )
    )
    for entry in report["latency"]:
        count = "1 view" if entry["views"] == 1 else f"{entry['views']} views"
        lines.append(
            f"  {count + ' take':<17} {entry['low_ms']:.2f} ms, fp32 {entry['fp32_ms']:.2f} ms "
            f"({entry['fp32_ms'] / entry['low_ms']:.2f} times as fast; ONNX Runtime, "
            f"{report['threads']} threads)"
        )
    lines.append(
        f"  size              {report['bytes_low'] / 1e6:.2f} MB, fp32 "
        f"{report['bytes_fp32'] / 1e6:.2f} MB"
    )
    if report["noise"]:
        lines += ["", *_noise(name, report["noise"], report["pictures"])]
        if report["skipped"]:
            lines.append(f"  skipped {report['skipped']} pictures that cannot be read or served")
    else:
        lines.append("  noise             not measured: --calibrate IMAGES names pictures for it")
    return "\n".join(lines)


def _settings(name: str, report: Mapping[str, Any]) -> list[str]:
    if name == "fp16":
        kept = report["kept_in_fp32"]
        return [
            "fp16: float16 inside, float32 at the input and at the logits",
            f"  kept in fp32      {len(kept)} nodes whose values fp16 cannot hold"
            if kept
            else "  kept in fp32      nothing: no value came near fp16's limit",
            "  note              x86 has no fp16 kernels: there this guard is slower than fp32",
        ]
    choice = report["choice"]
    tried = ", ".join(f"{method} {value:.4f}" for method, value in choice["divergences"].items())
    steps = [
        f"{tensor} ({value:.4f})"
        for tensor, value in zip(choice["in_float"], choice["steps"], strict=True)
    ]
    lines = [
        f"int8: static Q/DQ, weights per channel, activations {report['activations']}",
        f"  divergence        {tried} nats from fp32; ranges by {choice['method']}",
        f"  kept in float     {', '.join(steps) or 'nothing'}",
    ]
    if 0 < choice["tried"] < choice["candidates"]:
        lines.append(
            f"  search            tried {choice['tried']} of {choice['candidates']} tensors in "
            "its time; --search-seconds gives it more"
        )
    if report["activations"] == "uint8":
        lines.append("  note              TensorRT takes --activations int8 only")
    else:
        lines.append("  note              ONNX Runtime's CPU kernels are fast on uint8 only")
    return lines


def _noise(name: str, rows: Sequence[Mapping[str, Any]], pictures: Mapping[str, int]) -> list[str]:
    known = rows[0]["known"]
    others = pictures["calibrate"] + pictures["choose"]
    did = "were checked for its range" if name == "fp16" else "calibrated and chose"
    lines = [
        f"on {rows[0]['pictures']} pictures"
        + (f", {known} of known class" if 0 < known < rows[0]["pictures"] else "")
        + (f" ({others} others {did})" if others else "")
        + f", in %: fp32, {name}, and the difference with its 95 % interval",
    ]
    heads = ["first view's accuracy", "accuracy of accepted", "rejected"][0 if known else 2 :]
    lines.append("  sigma  " + "".join(f"{head:<34}" for head in heads) + "contradict")
    for row in rows:
        cells = [
            _pair(row[key], row[f"{key}_gap"])
            for key in ("first_view", "accuracy", "rejected")[0 if known else 2 :]
        ]
        lines.append(
            f"  {row['sigma']:<5g}  "
            + "".join(f"{cell:<34}" for cell in cells)
            + f"{100 * row['contradicted']:.1f}"
        )
    return lines


def _pair(values: Sequence[float | None], gap: Mapping[str, float | None]) -> str:
    if None in values or None in gap.values():
        return "none accepted"
    full, low = (100 * (value or 0) for value in values)
    gaps = [100 * (gap[key] or 0) for key in ("value", "low", "high")]
    return f"{full:5.1f} {low:5.1f}  {gaps[0]:+.1f} ({gaps[1]:+.1f} to {gaps[2]:+.1f})"
