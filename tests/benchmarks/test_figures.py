"""Figures: drawn where there is data, readable, and true to it."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.latency.figures import draw, figures
from blurvote.runtime import ProviderError, SinkError
from tests.benchmarks.realistic import VERDICT, empty, realistic, row

PICTURES = ("stages", "distribution", "cameras", "sizes", "peers")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    drawn = draw(realistic(), folder)
    assert drawn == {name: f"{name}.png" for name in PICTURES}
    assert len(list(folder.iterdir())) == len(PICTURES)  # no drafts left
    return folder


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_wide_and_not_blank(pictures: Path, name: str) -> None:
    image = cv2.imread(str(pictures / f"{name}.png"))
    assert image is not None
    assert image.shape[1] == 1600
    assert 500 < image.shape[0] < 1400
    inked = np.asarray(image.min(axis=-1) < 200)
    assert 0.01 < inked.mean() < 0.6
    # Nothing is cut off: the outermost pixels are paper, on each side.
    for edge in (inked[0], inked[-1], inked[:, 0], inked[:, -1]):
        assert not edge.any()


def test_no_text_covers_another() -> None:
    """Of all the texts that a picture shows, no two overlap, and each is on the picture."""
    for name, figure in figures(realistic()).items():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        texts = [figure._suptitle, *(t for legend in figure.legends for t in legend.get_texts())]
        for axis in figure.axes:
            texts += [*axis.texts, axis.xaxis.label, axis.yaxis.label, axis.title, axis._left_title]
            for k, (low, high) in enumerate((axis.get_xlim(), sorted(axis.get_ylim()))):
                labels = (axis.get_xticklabels(), axis.get_yticklabels())[k]
                texts += [label for label in labels if low <= label.get_position()[k] <= high]
        shown = [text for text in texts if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent(renderer) for text in shown]
        for k, box in enumerate(boxes):
            assert box.x0 >= 0, (name, shown[k].get_text())
            assert box.x1 <= figure.bbox.x1 + 1, (name, shown[k].get_text())
            for j in range(k):
                pair = (name, shown[j].get_text(), shown[k].get_text())
                apart = min(box.x1, boxes[j].x1) - max(box.x0, boxes[j].x0) <= 1
                apart |= min(box.y1, boxes[j].y1) - max(box.y0, boxes[j].y0) <= 1
                assert apart, pair


def test_hue_is_never_the_only_cue() -> None:
    """Lines differ in their markers, bars of different colours in their hatches."""
    for name, figure in figures(realistic()).items():
        for axis in figure.axes:
            named = [line for line in axis.lines if not line.get_label().startswith("_")]
            assert len({line.get_marker() for line in named}) == len(named), name
            looks = {(bar.get_facecolor(), bar.get_hatch() or "") for bar in axis.patches}
            assert len({hatch for _, hatch in looks}) == len(looks), name


def test_bars_begin_at_zero_and_are_as_long_as_their_times() -> None:
    bars = figures(realistic())["peers"].axes[0]
    assert bars.get_xlim()[0] == 0
    widths = sorted(bar.get_width() for bar in bars.patches)
    assert widths == pytest.approx(sorted(median for median, _ in VERDICT.values()))
    everything, rest = figures(realistic())["stages"].axes
    assert max(bar.get_x() + bar.get_width() for bar in everything.patches) == pytest.approx(117)
    assert max(bar.get_x() + bar.get_width() for bar in rest.patches) < 2


def test_percentiles_that_calls_do_not_support_are_not_drawn() -> None:
    results = empty()
    results.rows.append(row("verdict", "8x8", "batched", 2.0, calls=20))
    line = figures(results)["distribution"].axes[0].lines[0]
    assert max(line.get_xdata()) == pytest.approx(-np.log10(0.05))  # p95


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    assert draw(empty(), tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    results = empty()
    results.rows.append(row("sizes", "batched", "64x48", 2.0))
    (tmp_path / "sizes.png").mkdir()
    with pytest.raises(SinkError, match=r"sizes\.png cannot be written: Is a directory"):
        draw(results, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["sizes.png"]


def test_without_matplotlib(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ProviderError, match="pip install matplotlib"):
        draw(realistic(), tmp_path)
