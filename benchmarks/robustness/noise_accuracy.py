"""How well the noise estimate reads photographs and a real video.

    python -m blurvote.benchmarks.robustness.noise_accuracy --images DIR [--video FILE]

Noise of known levels is added to each photograph as a camera's would be, clipped and rounded to 8
bits. The sampled estimate (`ViewBuilder.build_noise`) stands beside the same estimate on all rows.
Photographs with even numbers gave the drawn texture of `noise_table`; those with odd numbers, which
are reported, gave it nothing. A video's quantiles are over its frames, as it is and with noise.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.noise_table import TEXTURE, TEXTURE_SPREAD
from blurvote.runtime.command import positive_int
from blurvote.runtime.defense import Defense
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import BlurvoteError, SourceError
from blurvote.runtime.noise import (
    GAUSSIAN_PER_RESPONSE,
    SEGMENT,
    estimate_noise,
    laplacian_difference,
)
from blurvote.runtime.sources import open_source
from blurvote.runtime.views import ViewBuilder

__all__ = ["Estimates", "estimate", "main", "texture"]

NOISE_LEVELS = (0.0, 0.03, 0.06, 0.125, 0.25, 0.375)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_NORMAL_QUARTILES = 1.349  # the distance of its quartiles, of standard deviation 1
_VIEWS = range(1)

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Estimates:
    """Levels of the same frames with noise of one level.

    Attributes:
        sampled: by `ViewBuilder.build_noise`; NaN where it has none.
        whole: the same estimate on all rows of the same columns.
    """

    sampled: NDArray[np.float64]
    whole: NDArray[np.float64]


def estimate(frames: Sequence[Pixels], level: float, seed: int = 0) -> Estimates:
    """Adds noise of `level` (in [0, 1]) to RGB frames and estimates it."""
    builder = ViewBuilder(Defense())
    out = np.empty((1, 3, *builder.defense.crop), np.float32)
    rng = np.random.default_rng(seed)
    found = []
    for frame in frames:
        noisy = add_noise(frame, level, rng) if level else frame
        _, begin, segments = builder.noise_grid(*noisy.shape[:2])
        columns = (begin, begin + SEGMENT * segments + 2)
        sampled = builder.build_noise(noisy, out, _VIEWS)
        found.append((sampled, estimate_noise(noisy, columns=columns)))
    sampled, whole = np.array(found, float).T
    return Estimates(sampled, whole)


def texture(frames: Sequence[Pixels]) -> tuple[float, float]:
    """What `noise_table` draws: median and spread of the logarithm of segments' readings.

    The medians over frames of both within each, of the segments that are sampled.
    """
    builder = ViewBuilder(Defense())
    found = []
    for frame in frames:
        rows, begin, segments = builder.noise_grid(*frame.shape[:2])
        part = frame[:, begin : begin + SEGMENT * segments + 2].astype(np.float32)
        magnitudes = np.abs(laplacian_difference(part.transpose(2, 0, 1)))[:, rows - 1]
        of_each = magnitudes.reshape(3, len(rows), segments, SEGMENT).mean((0, 3))
        quartiles = np.quantile(GAUSSIAN_PER_RESPONSE * of_each / 255, (0.25, 0.5, 0.75))
        lower, middle, upper = np.maximum(quartiles, 1e-6)
        found.append((middle, np.log(upper / lower) / _NORMAL_QUARTILES))
    median, spread = np.median(found, axis=0).tolist()
    return median, spread


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--images", metavar="DIR", help="photographs, without noise of their own")
    parser.add_argument("--video", metavar="FILE")
    parser.add_argument(
        "--every", type=positive_int, default=1, help="take every Nth frame of the video"
    )
    args = parser.parse_args(arguments)
    try:
        _run(args.images, args.video, args.every)
    except BlurvoteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _run(images: str | None, video: str | None, every: int) -> None:
    if not images and not video:
        raise SourceError("nothing to estimate: give --images DIR or --video FILE")
    if images:
        photographs = list(_frames(images))
        if len(photographs) < 2:
            raise SourceError(
                f"{images} holds {len(photographs)} photographs; expected at least 2, as every "
                "second one is reported and those between are what the table was drawn from"
            )
        median, spread = texture(photographs[::2])
        print(f"texture of {len(photographs[::2])} photographs: median {median:.4f}, spread of its")
        print(f"logarithm {spread:.2f}; drawn in the table: {TEXTURE}, {TEXTURE_SPREAD}")
        _print_levels(f"{len(photographs[1::2])} other photographs", photographs[1::2])
    if video:
        frames = list(_frames(video))[::every]
        if not frames:
            raise SourceError(f"{video} holds no frames that can be read")
        _print_levels(f"{len(frames)} frames of a video", frames)


def _print_levels(title: str, frames: Sequence[Pixels]) -> None:
    names = "".join(f"{f'{100 * q:.0f} %':>9}" for q in QUANTILES)
    print(f"\n{title}: quantiles of the estimate (below each: of that on all rows)")
    print(f"{'level':>8}{names}   median / level   error: sampled, all rows")
    for level in NOISE_LEVELS:
        found = estimate(frames, level)
        for name, levels in ((f"{level:g}", found.sampled), ("", found.whole)):
            known = levels[np.isfinite(levels)]
            row = "".join(f"{value:9.4f}" for value in np.quantile(known, QUANTILES))
            ratio = f"{np.median(known) / level:17.3f}" if level else ""
            print(f"{name:>8}{row}{ratio}{_errors(found, level) if name and level else ''}")


def _errors(found: Estimates, level: float) -> str:
    """The root of the mean squared relative error of both."""
    both = (found.sampled, found.whole)
    shares = [np.sqrt(np.nanmean((levels / level - 1) ** 2)) for levels in both]
    return f"{shares[0]:13.1%}{shares[1]:9.1%}"


def _frames(uri: str) -> Iterator[Pixels]:
    """RGB frames, all of a size whose noise can be read."""
    builder = ViewBuilder(Defense())
    source = open_source(uri)
    try:
        while frame := source.read():
            if not builder.noise_grid(frame.height, frame.width)[2]:
                raise SourceError(
                    f"{uri} holds a frame of {frame.width}x{frame.height} px, whose noise cannot "
                    "be read; leave out those of less than 40 px a side"
                )
            yield np.ascontiguousarray(frame.as_rgb())
    finally:
        source.close()


if __name__ == "__main__":
    raise SystemExit(main())
