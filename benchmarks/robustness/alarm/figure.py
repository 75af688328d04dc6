"""The results of `blurvote alarm` as one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blurvote.benchmarks.drawing import COLOURS, HATCHES, house_style, new_figure, save_figure

__all__ = ["draw"]


def draw(file: Path, document: Mapping[str, Any]) -> None:
    """Writes the picture: autocorrelation, false alarms, delays.

    Raises:
        ProviderError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    rows = document["detection"]
    with house_style():
        figure, axes = new_figure(
            f"The alarm, with {document['guard']['file']} on {document['video']['file']}",
            9.0 if rows else 4.5,
            columns=2,
            rows=2 if rows else 1,
            squeeze=False,
        )
        _autocorrelation(axes[0, 0], document)
        _false_alarms(axes[0, 1], document)
        if rows:
            grid = axes[1, 0].get_gridspec()
            for axis in axes[1]:
                axis.remove()
            _delays(figure.add_subplot(grid[1, :]), document)
        save_figure(figure, file)


def _autocorrelation(axis: Any, document: Mapping[str, Any]) -> None:
    fps = document["video"]["fps"]
    for k, (kind, word) in enumerate(
        (("disagreement", "views differ"), ("rejection", "frame rejected"))
    ):
        values = document["indicators"]["clean"][kind]["autocorrelation"][1:]
        seconds = np.arange(1, len(values) + 1) / fps
        axis.plot(seconds, values, "-" if k == 0 else "--", color=COLOURS[k], label=word)
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set(title="Autocorrelation, clean video", xlabel="lag, s")
    axis.legend()


def _false_alarms(axis: Any, document: Mapping[str, Any]) -> None:
    found = document["false_alarms"]["rates"]
    stated = np.array([rate["stated"] for rate in found])
    measured = np.array([rate["measured"] for rate in found])
    high = np.array([rate["high"] for rate in found])
    low = np.array([rate["low"] for rate in found])
    least = min(high[high > 0].min(), stated.min()) / 3
    axis.plot(stated, stated, color="black", linewidth=1, label="as stated")
    shown = measured > 0
    axis.vlines(stated, np.maximum(low, least), high, color=COLOURS[0])
    axis.plot(stated[shown], measured[shown], "o", color=COLOURS[0], label="measured, 95 %")
    plain = [rate["measured"] for rate in document["uncorrected"]["rates"]]
    axis.plot(stated, plain, "s", color=COLOURS[1], label="without corrections")
    axis.plot(stated[~shown], high[~shown], "v", color=COLOURS[0], label="none seen, upper limit")
    axis.set(
        title="False alarms per camera-day", xlabel="stated", xscale="log", yscale="log",
        ylim=(least, 1000 * max(stated.max(), high.max(), max(plain))),
    )  # fmt: skip
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="upper left")


def _delays(axis: Any, document: Mapping[str, Any]) -> None:
    rows = document["detection"]
    names = list(dict.fromkeys(row["disturbance"] for row in rows))
    fractions = list(dict.fromkeys(row["fraction"] for row in rows))
    never = rows[0]["within_s"]
    width = 0.8 / len(fractions)
    for k, fraction in enumerate(fractions):
        some = {row["disturbance"]: row for row in rows if row["fraction"] == fraction}
        places = np.arange(len(names)) + (k - (len(fractions) - 1) / 2) * width
        # What is noticed less than every second time has no median: a label alone.
        p50 = [some[name]["p50_s"] if some[name]["p50_s"] <= never else 0 for name in names]
        p90 = [min(some[name]["p90_s"], never) for name in names]
        axis.bar(
            places, p50, width, color=COLOURS[k % 8], hatch=HATCHES[k % 6], edgecolor="white",
            label=f"{100 * fraction:g} % of frames",
        )  # fmt: skip
        for place, low, high, name in zip(places, p50, p90, names, strict=True):
            if low:
                axis.vlines(place, low, high, color="black", linewidth=1.5)
            label = f"{math.floor(100 * some[name]['alarmed']):d} %"
            axis.annotate(label, (place, high if low else 1), (0, 3), textcoords="offset points",
                          ha="center", fontsize=10)  # fmt: skip
    axis.axhline(never, color="black", linewidth=0.8, linestyle=":")
    axis.set_xticks(np.arange(len(names)), names)
    axis.set(
        title=f"Seconds to the alarm: p50 (bar), p90 (line), share in {never / 60:.0f} minutes",
        yscale="log", ylabel="s", ylim=(1, never * 8),
    )  # fmt: skip
    axis.yaxis.set_major_formatter("{x:g}")
    axis.grid(axis="x", visible=False)
    axis.legend(ncols=len(fractions), loc="upper left")
