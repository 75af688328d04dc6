"""Fills the views of frames: by the kernel, and for noisy frames also by the denoiser."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.batch_buffer import BatchBuffer
from blurvote.runtime.denoising import Denoiser
from blurvote.runtime.engines.protocol import Engine
from blurvote.runtime.errors import GuardError
from blurvote.runtime.frame import Frame
from blurvote.runtime.noise_switch import Judge, NoiseSwitch, by_source
from blurvote.runtime.times import Times
from blurvote.runtime.views import ViewBuilder

__all__ = ["SeenFrame", "ViewSupply"]


@dataclass(eq=False)
class SeenFrame:
    """A frame whose noise is known, and with it which views it has.

    Attributes:
        frame: the frame.
        noise: its noise level in [0, 1] RGB units; None where there is no estimate.
        level: the same on the backbone's grid, of an adaptive defence.
        noisy: whether its views are those of noisy frames.
        denoised: `(K, 3, h, w)` float32, one for each of `Defense.denoised_kinds`, if it is.
    """

    frame: Frame
    noise: float | None
    level: float | None = None
    noisy: bool = False
    denoised: NDArray[np.float32] | None = None


class ViewSupply:
    """Views of quiet and of noisy frames, in one batch. May be shared by several threads.

    Which of its two sets of views a frame has is decided once, when its first views are filled.

    Args:
        builder: makes the views that are not denoised, and estimates noise.
        engine: gives the memory of the batches.
        denoiser: makes the others; needed where the builder's defence is adaptive.

    Raises:
        GuardError: it is needed and missing.
    """

    def __init__(
        self, builder: ViewBuilder, engine: Engine, denoiser: Denoiser | None = None
    ) -> None:
        self.builder = builder
        self._defense = builder.defense
        if self._defense.adaptive and denoiser is None:
            raise GuardError(
                f"views {', '.join(self._defense.noisy_views)} need a denoiser, and none was given"
            )
        self._denoiser = denoiser
        self._switch = NoiseSwitch(*self._defense.noise_switch)
        self._noisy_kinds = self._defense.kinds(noisy=True)
        self._denoised_kinds = self._defense.denoised_kinds
        self._has_clean = self._defense.passes[0] == 0  # where noise is estimated
        self._buffer = BatchBuffer(engine, np.float32)

    def first(
        self, frames: Sequence[Frame], views: range, times: Times, judge: Judge = by_source
    ) -> tuple[list[SeenFrame], NDArray[np.float32]]:
        """The first views of frames, and what each frame turned out to be.

        Every frame's noise is estimated while the views of a quiet frame are built, in one pass
        over its pixels; those of a noisy one then take their place.

        Args:
            frames: checked.
            views: indices of the views, of either set.
            times: to add to.
            judge: tells which frames are noisy.

        Returns:
            One `SeenFrame` per frame, and views `(len(frames) * len(views), 3, h, w)` float32,
            frame by frame, good until this thread's next call.
        """
        started = time.perf_counter()
        batch = self._take(len(frames), views)
        seen = []
        for frame, out in zip(frames, batch, strict=True):
            one = self._built(frame, out, views)
            one.noisy = self._defense.adaptive and judge(self._switch, one.level, frame.source)
            seen.append(one)
        built = time.perf_counter()
        times.views += (built - started) * 1e3
        noisy = [n for n, one in enumerate(seen) if one.noisy]
        if noisy:
            self._make_noisy([seen[n] for n in noisy], [batch[n] for n in noisy], views)
            times.denoise += (time.perf_counter() - built) * 1e3
        return seen, _flat(batch)

    def more(self, seen: Sequence[SeenFrame], views: range, times: Times) -> NDArray[np.float32]:
        """Further views of frames from `first`, in the same layout; it adds to `times`."""
        started = time.perf_counter()
        batch = self._take(len(seen), views)
        for one, out in zip(seen, batch, strict=True):
            if one.noisy:
                self._fill_noisy(one, out, views, built=False)
            else:
                self.builder.build(one.frame, out, views=views)
        times.views += (time.perf_counter() - started) * 1e3
        return _flat(batch)

    def shown(self, frame: Frame, views: range, noisy: bool) -> NDArray[np.float32]:
        """Views of one frame to look at: of the set that is asked for, whatever the switch says.

        Returns:
            `(len(views), 3, h, w)` float32, normalised, the caller's own.

        Raises:
            GuardError: views of a noisy frame, where its noise cannot be estimated.
        """
        out = np.empty((len(views), 3, *self._defense.crop), np.float32)
        one = self._built(frame, out, views)
        if noisy:
            if one.level is None:
                raise GuardError(
                    f"a frame of {frame.width}x{frame.height} px has no views of noisy frames: its "
                    "noise cannot be estimated, or the guard has none"
                )
            self._make_noisy([one], [out], views)
        return out

    def _built(self, frame: Frame, out: NDArray[np.float32], views: range) -> SeenFrame:
        """Builds the views of a quiet frame, and tells its noise."""
        if not self._has_clean:
            self.builder.build(frame, out, views=views)
            return SeenFrame(frame, None)
        noise = self.builder.build_noise(frame, out, views)
        if noise is None or not self._defense.adaptive:
            return SeenFrame(frame, noise)
        return SeenFrame(frame, noise, noise * self.builder.noise_gain(frame.height, frame.width))

    def _make_noisy(
        self, noisy: Sequence[SeenFrame], built: Sequence[NDArray[np.float32]], views: range
    ) -> None:
        """Denoises frames, and puts their views in place of those `built` as of quiet ones."""
        # The first view of an adaptive defence is the clean one.
        clean = [out[0] if views.start == 0 else None for out in built]
        self._denoise(noisy, clean)
        for one, out in zip(noisy, built, strict=True):
            self._fill_noisy(one, out, views, built=True)

    def _take(self, frames: int, views: range) -> NDArray[np.float32]:
        """`(frames, views, 3, h, w)`, undefined."""
        height, width = self._defense.crop
        flat = self._buffer.take(frames * len(views), (3, height, width))
        return flat.reshape(frames, len(views), 3, height, width)

    def _denoise(
        self, noisy: Sequence[SeenFrame], clean: Sequence[NDArray[np.float32] | None]
    ) -> None:
        """Denoises noisy frames in one inference.

        Args:
            noisy: the frames.
            clean: the clean view `(3, h, w)` of each; None where it was not built, as the decision
                `"single"` does not use it.
        """
        assert self._denoiser is not None  # checked when this was made
        inputs = self._denoiser.inputs(len(noisy))
        for one, view, into in zip(noisy, clean, inputs, strict=True):
            if view is None:
                self.builder.build(one.frame, into[None, :3], views=range(1))
            else:
                into[:3] = view
            into[3] = one.level
        for one, denoised in zip(noisy, self._denoiser.run(inputs), strict=True):
            one.denoised = denoised

    def _fill_noisy(
        self, one: SeenFrame, batch: NDArray[np.float32], views: range, built: bool
    ) -> None:
        """Puts the views of a noisy frame in their slots.

        Args:
            one: the frame, denoised.
            batch: `(len(views), 3, h, w)` to write to.
            views: the slots.
            built: whether `batch` holds these views as a quiet frame has them; the one that is the
                same in both sets stays.
        """
        assert one.denoised is not None
        for out, view in zip(batch, views, strict=True):
            kind = self._noisy_kinds[view]
            if kind.denoised:
                out[...] = one.denoised[self._denoised_kinds.index(kind)]
                continue
            plain = self._defense.passes.index(kind.passes)
            if not (built and plain == view):
                self.builder.build(one.frame, out[None], views=range(plain, plain + 1))


def _flat(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    return batch.reshape(-1, *batch.shape[2:])
