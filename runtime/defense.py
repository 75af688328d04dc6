"""The frozen description of a defence: which views, how they are made, how they decide."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from blurvote.runtime.errors import DefenseError
from blurvote.runtime.view_kind import MAX_PASSES, ViewKind, view_kind

__all__ = ["NOISY_FIELDS", "Decision", "Defense"]

BlurAt = Literal["frame", "model"]
Interpolation = Literal["bilinear", "bicubic"]
Fit = Literal["crop", "stretch"]
Decision = Literal["majority", "single", "mean"]

SCHEMA_VERSION, SCHEMA_VERSION_DENOISED = 1, 2  # 2 alone has the fields of noisy frames
NOISY_FIELDS = ("noisy_views", "noise_switch", "noisy_threshold")
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
        noisy_views: names of the views that a noisy frame has instead, as many as `passes` and at
            least one of them denoised, in the order in which a cascade runs them; those that are
            not denoised must be among `passes`. Empty: all frames have the same views, and the
            fields below mean nothing.
        noise_switch: `(low, high)`: a frame is noisy from the noise level `high` on; the next one
            of its stream is until the level falls below `low`. In [0, 1] RGB units **on the
            backbone's grid**, after the resize has averaged noise away. `(0, 0)`: always.
        noisy_threshold: the same as `threshold`, for noisy frames.

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
    noisy_views: tuple[str, ...] = ()
    noise_switch: tuple[float, float] = (0.02, 0.025)
    noisy_threshold: float | None = None

    def __post_init__(self) -> None:
        # Lists (from JSON) and a single crop size are accepted; what is kept is always the tuple.
        for name in ("passes", "crop", "mean", "std", "noisy_views", "noise_switch"):
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
            and all(_is_int(p) and 0 <= p <= MAX_PASSES for p in self.passes)
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
        for name in ("threshold", "noisy_threshold"):
            value = getattr(self, name)
            check(
                value is None or (_is_real(value) and 0 <= value <= 1),
                name,
                "a number from 0 to 1, or None",
            )
            check(
                value is None or self.decision == "mean",
                name,
                f"None: only the decision 'mean' has a threshold, not {self.decision!r}",
            )
        self._validate_noisy(check)

    def _validate_noisy(self, check: Callable[[bool, str, str], None]) -> None:
        check(
            isinstance(self.noisy_views, tuple)
            and all(isinstance(name, str) for name in self.noisy_views)
            and len(set(self.noisy_views)) == len(self.noisy_views)
            and len(self.noisy_views) in (0, len(self.passes)),
            "noisy_views",
            f"no names, or {len(self.passes)} different ones, as many as passes",
        )
        kinds = [view_kind(name) for name in self.noisy_views]
        check(
            not kinds or any(kind.denoised for kind in kinds),
            "noisy_views",
            "at least one view that is denoised, such as 'denoised'",
        )
        check(
            not kinds or self.passes[0] == 0,
            "passes",
            "0 as the first of them, the clean view, which is what is denoised",
        )
        check(
            all(kind.denoised or kind.passes in self.passes for kind in kinds),
            "noisy_views",
            f"views that are denoised or among passes = {self.passes}",
        )
        switch = self.noise_switch
        check(
            isinstance(switch, tuple)
            and len(switch) == 2
            and all(map(_is_real, switch))
            and 0 <= switch[0] <= switch[1] <= 1,
            "noise_switch",
            "two noise levels (low, high) with 0 <= low <= high <= 1",
        )
        check(
            self.noisy_threshold is None or bool(kinds),
            "noisy_threshold",
            "None: without noisy_views no frame is noisy",
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

    @property
    def adaptive(self) -> bool:
        """Whether noisy frames have views of their own."""
        return bool(self.noisy_views)

    def kinds(self, noisy: bool = False) -> tuple[ViewKind, ...]:
        """What each view is, of quiet frames or of noisy ones."""
        if noisy and self.adaptive:
            return tuple(view_kind(name) for name in self.noisy_views)
        return tuple(ViewKind(passes) for passes in self.passes)

    @property
    def denoised_kinds(self) -> tuple[ViewKind, ...]:
        """Those of the noisy views that are denoised, in the order of `noisy_views`."""
        return tuple(kind for kind in self.kinds(noisy=True) if kind.denoised)

    def view_name(self, view: int, noisy: bool = False) -> str:
        """Name of view `view` of quiet or of noisy frames, see `ViewKind.name`."""
        return self.kinds(noisy)[view].name

    def gaussian_taps(self) -> tuple[float, ...]:
        """The taps `exp(-d^2 / 2 sigma^2) / Z` of one pass, `kernel_size` of them."""
        radius = self.kernel_size // 2
        taps = [math.exp(-(d * d) / (2 * self.sigma**2)) for d in range(-radius, radius + 1)]
        total = sum(taps)
        return tuple(tap / total for tap in taps)

    def to_json(self) -> str:
        """This defence as one line of JSON, with the version of the format."""
        values = asdict(self)
        if self.adaptive:
            return json.dumps({"schema_version": SCHEMA_VERSION_DENOISED, **values})
        # As earlier versions wrote it and read it.
        values = {name: value for name, value in values.items() if name not in NOISY_FIELDS}
        return json.dumps({"schema_version": SCHEMA_VERSION, **values})

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
        if version not in (SCHEMA_VERSION, SCHEMA_VERSION_DENOISED):
            raise DefenseError(
                f"the defence has schema_version {version!r}; this blurvote reads "
                f"{SCHEMA_VERSION} and {SCHEMA_VERSION_DENOISED}: "
                "install the blurvote that wrote it, or export again"
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
