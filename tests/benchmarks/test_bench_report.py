"""The report and the pictures: all that was measured is there, with units, and nothing invented."""

from __future__ import annotations

import builtins
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from blurvote.benchmarks.latency.figures import draw, figures
from blurvote.benchmarks.latency.formatting import number
from blurvote.benchmarks.latency.report_md import markdown, terminal
from blurvote.benchmarks.latency.report_tables import STAGES
from blurvote.benchmarks.results import Results, Row
from blurvote.benchmarks.timing import Ratio, summarise
from blurvote.runtime import ProviderError, SinkError

VERDICT = {  # median in ms, and the family of a peer
    "undefended": (39.4, None),
    "three views, one after the other": (117.0, None),
    "batched": (114.0, None),
    "cascade, views agree": (77.4, None),
    "cascade, views differ": (116.0, None),
    "auto": (78.9, None),
    "OpenCV INTER_AREA + ONNX Runtime, batch of 3": (119.0, "opencv-ort"),
    "OpenVINO, batch of three": (108.0, "openvino"),
    "the blog's code, torch eager": (250.0, "blog"),
    "kornia + torch, batch of three": (196.0, "torch"),
}
SIZES = ("224x224", "320x240", "500x375", "640x480", "1280x720", "1920x1080", "3840x2160")


def row(
    section: str,
    case: str,
    way: str,
    median: float,
    baseline: tuple[str, float] | None = None,
    calls: int = 400,
    stable: bool = True,
    frames: int = 1,
    **detail: Any,
) -> Row:
    """A row whose calls scatter around `median` with a tail to the slow side."""
    random = np.random.default_rng(len(way))
    samples = median * (0.985 + 0.015 * random.gamma(1.5, 1.0, calls))
    samples *= median / np.median(samples)
    detail["distribution"] = [float(v) for v in np.percentile(samples, range(101))]
    name, of = baseline or (None, median)
    ratio = Ratio(median / of, 0.99 * median / of, 1.01 * median / of) if baseline else None
    timing = summarise([float(v) for v in samples], stable)
    return Row(section, case, way, timing, frames, name, ratio, detail)


def realistic() -> Results:
    """What a long run on a small server leaves behind, every section included."""
    results = Results(
        ["guard.onnx", "--against", "all", "-o", "out folder"],
        {"cpu": "AMD EPYC 9B14", "usable_cores": 2, "platform": "Linux-6.1", "python": "3.11.7",
         "versions": {"onnxruntime": "1.31.0", "numpy": "2.3.1", "torch": None}},
        {"tolerance": 0.05, "rounds": 6},
        [{"path": "resnet50.onnx", "sha256": "ab" * 32, "kind": "views", "source": "resnet50"}],
        seconds=412.0,
        complete=True,
    )  # fmt: skip
    for case, scale in (("1920x1080", 1.0), ("500x375", 0.95)):
        for way, (median, peer) in VERDICT.items():
            rest: dict[str, Any] = {"peer": peer} if peer else {"plan": "batched", "threads": 2}
            if not peer:
                small = dict(
                    zip(STAGES, (0.0066 * median, 0.11, 0, 0.01, 0.005, 0.06), strict=True)
                )
                rest["stage_ms"] = {**small, "inference": scale * median - sum(small.values())}
            stable = way != "auto" and "INTER_AREA" not in way
            times = ("undefended", 39.4 * scale)
            results.rows.append(
                row("verdict", case, way, median * scale, times, stable=stable, **rest)
            )
    for count in range(1, 9):
        for case, one in (("batched", 108.0), ("cascade", 76.0)):
            results.rows.append(
                row("cameras", case, str(count), 6 + one * count, calls=60, frames=count)
            )
        alone = 112.0 * count * (1 if count < 3 else 1.1)
        case = "one thread per camera, cascade"
        results.rows.append(row("cameras", case, str(count), alone, calls=60, frames=count))
    views = {"blurvote, 1 thread": 0.38, "OpenCV fastest (aliased)": 1.9,
             "OpenCV INTER_AREA": 8.0, "kornia + torchvision": 31.0,
             "ART SpatialSmoothing": 95.0, "read once": 0.06}  # fmt: skip
    for size in SIZES:
        width, height = map(int, size.split("x"))
        area = width * height / 1e6
        for case, fixed, slope in (
            ("batched", 113.0, 0.3), ("cascade", 76.0, 0.3), ("views only", 0.22, 0.22),
            ("undefended", 39.0, 0.1),
        ):  # fmt: skip
            results.rows.append(row("sizes", case, size, fixed + slope * area))
        for way, per in views.items():
            error = {"largest": 1.2e-6 * per, "mean": 1e-7}
            times = ("blurvote, 1 thread", 0.38 * area)
            results.rows.append(row("views", size, way, per * area, times, error=error))
    for plan, one in (("batched", 205.0), ("cascade", 140.0)):
        for threads in (1, 2, 4):
            results.rows.append(row("threads", plan, str(threads), one / min(threads, 2)))
    results.rows.append(row("providers", "r50-int8.onnx", "cpu, int8", 37.0, calls=30))
    results.facts = {
        "warnings": ["the governor is powersave | set performance"],
        "cascade": {
            "clean": {"images": 100, "agreement_rate": 0.9,
                      "mean_ms": {"undefended": 39.0, "cascade": 79.0, "batched": 114.0},
                      "p99_ms": {"undefended": 41.0, "cascade": 117.0, "batched": 120.0},
                      "agree": {"mean_ms": 75.0, "p99_ms": 79.0}, "differ": {"mean_ms": 116.0}},
        },
        "growth": {
            "pixels": {"slope": 0.62, "slope_from_720p": 0.8, "floor_slope": 1.01,
                       "points": [[50176, 0.24], [921600, 0.5], [2073600, 0.8], [8294400, 2.02]],
                       "floor_points": [[50176, 0.003], [8294400, 0.55]]},
            "threads": {"what": "views of 4K, growth with threads", "slope": None,
                        "points": [[1.0, 2.0]]},
        },
        "compute": {"gflop_per_view": 4.1, "achieved_gflops": {"one view": 104.0, "3 views": 108.0},
                    "peak_fp32_gflops": 166.0, "share_of_peak": {"3 views": 0.65},
                    "not_backbone": {"1920x1080": {"batched": {"ms": 0.9, "share": 0.008}}},
                    "threads": 2},
        "start": {"numpy": {"import_ms": 139.0, "peak_memory_mib": 61.25},
                  "batched": {"import_ms": 178.0, "peak_memory_mib": 311.5, "load_ms": 210.0},
                  "import_adds_ms": 39.0},
        "load": {"start": {"load_average": [0.1, 0.2, 0.3], "cpu_mhz": [900.5, 3200.0, 980.0, 1e3]},
                 "end": {"load_average": [2.0, 1.0, 0.5], "cpu_mhz": None}},
        "session": {"provider": "cpu", "threads": 2},
        "pictures": "100 pictures of photos",
        "vote": {"median_us": {"C++, float32": 1.31, "NumPy": 24.0}},
        "planning": {"median": 0.07},
        "tuning": {"chosen": {"plan": "cascade"}, "tried_ms": {"cascade, 2 threads": 77.4}},
        "scenarios": [
            {"scenario": "Server", "harness": "loadgen", "valid": False, "metric": "completed_qps",
             "value": 8.13, "latency_ms": {"p50": 80.0, "p99": 121.0}, "queries": 4000,
             "duration_s": 600.0, "reasons": ["too few queries"], "verification": "unverified: no"},
        ],
    }  # fmt: skip
    results.skip("verdict", "TensorRT", "no such provider | CPU only")
    return results


def empty() -> Results:
    return Results([], {}, {}, [])


def cells(text: str, start: str) -> list[str]:
    """The cells of the table line that begins with `start`."""
    line = next(line for line in text.splitlines() if line.startswith(f"| {start} "))
    return [cell.strip() for cell in line.strip("|").split(" | ")]


def test_numbers_keep_three_digits() -> None:
    shown = [number(v) for v in (1234.6, 39.44, 4.7, 0.3126, 0.00512, 1.2e-6, 0.0, None)]
    assert shown == ["1235", "39.4", "4.70", "0.313", "0.00512", "1.2e-06", "0", "\u2013"]


def test_the_report_has_what_was_measured() -> None:
    text = markdown(realistic(), {"stages": "stages.png"})
    assert cells(text, "batched")[0] == "batched"
    line = cells(text, "batched")
    assert line[1] == "114"
    assert line[8].startswith("2.89x (2.86")
    assert line[9] == "yes"
    assert "![Where the time goes](stages.png)" in text
    for part in (
        "AMD EPYC 9B14, 2 usable cores",
        "onnxruntime 1.31.0",
        "agree on 90.0% of 100 images",
        "**Caution:** the governor",
        "achieved: one view 104 GFLOP/s",
        "8.13 (completed_qps)",
        "p99 121 ms",
        "Server is not valid: too few queries",
        "unverified: no",
        "no such provider \\| CPU only",
        "blurvote bench guard.onnx --against all -o 'out folder'",
    ):
        assert part in text
    assert "torch None" not in text


def test_tables_are_whole() -> None:
    """Every line of a table has as many cells as its header, so that Markdown renders it."""
    for block in markdown(realistic(), {}).split("\n\n"):
        if block.startswith("|"):
            lines = [len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()]
            assert len(set(lines)) == 1
            assert len({len(line) for line in block.splitlines()}) == 1  # lined up as text, too


def test_every_column_of_times_has_a_unit() -> None:
    for block in markdown(realistic(), {}).split("\n\n"):
        header = block.splitlines()[0]
        for name in header.strip("|").split(" | ") if block.startswith("|") else ():
            if re.search(r"median|p9|min|mean", name) and "times" not in name:
                assert re.search(r"\bms\b|\bstd\b|per second", name), name


def test_unstable_rows_are_marked_and_explained() -> None:
    text = markdown(realistic(), {})
    assert cells(text, "auto \u2020")[-1] == "no"
    assert "\u2020 unstable: the medians of its last windows lie more than 5% apart." in text
    calm = realistic()
    calm.rows = [one for one in calm.rows if one.timing.stable]
    assert "\u2020" not in markdown(calm, {})
    assert "\u2020" not in terminal(calm)


def test_a_percentile_without_samples_is_a_dash() -> None:
    results = empty()
    results.rows.append(row("verdict", "8x8", "batched", 2.0, calls=50))
    line = cells(markdown(results, {}), "batched")
    assert line[2] != "\u2013"  # p90
    assert line[3] != "\u2013"  # p95
    assert line[4:6] == ["\u2013", "\u2013"]  # p99, p99.9


def test_peers_are_compared_with_the_guard() -> None:
    """Sorted by time, with ratios to the guard's own ways and their spread."""
    found = realistic()
    found.rows = [
        replace(r, detail={**r.detail, "times": {"batched": {"median": 2.5, "p25": 2, "p75": 3}}})
        if r.detail.get("peer")
        else r
        for r in found.section("verdict", "1920x1080")
    ]
    text = markdown(found, {}).split("## Beside what others would use")[1].split("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    names = [line.split(" | ")[0].strip("| \u2020") for line in lines[2:]]
    peers = [name for name, (_, peer) in VERDICT.items() if peer]
    assert names == sorted(peers, key=lambda name: VERDICT[name][0])
    assert "times batched" in lines[0]
    assert all(line.endswith(" 2.50x (2.00\u20133.00) |") for line in lines[2:])
    assert all(f"- {name}: threads: " in text for name in names)


def test_the_terminal_shows_the_headline() -> None:
    text = terminal(realistic())
    assert text.count("frame to verdict") == 2
    assert cells(text, "undefended")[4] == "1x"
    assert cells(text, "the blog's code, torch eager")[1] == "250"
    rest = 0.0066 * 114 + 0.11 + 0.01 + 0.005 + 0.06
    assert float(cells(text, "batched")[5]) == pytest.approx(rest, abs=5e-4)
    assert max(map(len, text.splitlines())) <= 120


@pytest.mark.parametrize("left", [*sorted({one.section for one in realistic().rows}), None])
def test_any_section_may_be_missing(left: str | None) -> None:
    results = realistic()
    results.rows = [one for one in results.rows if one.section == left]
    results.facts, results.skipped, results.complete = {}, [], False
    text = markdown(results, {})
    assert "incomplete" in text
    assert text.count("\n## ") >= (2 if left else 1)
    terminal(results)
    figures(results)


def test_every_fact_alone() -> None:
    for name, fact in realistic().facts.items():
        results = empty()
        results.facts = {name: fact}
        assert len(markdown(results, {})) > len(markdown(empty(), {}))
        figures(results)


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


def test_the_terminal_shows_what_was_measured_instead_of_the_headline() -> None:
    found = realistic()
    assert "from Python" not in terminal(found)
    found.rows = [row for row in found.rows if row.section != "verdict"]
    found.facts["vote"] = {"median_us": {"from Python": 2.9}}
    assert "from Python 2.90 us" in terminal(found)
    assert "completed_qps" in terminal(found)
