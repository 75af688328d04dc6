"""The figure of a robustness card: right, rejected and wrong, under noise and under attack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blurvote.benchmarks.drawing import COLOURS, HATCHES, house_style, new_figure, save_figure
from blurvote.benchmarks.robustness.card_summary import attack_rows
from blurvote.benchmarks.robustness.degradations import NAMES

__all__ = ["draw_card"]

Panel = tuple[str, list[str], list[tuple[float, float]]]  # title, names, (right, rejected)
_PARTS = (("right", 2), ("rejected", 1), ("wrong and accepted", 3))


def draw_card(
    file: Path, evaluated: Mapping[str, Any] | None, attacked: Mapping[str, Any] | None
) -> None:
    """One panel for each of the documents that is there.

    Raises:
        ProviderError: matplotlib is missing.
        SinkError: the file cannot be written.
    """
    panels = [_noise(evaluated)] if evaluated else []
    panels += [_attacks(attacked)] if attacked else []
    heights = [len(names) for _, names, _ in panels]
    with house_style():
        figure, axes = new_figure(
            "What the guard makes of its frames",
            1.3 + 0.7 * len(panels) + 0.36 * sum(heights),
            1,
            len(panels),
            squeeze=False,
            sharex=True,
            height_ratios=heights,
        )
        for axis, panel in zip(axes[:, 0], panels, strict=True):
            _bars(axis, panel)
        axes[-1][0].set_xlabel("per cent of pictures")
        handles, labels = axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=3)
    save_figure(figure, file)


def _bars(axis: Any, panel: Panel) -> None:
    title, names, values = panel
    left = [0.0] * len(names)
    for k, (label, style) in enumerate(_PARTS):
        widths = [100 * (right, rejected, 1 - right - rejected)[k] for right, rejected in values]
        axis.barh(
            range(len(names)),
            widths,
            left=left,
            label=label,
            color=COLOURS[style],
            hatch=HATCHES[style],
            edgecolor="white",
        )
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.set_xlim(0, 100)
    axis.set_title(title)
    axis.grid(False, axis="y")


def _noise(document: Mapping[str, Any]) -> Panel:
    names, values = [], []
    for row in document["rows"]:
        name, _, level = row["degradation"].partition(":")
        if row["variant"] != "own" or name not in NAMES:
            continue
        if name != "gaussian" and int(float(level)) != 3:
            continue
        if name == "gaussian":
            names.append(f"noise, sigma {level}" if float(level) else "clean")
        else:
            names.append(f"{name}, severity 3")
        rejected = row["own_rejected"]["value"]
        right = (1 - rejected) * (row["own_accepted"]["value"] or 0.0)  # None: nothing accepted
        values.append((right, rejected))
    return "Noise and faults of the sensor", names, values


def _attacks(document: Mapping[str, Any]) -> Panel:
    rows = attack_rows(document)
    values = [(row["right"]["value"], row["rejected"]["value"]) for _, row in rows]
    title = "The strongest attack of each kind, radius and noise"
    return title, [name for name, _ in rows], values
