"""Building three views: the fused kernel beside kornia + torchvision and both OpenCV ways.

    python -m blurvote.benchmarks.latency.views [--out FOLDER] [--sizes 375x500,1080x1920]

Every alternative starts from the same frame and is checked against a float64 reference; the table
gives its largest and mean error in units of one standard deviation. OpenCV and torch use their
default threads, blurvote one and all. `read once` sums the part of the frame that the views
need: no way of making views can be faster than reading it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.benchmarks.timing import interleave
from blurvote.runtime import ViewBuilder, _kernels
from blurvote.runtime.commands.info import frame_size
from blurvote.runtime.machine import usable_cores

SIZES = "375x500,720x1280,1080x1920,2160x3840"


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", default=SIZES, help="HEIGHTxWIDTH, comma-separated")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each alternative")
    add_output_options(parser)
    args = parser.parse_args()
    sizes = [frame_size(text) for text in args.sizes.split(",")]
    results = {f"{h}x{w}": measure(h, w, args.rounds) for h, w in sizes}
    publish(
        args, "views", results, "\n\n".join(_text(size, result) for size, result in results.items())
    )


def natural_frame(height: int, width: int) -> NDArray[np.uint8]:
    """A frame with the spectrum of a photograph: smooth shapes, edges and some noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (max(2, height // 40), max(2, width // 40), 3), dtype=np.uint8)
    frame = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    frame += random.integers(-12, 13, frame.shape, dtype=np.int16)
    return frame.clip(0, 255).astype(np.uint8)


def measure(height: int, width: int, rounds: int) -> dict[str, Any]:
    """Times and errors of all ways for one frame size."""
    import torch

    frame = natural_frame(height, width)
    tensor = peers.to_tensor(frame)
    permuted = torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255
    cores = usable_cores()
    builders = {
        f"blurvote, {threads} thread{'s' * (threads > 1)}": ViewBuilder(
            peers.BLOG, height, width, threads
        )
        for threads in sorted({1, cores})
    }
    out = np.empty((3, 3, 224, 224), np.float32)
    top, left, bottom, right = _needed(builders["blurvote, 1 thread"], height, width)
    ways: dict[str, Callable[[], Any]] = {
        name: partial(builder.build, frame, out) for name, builder in builders.items()
    }
    ways |= {
        "OpenCV fastest (aliased)": lambda: peers.opencv_fastest_views(frame),
        "OpenCV INTER_AREA": lambda: peers.opencv_area_views(frame),
        "kornia + torchvision": lambda: peers.kornia_views(tensor),
        "the same with ToTensor": lambda: peers.kornia_views(peers.to_tensor(frame)),
        "the same, permuted tensor": lambda: peers.kornia_views(permuted),
    }
    exact = peers.kornia_views(tensor.double()).numpy()
    errors = {}
    for name, way in ways.items():
        difference = np.abs(np.asarray(way()) - exact)
        errors[name] = {"largest": float(difference.max()), "mean": float(difference.mean())}
    ways["read once"] = lambda: frame[top:bottom, left:right].max()
    fast = {
        name: way
        for name, way in ways.items()
        if "torch" not in name and "Tensor" not in name and "tensor" not in name
    }
    slow = {name: way for name, way in ways.items() if name not in fast or "1 thread" in name}
    # The slow ways get fewer turns, with the kernel beside them for the ratio.
    times = interleave(slow, rounds=max(3, rounds // 3), calls=2)
    times |= interleave(fast, rounds=rounds, calls=8)
    planning = _planning(height, width)
    ours = times["blurvote, 1 thread"].median
    return {
        "milliseconds": {name: times[name].to_dict() for name in ways},
        "ratio_to_one_thread": {name: times[name].median / ours for name in ways},
        "error": errors,
        "planning_ms": planning,
        "threads": {
            "blurvote": sorted({1, cores}),
            "opencv": cv2.getNumThreads(),
            "torch": torch.get_num_threads(),
        },
        "isa": _kernels.available_isas()[0],
    }


def _needed(builder: ViewBuilder, height: int, width: int) -> tuple[int, int, int, int]:
    """About which part of the frame the crop covers, as top, left, bottom, right."""
    resized_h, resized_w, top, left = builder.plan(height, width)
    y, x = height / resized_h, width / resized_w
    crop_h, crop_w = builder.defense.crop
    return int(top * y), int(left * x), int((top + crop_h) * y), int((left + crop_w) * x)


def _planning(height: int, width: int) -> dict[str, float]:
    """Milliseconds to plan frame sizes that were not seen before, all near the given one."""
    builder = ViewBuilder(peers.BLOG)
    sizes = iter([(height + dy, width + dx) for dy in range(8) for dx in range(30)])
    timing = interleave(
        {"plan": lambda: builder.plan(*next(sizes))}, rounds=10, calls=15, pause_s=0
    )
    return timing["plan"].to_dict()


def _text(size: str, result: dict[str, Any]) -> str:
    rows = []
    for name, ms in result["milliseconds"].items():
        error = result["error"].get(name)
        rows.append(
            [
                name,
                ms["median"],
                ms["minimum"],
                ms["p25"],
                ms["p75"],
                result["ratio_to_one_thread"][name],
                f"{error['largest']:.1e}" if error else "",
                f"{error['mean']:.1e}" if error else "",
            ]
        )
    threads = ", ".join(f"{name} {count}" for name, count in result["threads"].items())
    return "\n".join(
        [
            f"three views of a {size} frame ({result['isa']}; threads: {threads})",
            table(
                [
                    "way",
                    "median ms",
                    "min",
                    "p25",
                    "p75",
                    "times blurvote, 1 thread",
                    "largest error",
                    "mean error",
                ],
                rows,
            ),
            f"planning a new frame size: median {result['planning_ms']['median']:.3f} ms, "
            f"p99 {result['planning_ms']['p99']:.3f} ms",
        ]
    )


if __name__ == "__main__":
    entry(main)
