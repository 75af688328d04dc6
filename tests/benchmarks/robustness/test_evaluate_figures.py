"""Figures of `blurvote evaluate`: drawn where there is data, readable, and true to it."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.dataset import Sample, open_dataset
from blurvote.benchmarks.robustness.degradations import parse_degradations
from blurvote.benchmarks.robustness.deployed import Deployed
from blurvote.benchmarks.robustness.evaluate.examples import answer
from blurvote.benchmarks.robustness.evaluate.figures import draw, figures, representative
from blurvote.benchmarks.robustness.evaluate.measure import Plan, variants
from blurvote.benchmarks.robustness.evaluate.report import PUBLISHED
from blurvote.benchmarks.robustness.evaluate.score import Answers, Row, score
from blurvote.runtime import Guard, ProviderError, cli
from blurvote.runtime.vote import majority_vote
from tests.conftest import ONE_THREAD

CLASSES = ("red", "green", "blue")
LIST = "gaussian shot:1-5 impulse:1-5 speckle:1-5 jpeg:1-5 low-light:1-5 defocus:2 motion:1-5"


def row(name: str, images: int = 60) -> Row:
    """A row of made-up answers, worse the later its severity."""
    random = np.random.default_rng(sum(map(ord, name)))
    truth = random.integers(0, 3, images)

    def labels() -> NDArray[np.int64]:
        return np.where(random.random(images) < 0.6, truth, random.integers(0, 3, images))

    views = np.stack([labels(), labels(), labels()], axis=1)
    sure = random.random((images, 3))
    votes = majority_vote(np.eye(3, dtype=np.float32)[views])
    majority = votes.labels.astype(np.int64)
    mean = views[:, 1]
    answers = Answers(
        truth, views, sure, (0, 1, 2), majority, votes.counts.astype(np.int64),
        sure.mean(axis=1), mean, sure.mean(axis=1), majority,
    )  # fmt: skip
    return score(name, "own", answers, 0)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return [row(str(degradation)) for degradation in parse_degradations(LIST)]


@pytest.fixture
def samples(tmp_path: Path) -> tuple[Sample, ...]:
    random = np.random.default_rng(0)
    for label, name in enumerate(CLASSES):
        (tmp_path / "set" / name).mkdir(parents=True)
        for n in range(3):
            pixels = random.integers(0, 200, (40, 50 + n, 3)).astype(np.uint8)
            pixels[..., label] += 12
            cv2.imwrite(str(tmp_path / "set" / name / f"{n}.png"), pixels[..., ::-1])
    return open_dataset(tmp_path / "set", 3, CLASSES).samples


def plan_of(guard: Deployed, text: str) -> Plan:
    return Plan(guard.path, ONE_THREAD, parse_degradations(text), variants(guard.defense), seed=0)


def test_pictures_are_wide_whole_and_not_blank(
    make_guard: Callable[..., Path], samples: tuple[Sample, ...], rows: list[Row], tmp_path: Path
) -> None:
    guard = Deployed(make_guard(), ONE_THREAD)
    files = draw(tmp_path / "out", rows, guard, samples, plan_of(guard, LIST))
    assert [file.name for file in files] == [
        "noise.png",
        "faults.png",
        "risk-coverage.png",
        "examples.png",
    ]
    for file in files:
        image = cv2.imread(str(file))
        assert image is not None
        assert image.shape[1] == 1600
        assert 700 < image.shape[0] < 2200
        inked = np.asarray(image.min(axis=-1) < 200)
        assert 0.01 < inked.mean() < 0.8
        for edge in (inked[0], inked[-1], inked[:, 0], inked[:, -1]):
            assert not edge.any(), file


def test_lines_show_the_rows_and_the_published_figures(
    make_guard: Callable[..., Path], rows: list[Row]
) -> None:
    guard = Deployed(make_guard(), ONE_THREAD)
    found = figures(rows, guard, (), plan_of(guard, LIST))
    assert "examples" not in found  # no pictures
    accuracy, rejects = found["noise"].axes
    noise = [entry for entry in rows if entry.degradation.startswith("gaussian")]
    lines = {bar.get_label(): bar.lines[0] for bar in accuracy.containers}
    drawn = lines["majority, accepted frames"].get_ydata().astype(float)
    np.testing.assert_allclose(drawn, [100 * entry.accepted.value for entry in noise])
    drawn = lines["no defence, same coverage"].get_ydata().astype(float)
    np.testing.assert_allclose(drawn, [100 * entry.confidence.value for entry in noise])
    assert len(lines) == 7
    assert len({line.get_marker() for line in lines.values()}) == 7
    hollow = [
        line for line in rejects.lines if line.get_linestyle() == "None" and len(line.get_xdata())
    ]
    marks = [list(line.get_ydata()) for line in hollow if line.get_markerfacecolor() == "none"]
    assert [100 * values[4] for values in PUBLISHED.values()] in marks
    panels = [axis for axis in found["faults"].axes if axis.get_title(loc="left")]
    assert [axis.get_title(loc="left") for axis in panels] == [
        "shot", "impulse", "speckle", "jpeg", "low-light", "defocus", "motion",
    ]  # fmt: skip
    curves = found["risk-coverage"].axes[0]
    majority = next(line for line in curves.lines if line.get_label() == "majority")
    np.testing.assert_allclose(majority.get_ydata(), 100 * rows[0].curves["majority"].risk)


def test_no_text_of_the_charts_covers_another(
    make_guard: Callable[..., Path], rows: list[Row]
) -> None:
    guard = Deployed(make_guard(), ONE_THREAD)
    for name, figure in figures(rows, guard, (), plan_of(guard, LIST)).items():
        figure.canvas.draw()
        renderer = figure.canvas.get_renderer()
        texts = [figure._suptitle, *(t for legend in figure.legends for t in legend.get_texts())]
        for axis in figure.axes:
            if axis.axison:
                texts += [axis.xaxis.label, axis.yaxis.label, axis._left_title]
        shown = [text for text in texts if text.get_text() and text.get_visible()]
        boxes = [text.get_window_extent(renderer) for text in shown]
        for k, box in enumerate(boxes):
            assert box.x0 >= 0, (name, shown[k].get_text())
            assert box.x1 <= figure.bbox.x1 + 1, (name, shown[k].get_text())
            for j in range(k):
                apart = min(box.x1, boxes[j].x1) - max(box.x0, boxes[j].x0) <= 1
                apart |= min(box.y1, boxes[j].y1) - max(box.y0, boxes[j].y0) <= 1
                assert apart, (name, shown[j].get_text(), shown[k].get_text())


def test_panels_are_eight_at_most_and_show_every_fault(rows: list[Row]) -> None:
    names = [entry.degradation for entry in representative(rows)]
    assert names == [
        "gaussian:0", "shot:3", "impulse:3", "speckle:3", "jpeg:3", "low-light:3", "defocus:2",
        "motion:3",
    ]  # fmt: skip
    noise = [row(f"gaussian:{level / 20:g}", 20) for level in range(12)]
    few = [entry.degradation for entry in representative(noise)]
    assert len(few) == len(set(few)) == 8
    assert (few[0], few[-1]) == ("gaussian:0", "gaussian:0.55")
    assert representative([]) == []


def test_only_what_has_data_is_drawn(make_guard: Callable[..., Path]) -> None:
    guard = Deployed(make_guard(), ONE_THREAD)
    plan = plan_of(guard, "gaussian:0")
    assert set(figures([row("gaussian:0")], guard, (), plan)) == {"risk-coverage"}
    assert figures([], guard, (), plan) == {}
    assert set(figures([row("jpeg:2")], guard, (), plan)) == {"risk-coverage", "faults"}


def test_examples_say_what_the_guard_says(
    make_guard: Callable[..., Path], samples: tuple[Sample, ...]
) -> None:
    path = make_guard()
    guard = Deployed(path, ONE_THREAD)
    plan = plan_of(guard, "gaussian:0,0.3")
    with Guard(path, "cpu") as deployed:
        for sample in samples:
            for degradation in plan.degradations:
                example = answer(guard, sample, degradation, plan)
                verdict = deployed.classify(example.pixels)
                assert verdict.label == example.label
                assert all(
                    said in (None, known)
                    for said, known in zip(verdict.view_labels, example.views.values(), strict=True)
                )
    texts = [
        text.get_text()
        for axis in figures([row("gaussian:0"), row("gaussian:0.3")], guard, samples, plan)[
            "examples"
        ].axes
        for text in axis.texts
    ]
    assert len(texts) == 4 * 2 * 4  # pictures, degradations, three views and the vote
    assert all(text[0] in "✓✗○" for text in texts)


def test_results_are_written_before_matplotlib_is_missed(
    make_guard: Callable[..., Path],
    samples: tuple[Sample, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "matplotlib":
            raise ImportError("No module named 'matplotlib'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    assert len(samples) == 9
    arguments = ["evaluate", str(make_guard()), str(tmp_path / "set"), "--workers", "1"]
    assert cli.main([*arguments, "-o", str(tmp_path / "out")]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err
    assert (tmp_path / "out" / "guard" / "evaluate.json").is_file()
    assert (tmp_path / "out" / "guard" / "evaluate.md").is_file()
    guard = Deployed(make_guard(), ONE_THREAD)
    plan = plan_of(guard, "gaussian:0")
    with pytest.raises(ProviderError, match="pip install matplotlib"):
        figures([row("gaussian:0")], guard, (), plan)
