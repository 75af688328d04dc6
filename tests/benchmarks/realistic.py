"""Made-up results of a whole run, for the report and the figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from blurvote.benchmarks.latency.report_tables import STAGES
from blurvote.benchmarks.results import Results, Row
from blurvote.benchmarks.timing import Ratio, summarise

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
                    zip(STAGES, (0.0066 * median, 0, 0.11, 0, 0.01, 0.005, 0.06), strict=True)
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
