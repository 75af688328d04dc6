"""From a uint8 frame to a verdict: the guard beside one undefended inference and its peers.

    python -m blurvote.benchmarks.latency.verdict GUARD [GUARD ...] --images FOLDER [--out FOLDER]
        [--torch resnet50]

Per guard (of kind `views`), on the CPU, everything interleaved in one run:

* undefended: the clean view by blurvote's kernel, one inference, argmax;
* the guard, batched and as a cascade, on a frame whose first two views agree and on one where they
  differ;
* what a user could put together: OpenCV's fastest views + a batch of three in ONNX Runtime;
* with `--torch NAME`, the blog's code: kornia + torchvision + torch eager, one call per view, on
  torchvision's NAME with random weights (time does not depend on them).

Then `undefended` and both plans over many clean stills, which gives the cascade's mean cost at the
rate of disagreement that real images have.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency import peers
from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.benchmarks.timing import interleave
from blurvote.runtime import Guard, majority_vote
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.engine import Engine
from blurvote.runtime.errors import SourceError
from blurvote.runtime.sources import open_source
from blurvote.runtime.undefended import Undefended

Pixels = NDArray[np.uint8]
SIZES = {"500x375": (375, 500), "1920x1080": (1080, 1920)}


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("guards", nargs="+", help="guards of kind views")
    parser.add_argument("--images", required=True, help="folder of real images")
    parser.add_argument("--stills", type=int, default=100, help="images for the mean cost")
    parser.add_argument("--rounds", type=int, default=12, help="turns of each alternative")
    parser.add_argument("--torch", metavar="NAME", help="torchvision model for the blog's code")
    add_output_options(parser)
    args = parser.parse_args()
    images = load(args.images)
    results = {}
    for path in args.guards:
        torch_name = args.torch if len(args.guards) == 1 else None
        results[Path(path).name] = measure(path, images, args.stills, args.rounds, torch_name)
    publish(args, "verdict", results, "\n\n".join(_text(*item) for item in results.items()))


def load(folder: str) -> list[Pixels]:
    """The folder's images as RGB, wide ones only, so that they fill a landscape frame."""
    source = open_source(folder)
    images = []
    while frame := source.read():
        height, width = frame.pixels.shape[:2]
        if width > height:
            images.append(np.ascontiguousarray(frame.pixels[..., ::-1]))
    if not images:
        raise SourceError(f"{folder} holds no landscape pictures")
    return images


def opencv_and_ort(engine: Engine, frame: Pixels) -> int:
    """What a user would put together: OpenCV's fastest views, a batch of three, the vote."""
    logits = engine.run(peers.opencv_fastest_views(frame))[0]
    return int(majority_vote(logits[None]).labels[0])


def blog_code(model: Any, frame: Pixels) -> int:
    """The blog's code: kornia + torchvision views, the model called once per view."""
    import torch

    with torch.inference_mode():
        views = peers.kornia_views(peers.to_tensor(frame))
        logits = torch.stack([model(view[None])[0] for view in views])
    return int(majority_vote(logits[None].numpy()).labels[0])


def torch_model(name: str) -> Any:
    """torchvision's model of that name, with random weights, in evaluation mode."""
    import torchvision

    return torchvision.models.get_model(name, weights=None).eval()


def measure(
    path: str, images: list[Pixels], stills: int, rounds: int, torch_name: str | None
) -> dict[str, Any]:
    """All figures of one guard."""
    undefended = Undefended(path)
    plans = {plan: Guard(path, "cpu", plan=plan) for plan in ("batched", "cascade")}
    model = torch_model(torch_name) if torch_name else None
    sizes = {}
    for name, (height, width) in SIZES.items():
        agree, differ = pick_frames(plans["cascade"], images, height, width)
        ways: dict[str, Callable[[], Any]] = {
            "undefended": partial(undefended.classify, agree),
            "guard, cascade, views agree": partial(plans["cascade"].classify, agree),
            "guard, cascade, views differ": partial(plans["cascade"].classify, differ),
            "guard, batched": partial(plans["batched"].classify, agree),
            "OpenCV fastest + ONNX Runtime": partial(opencv_and_ort, undefended.engine, agree),
        }
        if model is not None:
            ways[f"the blog's code, torch {torch_name}"] = partial(blog_code, model, agree)
        times = interleave(ways, rounds=rounds, calls=3, pause_s=0.05)
        verdict = plans["batched"].classify(agree)
        sizes[name] = {
            "milliseconds": {way: timing.to_dict() for way, timing in times.items()},
            "not_backbone": overhead(plans["batched"], agree),
            "first_two_views_agree": verdict.disagreement is False,
        }
    return {
        "sizes": sizes,
        "stills": over_stills(undefended, plans, images[:stills]),
        "threads": undefended.engine.threads,
    }


def pick_frames(
    guard: Guard, images: list[Pixels], height: int, width: int
) -> tuple[Pixels, Pixels]:
    """A frame of that size whose first two views agree, and a noisy one where they differ."""
    random = np.random.default_rng(0)
    agree: Pixels | None = None
    for image in images:
        resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)
        frame = np.asarray(resized, np.uint8)
        if agree is None and guard.classify(frame).disagreement is False:
            agree = frame
        # A large frame's resize averages noise away, so it takes more to make its views differ.
        for sigma in (0.25, 0.5, 1.0):
            noisy = add_noise(frame, sigma, random)
            if agree is not None and guard.classify(noisy).disagreement:
                return agree, noisy
    raise SourceError("no image whose views agree, or none that differ under noise")


def overhead(guard: Guard, frame: Pixels) -> dict[str, float]:
    """Share of a batched verdict that is not the session's run, by its own stage times."""
    shares, spent = [], []
    for _ in range(20):
        stage = guard.classify(frame).stage_ms
        shares.append((stage.views + stage.vote) / stage.total)
        spent.append(stage.views + stage.vote)
    return {"share": float(np.median(shares)), "milliseconds": float(np.median(spent))}


def over_stills(
    undefended: Undefended, plans: dict[str, Guard], images: list[Pixels]
) -> dict[str, Any]:
    """Mean cost over clean stills, each image met by all alternatives in turn."""
    totals = {"undefended": [], "cascade": [], "batched": []}  # type: dict[str, list[float]]
    disagreements = 0
    for image in images:
        times = interleave(
            {
                "undefended": partial(undefended.classify, image),
                "cascade": partial(plans["cascade"].classify, image),
                "batched": partial(plans["batched"].classify, image),
            },
            rounds=1,
            calls=2,
            pause_s=0.005,
        )
        for name, timing in times.items():
            totals[name].append(timing.minimum)
        disagreements += bool(plans["cascade"].classify(image).disagreement)
    return {
        "images": len(images),
        "disagreement_rate": disagreements / len(images),
        "mean_ms": {name: float(np.mean(values)) for name, values in totals.items()},
        "p99_ms": {name: float(np.percentile(values, 99)) for name, values in totals.items()},
    }


def _text(guard: str, result: dict[str, Any]) -> str:
    parts = []
    for size, figures in result["sizes"].items():
        one = figures["milliseconds"]["undefended"]["median"]
        rows = [
            [name, ms["median"], ms["minimum"], ms["p25"], ms["p75"], ms["median"] / one]
            for name, ms in figures["milliseconds"].items()
        ]
        share = figures["not_backbone"]
        parts.append(
            f"{guard}: {size} frame to verdict, CPU, {result['threads']} threads\n"
            + table(["way", "median ms", "min", "p25", "p75", "times undefended"], rows)
            + f"\nnot the backbone: {share['milliseconds']:.2f} ms, {share['share']:.1%} of a "
            "batched verdict"
        )
    stills = result["stills"]
    mean = stills["mean_ms"]
    parts.append(
        f"{guard}: {stills['images']} clean stills, first two views differ on "
        f"{stills['disagreement_rate']:.1%}\n"
        + table(
            ["plan", "mean ms", "p99 ms", "mean times undefended"],
            [
                [name, mean[name], stills["p99_ms"][name], mean[name] / mean["undefended"]]
                for name in mean
            ],
        )
    )
    return "\n\n".join(parts)


if __name__ == "__main__":
    entry(main)
