"""Views of a frame, built by the C++ kernel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime import _kernels
from blurvote.runtime.defense import Defense
from blurvote.runtime.errors import DefenseError, FrameError
from blurvote.runtime.frame import MAX_SIDE, Colour, Frame, as_frame

__all__ = ["ViewBuilder"]


class ViewBuilder:
    """Builds the normalised views of uint8 frames.

    Plans (the banded weights of a frame size) and working memory are kept between frames, so one
    builder should serve many. It may be called from several threads, which take turns.

    Args:
        defense: the defence whose views to build.
        height, width: the frame size in pixels, when it is fixed: it is then planned at once, and
            other sizes are refused. None accepts and plans any size.
        threads: threads that share one frame's work, the caller's included; at least 1.
        isa: instruction set of the kernel: `"auto"` or one of `available_isas()`.

    Raises:
        DefenseError: the frame size cannot be served, or `threads` or `isa` is impossible.
    """

    def __init__(
        self,
        defense: Defense,
        height: int | None = None,
        width: int | None = None,
        threads: int = 1,
        isa: str = "auto",
    ) -> None:
        if (height is None) != (width is None):
            raise DefenseError("give both height and width, or neither")
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 256:
            raise DefenseError(f"threads is {threads!r}; expected an integer from 1 to 256")
        self.defense = defense
        self._size = None if height is None or width is None else (height, width)
        try:
            self._builder = _kernels.ViewBuilder(
                kernel_size=defense.kernel_size,
                sigma=defense.sigma,
                passes=list(defense.passes),
                blur_at_model=defense.blur_at == "model",
                antialias=defense.antialias,
                bicubic=defense.interpolation == "bicubic",
                stretch=defense.fit == "stretch",
                resize=defense.resize,
                crop_h=defense.crop[0],
                crop_w=defense.crop[1],
                mean=list(defense.mean),
                std=list(defense.std),
                threads=threads,
                isa=isa,
            )
        except ValueError as error:
            raise DefenseError(str(error)) from None
        if self._size is not None:
            self.plan(*self._size)

    @property
    def threads(self) -> int:
        """Threads that share one frame's work."""
        return self._builder.threads

    @property
    def isa(self) -> str:
        """Instruction set that the kernel uses."""
        return self._builder.isa

    def plan(self, height: int, width: int) -> tuple[int, int, int, int]:
        """`(resized height, resized width, crop top, crop left)` of a frame size, in pixels.

        Raises:
            DefenseError: frames of that size cannot be served.
        """
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise DefenseError(
                f"frames of {width}x{height} px: expected sides of 1 to {MAX_SIDE} px"
            )
        try:
            return self._builder.plan(height, width)
        except ValueError as error:
            raise DefenseError(f"frames of {width}x{height} px: {error}") from None

    def effective_sigma(self, height: int, width: int) -> tuple[tuple[float, float], ...]:
        """Blur of each view on the backbone's grid, `(vertical, horizontal)` sigma in pixels.

        The square root of passes times the taps' second moment, scaled by the resize when the
        blur is at the frame: on large frames the views may nearly coincide.

        Raises:
            DefenseError: frames of that size cannot be served.
        """
        resized_h, resized_w, _, _ = self.plan(height, width)
        radius = self.defense.kernel_size // 2
        moment = sum(tap * (k - radius) ** 2 for k, tap in enumerate(self.defense.gaussian_taps()))
        at_frame = self.defense.blur_at == "frame"
        scale_h = resized_h / height if at_frame else 1.0
        scale_w = resized_w / width if at_frame else 1.0
        sigmas = [math.sqrt(passes * moment) for passes in self.defense.passes]
        return tuple((sigma * scale_h, sigma * scale_w) for sigma in sigmas)

    def build(
        self,
        frame: Frame | NDArray[np.uint8],
        out: NDArray[np.float32] | None = None,
        colour: Colour = "rgb",
        views: range | None = None,
    ) -> NDArray[np.float32]:
        """The views of one frame.

        Args:
            frame: a `Frame`, or its pixels; rows may be strided, pixels must be packed. Formats of
                cameras are read as they are: no frame is converted.
            out: `(views, 3, crop_h, crop_w)` float32, C-contiguous, to write to; None allocates.
            colour: what bare pixels are; a `Frame` knows its own. Views are always R, G, B.
            views: which of the defence's views to build, a range of step 1; None builds all.

        Returns:
            `out`, or the newly allocated array: float32, normalised by the defence's mean and std.

        Raises:
            FrameError: `frame` or `out` has another shape, dtype or layout.
            DefenseError: frames of that size cannot be served.
        """
        image = as_frame(frame, colour)
        first, last = self._range(views)
        if out is None:
            out = np.empty((last - first, 3, *self.defense.crop), np.float32)
        self._run(self._builder.build, image, out, first, last)
        return out

    def build_noise(
        self,
        frame: Frame | NDArray[np.uint8],
        out: NDArray[np.float32],
        views: range | None = None,
        colour: Colour = "rgb",
    ) -> float | None:
        """Builds views as `build` does, and estimates the frame's noise while it is in cache.

        `blurvote.runtime.noise.estimate_noise` of every eighth view row's row of the frame, over
        the columns that the clean view sees: `noise_grid` says which. The level is the same for all
        instruction sets, threads and choices of views, and costs a few hundredths of the views.

        Args:
            frame, out, views, colour: as `build`.

        Returns:
            The level in [0, 0.5] of the noise of the frame's own pixels, on the scale where R, G
            and B span [0, 1]; None where the frame has fewer than three rows, or the clean view
            sees fewer than 34 of its columns.

        Raises:
            FrameError: as `build`.
            DefenseError: as `build`, or the defence has no clean view.
        """
        self._expect_clean_view()
        image = as_frame(frame, colour)
        level: float = self._run(self._builder.build_noise, image, out, *self._range(views))
        return None if math.isnan(level) else level

    def noise_grid(self, height: int, width: int) -> tuple[NDArray[np.int64], int, int]:
        """Where `build_noise` samples frames of a size.

        Returns:
            The rows of the frame, rising, in the middle of the masks; the column of the first
            mask's left side; and the segments of 32 pixels of each row, 0 where there is no
            estimate.

        Raises:
            DefenseError: frames of that size cannot be served, or there is no clean view.
        """
        rows, begin, segments, _ = self._noise_grid(height, width)
        return np.array(rows, np.int64), begin, segments

    def noise_gain(self, height: int, width: int) -> float:
        """The level of white noise in the clean view by that in frames of a size, not normalised.

        The root of the mean over rows of their squared weights' sum, along both axes: a resize that
        shrinks averages noise away.

        Raises:
            DefenseError: frames of that size cannot be served, or there is no clean view.
        """
        return self._noise_grid(height, width)[3]

    def _noise_grid(self, height: int, width: int) -> tuple[list[int], int, int, float]:
        self._expect_clean_view()
        self.plan(height, width)  # refuses what cannot be served
        return self._builder.noise_grid(height, width)

    def _expect_clean_view(self) -> None:
        if self.defense.passes[0] != 0:
            raise DefenseError(
                "noise is estimated where the clean view lies, and the defence has none: its "
                f"passes are {self.defense.passes}; expected 0 as the first of them"
            )

    def _run(
        self,
        build: Callable[..., Any],
        image: Frame,
        out: NDArray[np.float32],
        first: int,
        last: int,
    ) -> Any:
        height, width = image.height, image.width
        if self._size is not None and (height, width) != self._size:
            raise FrameError(
                f"the frame is {width}x{height} px; this builder was made for "
                f"{self._size[1]}x{self._size[0]} px. Leave height and width out to accept any size"
            )
        _check_out(out, (last - first, 3, *self.defense.crop))
        left, top = image.window[:2] if image.window else (0, 0)
        try:
            return build(
                image.pixels,
                out,
                first,
                last,
                image.colour,
                (top, left, height, width),
                image.matrix == "bt709",
                image.range == "full",
            )
        except ValueError as error:
            raise DefenseError(f"frames of {width}x{height} px: {error}") from None

    def _range(self, views: range | None) -> tuple[int, int]:
        count = len(self.defense.passes)
        if views is None:
            return 0, count
        if views.step != 1 or not 0 <= views.start < views.stop <= count:
            raise DefenseError(f"views is {views!r}; expected a part of range({count})")
        return views.start, views.stop


def _check_out(out: Any, shape: tuple[int, ...]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.shape != shape:
        given = (
            f"shape {out.shape} and dtype {out.dtype}"
            if isinstance(out, np.ndarray)
            else f"type {type(out).__qualname__}"
        )
        raise FrameError(f"out has {given}; expected a numpy array of shape {shape} and float32")
    if not (out.flags.c_contiguous and out.flags.writeable):
        raise FrameError("out must be C-contiguous and writeable; numpy.empty makes such arrays")
