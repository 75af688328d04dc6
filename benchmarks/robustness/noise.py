"""The blog's experiment on a guard file: accuracy under Gaussian noise.

    python -m blurvote.benchmarks.robustness.noise GUARD --labels TSV --images FOLDER [--out FOLDER]

Sethi, *Dealing with Adversarial Inputs for Image Classification* (2023): noise of standard
deviation sigma is added to the colour images in [0, 1] at native resolution and clamped; here it is
then rounded to 8 bits, as a camera delivers it. The table gives the accuracy of each view on its
own, of the majority **on accepted frames** (the blog's Acc_Maj) and over all frames, and the reject
rate. The last columns are the baseline that the vote has to beat: no defence, keeping the same
share of frames by the clean view's own softmax confidence; and the mean softmax of the views at
that share.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.runtime import ViewBuilder, majority_vote
from blurvote.runtime.decision import softmax
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.engine import Engine
from blurvote.runtime.errors import SourceError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.sources import read_image

SIGMAS = "0,0.125,0.25,0.375"


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("guard", help="guard of kind views")
    parser.add_argument("--images", required=True, help="folder of images")
    parser.add_argument(
        "--labels",
        required=True,
        help="TSV of file, class index and colour or grey",
    )
    parser.add_argument("--sigmas", default=SIGMAS, help="noise levels in [0, 1], comma-separated")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise")
    parser.add_argument("--limit", type=int, help="use only the first N images")
    add_output_options(parser)
    args = parser.parse_args()
    files = read_labels(args.labels)[: args.limit]
    sigmas = [float(text) for text in args.sigmas.split(",")]
    logits = run(args.guard, Path(args.images), files, sigmas, args.seed)
    truth = np.array([label for _, label in files])
    results = {f"{sigma:g}": score(values, truth) for sigma, values in logits.items()}
    rows = [[sigma, *row.values()] for sigma, row in results.items()]
    headers = ["sigma", *(name.replace("_", " ") for name in next(iter(results.values())))]
    text = f"{args.guard}: {len(files)} colour images, seed {args.seed}\n" + table(headers, rows)
    publish(args, "noise", {"images": len(files), "rows": results}, text)


def read_labels(path: str) -> list[tuple[str, int]]:
    """File and class index of the colour images in a TSV; a header line is passed over."""
    pairs = []
    for line in Path(path).read_text().splitlines():
        name, index, *rest = line.split("\t")
        if index.lstrip("-").isdigit() and rest[:1] != ["grey"]:
            pairs.append((name, int(index)))
    if not pairs:
        raise SourceError(f"{path} holds no lines of file, tab, class index")
    return pairs


def run(
    guard: str, folder: Path, files: list[tuple[str, int]], sigmas: list[float], seed: int
) -> dict[float, NDArray[np.float32]]:
    """Logits `(images, views, classes)` of the guard's backbone at each noise level."""
    engine = Engine(guard, "cpu")
    builder = ViewBuilder(
        GuardMetadata.from_map(engine.metadata, guard).defense, threads=engine.threads
    )
    collected: dict[float, list[NDArray[np.float32]]] = {sigma: [] for sigma in sigmas}
    for n, (name, _) in enumerate(files):
        pixels = read_image(str(folder / name))
        for sigma in sigmas:
            # One stream per image and level: adding a level changes no other figure.
            random = np.random.default_rng([seed, n, round(sigma * 1e6)])
            noisy = add_noise(pixels, sigma, random) if sigma else pixels
            collected[sigma].append(engine.run(builder.build(noisy, colour="bgr"))[0])
        if sys.stderr.isatty():
            print(f"\r{n + 1}/{len(files)} images", end="", file=sys.stderr, flush=True)
    return {sigma: np.stack(values) for sigma, values in collected.items()}


def score(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> dict[str, float]:
    """One row of the table from logits `(N, 3, C)` and labels `(N,)`; all in [0, 1]."""
    votes = majority_vote(logits)
    right = votes.view_labels == truth[:, None]
    accepted = votes.labels >= 0
    correct = votes.labels == truth
    shares = np.stack([softmax(views) for views in logits])
    coverage = int(accepted.sum())
    row: dict[str, Any] = {
        name: float(right[:, k].mean()) for k, name in enumerate(("clean", "single", "double"))
    }
    return row | {
        "majority_accepted": float(correct[accepted].mean()) if coverage else float("nan"),
        "majority_all": float(correct.mean()),
        "rejected": float(1 - accepted.mean()),
        "confidence_same_coverage": most_confident(shares[:, 0], truth, coverage),
        "mean_same_coverage": most_confident(shares.mean(axis=1), truth, coverage),
    }


def most_confident(shares: NDArray[np.float32], truth: NDArray[np.int64], coverage: int) -> float:
    """Accuracy on the `coverage` frames whose largest softmax is largest."""
    kept = np.argsort(-shares.max(axis=1), kind="stable")[:coverage]
    return float((shares[kept].argmax(axis=1) == truth[kept]).mean()) if coverage else float("nan")


if __name__ == "__main__":
    entry(main)
