"""One degradation at one severity: named, parsed from text, applied, and seeded."""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.robustness.degradations import blur, noise
from blurvote.runtime.demo.pen import to_u8
from blurvote.runtime.demo.scenes import add_noise
from blurvote.runtime.errors import FrameError, PlanError

__all__ = [
    "BLOG_SIGMAS",
    "NAMES",
    "REFERENCE_SIDE",
    "SEVERITIES",
    "Degradation",
    "Delivery",
    "parse_degradations",
]

Delivery = Literal["8-bit", "float"]

NAMES = ("gaussian", "shot", "impulse", "speckle", "jpeg", "low-light", "defocus", "motion")
"""What can be asked for, in the order of a report."""

SEVERITIES = (1, 2, 3, 4, 5)
"""Of everything but Gaussian noise."""

BLOG_SIGMAS = (0.0, 0.125, 0.25, 0.375)
"""Standard deviations of the blog's table, in [0, 1]."""

REFERENCE_SIDE = 256
"""Short side, in pixels, to which ImageNet-C resizes a picture before it degrades it."""

QUALITIES = (90.0, 75.0, 50.0, 30.0, 10.0)
"""Of `jpeg-quality` alone: JPEG by libjpeg's quality, as encoders are set; not among `NAMES`, which
has the same fault by severity."""

_BY_QUALITY = "jpeg-quality"
_EXPECTED = (
    f"one of {', '.join(NAMES)}, then a colon and a severity from 1 to 5 (for gaussian: sigma from "
    f"0 to 1), a list or a range, such as gaussian:0,0.25 or shot:1-5; or {_BY_QUALITY} and "
    "libjpeg's quality from 1 to 100"
)
_FIXED = ("jpeg", _BY_QUALITY, "defocus")  # draw no random numbers


@dataclass(frozen=True)
class Degradation:
    """One sensor fault at one severity.

    Attributes:
        name: one of `NAMES`, or `"jpeg-quality"`.
        severity: 1 to 5; for `"gaussian"` the standard deviation in [0, 1], for `"jpeg-quality"`
            libjpeg's quality from 1 to 100.
        delivery: `"8-bit"` rounds the frame to 8 bits, as a camera delivers it; `"float"` keeps
            float32 in [0, 1], as the blog's pipeline does.
        reference_side: short side, in pixels, of the frames on which blur kernels have
            ImageNet-C's size; on others they scale with the short side. None keeps the kernels'
            size in native pixels on every frame.

    Raises:
        PlanError: a field is out of range.
    """

    name: str
    severity: float
    delivery: Delivery = "8-bit"
    reference_side: int | None = REFERENCE_SIDE

    def __post_init__(self) -> None:
        if self.name not in (*NAMES, _BY_QUALITY):
            raise PlanError(f"degradation {self.name!r} is unknown; expected {_EXPECTED}")
        if self.name == "gaussian":
            if not (math.isfinite(self.severity) and 0 <= self.severity <= 1):
                raise PlanError(
                    f"sigma of gaussian is {self.severity!r}; expected a number from 0 to 1, on "
                    "the scale where a frame's values span [0, 1]"
                )
        elif self.name == _BY_QUALITY:
            if self.severity not in range(1, 101):
                raise PlanError(
                    f"quality of {self.name} is {self.severity!r}; expected a whole number from 1 "
                    "to 100"
                )
        elif self.severity not in SEVERITIES:
            raise PlanError(
                f"severity of {self.name} is {self.severity!r}; expected 1, 2, 3, 4 or 5"
            )
        if self.delivery not in get_args(Delivery):
            raise PlanError(f"delivery is {self.delivery!r}; expected '8-bit' or 'float'")
        if self.reference_side is not None and self.reference_side < 1:
            raise PlanError(
                f"reference_side is {self.reference_side!r}; expected pixels, at least 1, or None"
            )

    def __str__(self) -> str:
        """The text that `parse_degradations` reads, such as `gaussian:0.25`."""
        return f"{self.name}:{self.severity:g}"

    @property
    def random(self) -> bool:
        """Whether it draws random numbers, so that another seed makes another frame."""
        return self.name not in _FIXED and not (self.name == "gaussian" and self.severity == 0)

    def generator(self, seed: int, index: int) -> np.random.Generator:
        """The random numbers of image `index`: a stream of its own per image, name and severity.

        So no figure depends on which other degradations or images were asked for, nor on the
        order in which workers take them.

        Args:
            seed: of the whole run, at least 0.
            index: of the image, at least 0.
        """
        name = zlib.crc32(self.name.encode())  # hash() differs from process to process
        return np.random.default_rng([seed, index, name, round(self.severity * 1e6)])

    def apply(
        self, pixels: NDArray[np.uint8], random: np.random.Generator
    ) -> NDArray[np.uint8] | NDArray[np.float32]:
        """The degraded frame.

        Args:
            pixels: `(H, W, 3)` uint8, RGB.
            random: where every random number comes from; see `generator`.

        Returns:
            `(H, W, 3)`: uint8, or float32 in [0, 1], by `delivery`. A new array.

        Raises:
            FrameError: `pixels` is of another shape or dtype.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
            raise FrameError(
                f"a degradation was given {pixels.dtype} pixels of shape {pixels.shape}; expected "
                "uint8 RGB of shape (H, W, 3)"
            )
        if self.name == "gaussian" and self.delivery == "8-bit":
            return add_noise(pixels, self.severity, random)
        values = self._values(pixels, random)
        return values if self.delivery == "float" else to_u8(values * np.float32(255))

    def _values(
        self, pixels: NDArray[np.uint8], random: np.random.Generator
    ) -> NDArray[np.float32]:
        level = int(self.severity)
        if self.name == "gaussian":
            return noise.gaussian(pixels, self.severity, random)
        if self.name == "jpeg":
            return noise.jpeg(pixels, noise.JPEG_QUALITIES[level - 1])
        if self.name == _BY_QUALITY:
            return noise.jpeg(pixels, level)
        if self.name in ("defocus", "motion"):
            frame = np.asarray(pixels, np.float32) / np.float32(255)
            side = min(pixels.shape[:2])
            scale = 1.0 if self.reference_side is None else side / self.reference_side
            if self.name == "defocus":
                return blur.defocus(frame, level, scale)
            return blur.motion(frame, level, scale, random)
        kinds = {
            "shot": noise.shot,
            "impulse": noise.impulse,
            "speckle": noise.speckle,
            "low-light": noise.low_light,
        }
        return kinds[self.name](pixels, level, random)


def parse_degradations(
    text: str, delivery: Delivery = "8-bit", reference_side: int | None = REFERENCE_SIDE
) -> tuple[Degradation, ...]:
    """The degradations that `text` names, in its order, each once.

    `gaussian:0,0.125` and `shot:1-5` give lists and ranges; a name alone stands for all five
    severities, or the blog's four sigmas; several are parted by blanks or semicolons.

    Raises:
        PlanError: the text names no degradation, an unknown one, or one out of range.
    """
    found = [
        Degradation(name, level, delivery, reference_side)
        for part in re.split(r"[;\s]+", text.strip())
        for name, level in _levels(part)
    ]
    return tuple(dict.fromkeys(found))


def _levels(part: str) -> list[tuple[str, float]]:
    name, colon, levels = part.partition(":")
    if name == _BY_QUALITY and not colon:
        return [(name, level) for level in QUALITIES]
    if name in NAMES and not colon:
        return [(name, level) for level in (BLOG_SIGMAS if name == "gaussian" else SEVERITIES)]
    values: list[float] = []
    for level in levels.split(","):
        first, dash, last = level.partition("-")
        try:
            if dash and name != "gaussian":
                values += range(int(first), int(last) + 1)
            else:
                values.append(float(level))
        except ValueError:
            raise PlanError(f"degradation {part!r} cannot be read; expected {_EXPECTED}") from None
    if not values:
        raise PlanError(f"degradation {part!r} is an empty range; expected {_EXPECTED}")
    return [(name, value) for value in values]
