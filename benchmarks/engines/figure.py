"""What every candidate costs against what it gets right, as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from blurvote.benchmarks.drawing import (
    COLOURS,
    MARKERS,
    house_style,
    legend_below,
    new_figure,
    save_figure,
)
from blurvote.benchmarks.engines.accuracy import Accuracy
from blurvote.benchmarks.engines.candidates import Candidate
from blurvote.benchmarks.engines.latency import Latency
from blurvote.benchmarks.engines.report import mean_verdict_ms

__all__ = ["draw"]

_PANELS = 4


def draw(
    file: Path,
    candidates: Sequence[Candidate],
    latency: Latency,
    accuracies: Mapping[str, Sequence[Accuracy]],
) -> None:
    """One panel per degradation: accuracy on accepted frames against the mean verdict's time.

    A colour is a file, a marker an engine; bars are 95 % intervals.

    Raises:
        ProviderError: matplotlib is not installed.
        SinkError: the file cannot be written.
    """
    files = list(dict.fromkeys(candidate.model.path.name for candidate in candidates))
    engines = list(dict.fromkeys(candidate.engine for candidate in candidates))
    panels = min(_PANELS, len(accuracies[candidates[0].name]))
    columns = min(2, panels)
    with house_style():
        height, width = latency.frame
        figure, axes = new_figure(
            f"Verdict from a {width}x{height} frame: time against accuracy",
            3.4 * -(-panels // columns) + 1.6,
            columns,
            -(-panels // columns),
            squeeze=False,
        )
        for n, axis in enumerate(axes.flat):
            if n >= panels:
                axis.set_visible(False)
                continue
            for candidate in candidates:
                judged = accuracies[candidate.name][n]
                accepted = judged.row.accepted
                axis.errorbar(
                    mean_verdict_ms(latency.times[candidate.name], judged.differing),
                    100 * accepted.value,
                    [
                        [100 * (accepted.value - accepted.low)],
                        [100 * (accepted.high - accepted.value)],
                    ],
                    color=COLOURS[files.index(candidate.model.path.name) % 8],
                    marker=MARKERS[engines.index(candidate.engine) % 8],
                    linestyle="none",
                    elinewidth=1,
                    markersize=9,
                    label=candidate.name,
                )
            axis.set_title(accuracies[candidates[0].name][n].row.degradation)
            axis.set_xlim(left=0)
            axis.set_xlabel("mean verdict of the cheaper plan, ms")
            axis.set_ylabel("right of accepted, %")
        legend_below(figure, axes.flat[0], 2)
        save_figure(figure, file)
