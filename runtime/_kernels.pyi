"""The C++ kernels: fused view building and majority vote."""

from collections.abc import Sequence
from typing import Annotated

import numpy
from numpy.typing import NDArray


def available_isas() -> list[str]:
    """
    Instruction sets that the view kernel can use on this machine, best first.
    """

def yuv_to_rgb(bt709: bool, full: bool) -> list[float]:
    """
    R, G and B of Y, U and V, all in 0..255: for each three weights and an offset.
    """

def noise_table() -> tuple[list[float], dict[str, list[float]]]:
    """
    Noise levels, and the reading of the noise estimate at each, by what the samples are.
    """

class ViewBuilder:
    """Builds views of uint8 frames; see blurvote.runtime.ViewBuilder."""

    def __init__(self, *, kernel_size: int, sigma: float, passes: Sequence[int], blur_at_model: bool, antialias: bool, bicubic: bool, stretch: bool, resize: int, crop_h: int, crop_w: int, mean: Sequence[float], std: Sequence[float], threads: int, isa: str) -> None: ...

    def build(self, frame: Annotated[NDArray[numpy.uint8], dict(device='cpu', writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None, None), order='C', device='cpu')], first: int, last: int, colour: str, window: tuple[int, int, int, int], bt709: bool, full: bool) -> None:
        """
        Writes views first .. last - 1 of the window (top, left, height, width) of a uint8 frame to out.
        """

    def build_noise(self, frame: Annotated[NDArray[numpy.uint8], dict(device='cpu', writable=False)], out: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None, None), order='C', device='cpu')], first: int, last: int, colour: str, window: tuple[int, int, int, int], bt709: bool, full: bool) -> float:
        """
        The same, and returns the frame's noise level in [0, 1], or NaN where there is no estimate.
        """

    def noise_grid(self, height: int, width: int) -> tuple[list[int], int, int, float]:
        """
        (sampled rows, first column, segments of 32 pixels, noise gain of the clean view) of a frame size.
        """

    def plan(self, height: int, width: int) -> tuple[int, int, int, int]:
        """
        (resized height, resized width, crop top, crop left) of a frame size, in pixels.
        """

    @property
    def threads(self) -> int: ...

    @property
    def isa(self) -> str: ...

def majority_vote(logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], electorate: int, labels: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], counts: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], view_labels: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """
    Votes over (N, V, C) float32 logits; fills labels (N), counts (N) and view_labels (N, V).
    """

def majority_vote_half(logits: Annotated[NDArray[numpy.uint16], dict(shape=(None, None, None), order='C', device='cpu', writable=False)], electorate: int, labels: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], counts: Annotated[NDArray[numpy.int64], dict(shape=(None,), order='C', device='cpu')], view_labels: Annotated[NDArray[numpy.int64], dict(shape=(None, None), order='C', device='cpu')]) -> None:
    """The same for float16 logits, given as their bits in uint16."""

def softmax_at(logits: Annotated[NDArray[numpy.float32], dict(shape=(None, None), order='C', device='cpu', writable=False)], row: int, label: int) -> float:
    """Softmax of row `row` of (R, C) float32 logits at `label`."""
