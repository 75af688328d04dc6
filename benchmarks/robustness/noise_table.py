"""Simulates the table from readings of the noise estimate to noise levels.

    python -m blurvote.benchmarks.robustness.noise_table

A reading is not the level: clipping at black and white takes noise away, the quartile of least
response lies below the mean, and texture adds. So segments of photographs are drawn, noise is
added, clipped and rounded to 8 bits as a camera does, and the reading of all of them is noted.

A drawn segment has one intensity, uniform in [0, 1] and the same in R, G and B, and texture: white,
the same in R, G and B, of a strength that differs from segment to segment. That is log-normal, as
of the 250 photographs with even numbers in assets/images/imagenet-half, where the median over
photographs is `TEXTURE` and the spread of its logarithm (quartiles over 1.349) `TEXTURE_SPREAD`
(`noise_accuracy` prints both).

It prints cpp_ext/src/noise_table.cpp, the table's only place.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.command import natural, positive_int
from blurvote.runtime.noise import (
    GAUSSIAN_PER_RESPONSE,
    SEGMENT,
    NoiseKind,
    chosen_sum,
    laplacian_difference,
    luma_share,
)

__all__ = ["KINDS", "LEVELS", "main", "simulate"]

LEVELS = (
    0,
    0.01,
    0.02,
    0.03,
    0.04,
    0.06,
    0.08,
    0.1,
    0.125,
    0.15,
    0.2,
    0.25,
    0.3,
    0.35,
    0.4,
    0.45,
    0.5,
)
KINDS: tuple[NoiseKind, ...] = ("packed", "gray", "bt601", "bt709")
SEGMENTS = 200_000  # drawn for each knot
TEXTURE = 0.0136
TEXTURE_SPREAD = 0.84
_AT_ONCE = 20_000
_HEAD = """\
// Printed by python -m blurvote.benchmarks.robustness.noise_table, which says what was simulated.
#include "blurvote/noise.h"

namespace blurvote {
"""
_LUMA = {"bt601": (0.299, 0.587, 0.114), "bt709": (0.2126, 0.7152, 0.0722)}


def simulate(
    level: float, kind: NoiseKind, segments: int, seed: int = 0, texture: float = TEXTURE
) -> float:
    """The reading of drawn segments with noise of one level, in [0, 1].

    Args:
        level: standard deviation of the noise of R, G and B, or of gray, in [0, 1].
        kind: what the samples are.
        segments: how many to draw.
        seed: of the generator; the same for all levels, which makes the table smooth.
        texture: median of the drawn texture.
    """
    rng = np.random.default_rng(seed)
    sums, saturated = [], []
    for first in range(0, segments, _AT_ONCE):
        samples = _draw(level, kind, min(_AT_ONCE, segments - first), texture, rng)
        responses = np.abs(laplacian_difference(samples))
        sums.append(responses.sum((1, 2, 3)))
        centres = samples[..., 1, 1:-1]
        saturated.append(((centres == 0) | (centres == 255)).sum((1, 2)))
    count: int = samples.shape[1] * SEGMENT
    least = chosen_sum(np.concatenate(sums), np.concatenate(saturated), count)
    share = 1.0 if kind in ("packed", "gray") else luma_share("nv12", kind, "full")  # type: ignore[arg-type]
    return GAUSSIAN_PER_RESPONSE * least / count / 255 / share


def _draw(
    level: float, kind: NoiseKind, count: int, texture: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """`(count, C, 3, SEGMENT + 2)` samples in 0..255."""
    size = (3, SEGMENT + 2)
    strength = texture * np.exp(TEXTURE_SPREAD * rng.standard_normal((count, 1, 1, 1)))
    scene = rng.random((count, 1, 1, 1)) + strength * rng.standard_normal((count, 1, *size))
    channels = 1 if kind == "gray" else 3
    noise = rng.standard_normal((count, channels, *size), dtype=np.float32)
    seen = scene.clip(0, 1).astype(np.float32) + np.float32(level) * noise
    samples = np.round(seen.clip(0, 1) * 255)
    if kind in _LUMA:
        samples = np.round(np.einsum("c,ncij->nij", _LUMA[kind], samples))[:, None]
    return np.asarray(samples, np.float32)


def _braced(values: Iterable[str], indent: int) -> str:
    lines = textwrap.wrap(", ".join(values), 72)
    return "{" + ("\n" + " " * indent).join(lines) + "}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the table as C++; see the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--segments", type=positive_int, default=SEGMENTS, help="drawn for each knot"
    )
    parser.add_argument("--seed", type=natural, default=0)
    args = parser.parse_args(arguments)
    print(_HEAD)
    print(f"const double kNoiseLevels[kNoiseKnots] = {_braced(map(str, LEVELS), 4)};")
    print("const double kNoiseReadings[kNoiseKinds][kNoiseKnots] = {")
    for kind in KINDS:
        readings = (simulate(level, kind, args.segments, args.seed) for level in LEVELS)
        print(f"    {_braced((f'{reading:.5f}' for reading in readings), 5)},  // {kind}")
    print("};\n\n}  // namespace blurvote")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
