"""The attribution methods, by captum on one view's score.

All are with respect to the frame's own pixels in [0, 1], through the view's blur, resize and crop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.explain.baselines import baseline
from blurvote.benchmarks.robustness.explain.quantity import ViewScore

if TYPE_CHECKING:
    import torch

__all__ = ["METHODS", "Attribution", "MethodName", "Settings", "attribute", "evaluations"]

MethodName = Literal["gradient-x-input", "integrated-gradients", "occlusion"]
METHODS: tuple[MethodName, ...] = ("gradient-x-input", "integrated-gradients", "occlusion")
_PIXELS_AT_ONCE = 1_500_000  # 18 MB a batch of frames; more is no faster on a CPU
_BACKWARD = 3  # a forward and a backward pass take about three forward passes' time


@dataclass(frozen=True)
class Settings:
    """How the methods run.

    Attributes:
        baseline: of integrated gradients, see `baselines.baseline`.
        steps: points of the integral from the baseline to the frame.
        patch, stride: of the occluding square, as shares of the short side of the part of the frame
            that the view reads; each at least one pixel.
        occlusion_baseline: what the square shows.
    """

    baseline: str = "black"
    steps: int = 32
    patch: float = 0.15
    stride: float = 0.075
    occlusion_baseline: str = "grey"


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each value of a frame adds to a score.

    Attributes:
        values: `(3, H, W)` float32, signed. Gradient x input: units of the score per relative
            change. Integrated gradients: units of the score. Occlusion: the mean fall of the score
            over the patches that cover the pixel, the same in all channels.
        score: of the frame.
        baseline_score: of the baseline that integrated gradients begin at, else None.
        delta: how far integrated gradients are from complete: the sum of `values` less
            `score - baseline_score`; None for other methods.
    """

    values: NDArray[np.float32]
    score: float
    baseline_score: float | None = None
    delta: float | None = None


@dataclass(frozen=True)
class Window:
    """The part of a frame that views read: rows `top` to `bottom`, columns `left` to `right`."""

    top: int
    bottom: int
    left: int
    right: int


def attribute(
    method: MethodName,
    score: ViewScore,
    frame: NDArray[np.float32],
    window: Window,
    settings: Settings,
) -> Attribution:
    """The attribution of one view's score to a frame.

    Args:
        method: one of `METHODS`.
        score: the view's score.
        frame: `(3, H, W)` float32 RGB in [0, 1].
        window: where the view reads; occlusion elsewhere would change nothing.
        settings: see `Settings`.

    Raises:
        ProviderError: captum is missing.
        SourceError: a baseline cannot be read.
    """
    torch, captum = require("explain", ("torch", "captum.attr"), "torch captum")
    pixels = torch.from_numpy(frame)[None].to(score.twin.device)
    with torch.no_grad():
        at_frame = float(score(pixels)[0])
    if method == "gradient-x-input":
        values = captum.InputXGradient(score).attribute(pixels.requires_grad_())
        return Attribution(_array(values), at_frame)
    if method == "integrated-gradients":
        start = _tensor(baseline(settings.baseline, frame), pixels)
        values, delta = captum.IntegratedGradients(score).attribute(
            pixels,
            baselines=start,
            n_steps=settings.steps,
            internal_batch_size=_batch(frame),
            return_convergence_delta=True,
        )
        with torch.no_grad():
            at_start = float(score(start)[0])
        return Attribution(_array(values), at_frame, at_start, float(delta[0]))
    return Attribution(_occlusion(captum, score, pixels, frame, window, settings), at_frame)


def _occlusion(
    captum: Any,
    score: ViewScore,
    pixels: torch.Tensor,
    frame: NDArray[np.float32],
    window: Window,
    settings: Settings,
) -> NDArray[np.float32]:
    rows, cols = slice(window.top, window.bottom), slice(window.left, window.right)

    def of_window(parts: torch.Tensor) -> torch.Tensor:
        frames = pixels.repeat(len(parts), 1, 1, 1)
        frames[:, :, rows, cols] = parts
        return score(frames)

    side, stride = patch_px(window, settings)
    cover = _tensor(baseline(settings.occlusion_baseline, frame), pixels)
    values = captum.Occlusion(of_window).attribute(
        pixels[:, :, rows, cols],
        sliding_window_shapes=(3, side, side),
        strides=(3, stride, stride),
        baselines=cover[:, :, rows, cols],
        perturbations_per_eval=_batch(frame),
    )
    whole = np.zeros_like(frame)
    whole[:, rows, cols] = _array(values)
    return whole


def patch_px(window: Window, settings: Settings) -> tuple[int, int]:
    """Side and stride of the occluding square in pixels; no stride leaves pixels uncovered."""
    short = min(window.bottom - window.top, window.right - window.left)
    side = max(1, round(settings.patch * short))
    return side, min(side, max(1, round(settings.stride * short)))


def evaluations(method: MethodName, window: Window, settings: Settings) -> int:
    """About how many forward passes of one view a method takes; for the time left."""
    if method == "gradient-x-input":
        return _BACKWARD
    if method == "integrated-gradients":
        return _BACKWARD * settings.steps
    side, stride = patch_px(window, settings)
    sides = (window.bottom - window.top, window.right - window.left)
    down, across = (math.ceil((length - side) / stride) + 1 for length in sides)
    return down * across


def _batch(frame: NDArray[np.float32]) -> int:
    height, width = map(int, frame.shape[1:])
    return max(1, min(16, _PIXELS_AT_ONCE // (height * width)))


def _tensor(values: NDArray[np.float32], like: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.from_numpy(values)[None].to(like.device)


def _array(values: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = values.detach()[0].cpu().numpy().astype(np.float32)
    return array
