"""The frozen description of a defence: which views, how they are made, how they decide."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from blurvote.runtime.errors import DefenseError

__all__ = ["Decision", "Defense"]

BlurAt = Literal["frame", "model"]
Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["crop", "stretch"]
Decision = Literal["majority", "single", "mean"]

SCHEMA_VERSION = 1
MAX_SIDE = 4096  # of the resized grid; guards against typing errors that would allocate gigabytes


@dataclass(frozen=True)
class Defense:
    """Which views of a frame are classified, and how their labels become one verdict.

    The defaults are those of Sethi, *Dealing with Adversarial Inputs for Image Classification*
    (2023), on an ImageNet classifier: the clean frame, one and two passes of a 5-tap Gaussian of
    sigma 1 at native resolution, short side to 256, centre crop of 224, majority of three.

    Attributes:
        kernel_size: taps of one Gaussian pass; odd, 3 to 31.
        sigma: standard deviation of one pass, in pixels of the grid named by `blur_at`; at
            least 0.01.
        passes: Gaussian passes of each view, strictly increasing from 0 on; 1 to 8 views.
        blur_at: `"frame"` blurs the frame as it comes (Sethi's order), `"model"` blurs the
            backbone's input grid, which makes the blur independent of the camera's resolution.
        border: how the blur continues past the edge; `"reflect"` (the edge pixel not repeated).
        antialias: widen the resize filter when shrinking, as Pillow and torchvision >= 0.17 do.
        interpolation: `"bilinear"` or `"bicubic"`.
        fit: `"crop"` resizes the short side to `resize` and cuts `crop` from the centre;
            `"stretch"` resizes straight to `crop` and ignores `resize`.
        resize: short side in pixels before the crop.
        crop: `(height, width)` of the views in pixels; an int means a square.
        mean, std: per channel R, G, B of frames scaled to [0, 1].
        decision: `"majority"`, `"single"` (the single-blur view alone) or `"mean"` (averaged
            softmax, rejected below `threshold`).
        threshold: smallest mean softmax that `"mean"` accepts, in [0, 1]; None until calibrated.

    Raises:
        DefenseError: a field is of the wrong type or out of range.
    """

    kernel_size: int = 5
    sigma: float = 1.0
    passes: tuple[int, ...] = (0, 1, 2)
    blur_at: BlurAt = "frame"
    border: Literal["reflect"] = "reflect"
    antialias: bool = True
    interpolation: Interpolation = "bilinear"
    fit: Fit = "crop"
    resize: int = 256
    crop: tuple[int, int] = (224, 224)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    decision: Decision = "majority"
    threshold: float | None = None

    def __post_init__(self) -> None:
        # Lists (from JSON) and a single crop size are accepted; what is kept is always the tuple.
        for name in ("passes", "crop", "mean", "std"):
            value = getattr(self, name)
            if name == "crop" and isinstance(value, int):
                value = (value, value)
            if isinstance(value, list):
                value = tuple(value)
            object.__setattr__(self, name, value)
        self._validate()

    def _validate(self) -> None:
        def check(ok: bool, name: str, expected: str) -> None:
            if not ok:
                raise DefenseError(
                    f"Defense.{name} is {getattr(self, name)!r}; expected {expected}"
                )

        check(
            _is_int(self.kernel_size) and self.kernel_size % 2 == 1 and 3 <= self.kernel_size <= 31,
            "kernel_size",
            "an odd integer from 3 to 31",
        )
        check(
            _is_real(self.sigma) and 0.01 <= self.sigma <= 100,
            "sigma",
            "a number from 0.01 to 100, in pixels",
        )
        check(
            isinstance(self.passes, tuple)
            and 1 <= len(self.passes) <= 8
            and all(_is_int(p) and 0 <= p <= 16 for p in self.passes)
            and all(a < b for a, b in zip(self.passes, self.passes[1:], strict=False)),
            "passes",
            "1 to 8 strictly increasing integers from 0 to 16, such as (0, 1, 2)",
        )
        for name, choices in (
            ("blur_at", get_args(BlurAt)),
            ("border", ("reflect",)),
            ("interpolation", get_args(Interpolation)),
            ("fit", get_args(Fit)),
            ("decision", get_args(Decision)),
        ):
            check(getattr(self, name) in choices, name, "one of " + ", ".join(map(repr, choices)))
        check(isinstance(self.antialias, bool), "antialias", "True or False")
        check(
            _is_int(self.resize) and 1 <= self.resize <= MAX_SIDE,
            "resize",
            f"an integer from 1 to {MAX_SIDE}, in pixels",
        )
        check(
            isinstance(self.crop, tuple)
            and len(self.crop) == 2
            and all(_is_int(c) and 1 <= c <= MAX_SIDE for c in self.crop),
            "crop",
            f"one or two integers (height, width) from 1 to {MAX_SIDE}, in pixels",
        )
        check(
            self.fit == "stretch" or min(self.crop) <= self.resize,
            "crop",
            f"at least one side no longer than resize = {self.resize}",
        )
        for name in ("mean", "std"):
            value = getattr(self, name)
            check(
                isinstance(value, tuple) and len(value) == 3 and all(map(_is_real, value)),
                name,
                "three finite numbers, for R, G and B in [0, 1]",
            )
        check(min(self.std) > 0, "std", "three numbers above 0")
        check(
            self.decision != "single" or 1 in self.passes,
            "passes",
            "a view of one pass, which the decision 'single' uses",
        )
        check(
            self.threshold is None or (_is_real(self.threshold) and 0 <= self.threshold <= 1),
            "threshold",
            "a number from 0 to 1, or None",
        )
        check(
            self.threshold is None or self.decision == "mean",
            "threshold",
            f"None: only the decision 'mean' has a threshold, not {self.decision!r}",
        )

    @property
    def views(self) -> range:
        """Indices into `passes` of the views that the decision uses.

        All of them, or the single-blur view alone for the decision `"single"`.
        """
        if self.decision == "single":
            single = self.passes.index(1)
            return range(single, single + 1)
        return range(len(self.passes))

    def view_name(self, view: int) -> str:
        """Name of view `view`: clean, single-blur, double-blur, or N-blur."""
        passes = self.passes[view]
        return {0: "clean", 1: "single-blur", 2: "double-blur"}.get(passes, f"{passes}-blur")

    def gaussian_taps(self) -> tuple[float, ...]:
        """The taps `exp(-d^2 / 2 sigma^2) / Z` of one pass, `kernel_size` of them."""
        radius = self.kernel_size // 2
        taps = [math.exp(-(d * d) / (2 * self.sigma**2)) for d in range(-radius, radius + 1)]
        total = sum(taps)
        return tuple(tap / total for tap in taps)

    def to_json(self) -> str:
        """This defence as one line of JSON, with the version of the format."""
        return json.dumps({"schema_version": SCHEMA_VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, text: str) -> Defense:
        """The defence that `to_json` wrote.

        Raises:
            DefenseError: `text` is not such JSON, or is of a newer format.
        """
        try:
            values: Any = json.loads(text)
        except ValueError as error:
            raise DefenseError(f"the defence is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise DefenseError(f"the defence is a JSON {type(values).__name__}; expected an object")
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise DefenseError(
                f"the defence has schema_version {version!r}; this blurvote reads "
                f"{SCHEMA_VERSION}: install the blurvote that wrote it, or export again"
            )
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise DefenseError(f"the defence has unknown fields: {', '.join(unknown)}")
        return cls(**values)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_real(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= sys.float_info.max  # unlike math.isfinite, of integers of any length
