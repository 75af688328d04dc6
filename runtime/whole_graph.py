"""Runs a `frames` guard, whose graph builds the views and votes by itself."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.batch_buffer import BatchBuffer
from blurvote.runtime.decision import Ballot
from blurvote.runtime.engines.protocol import Engine
from blurvote.runtime.errors import GuardError
from blurvote.runtime.frame import Frame
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.times import Times
from blurvote.runtime.views import ViewBuilder

__all__ = ["WholeGraphRunner"]

_OUTPUTS = ("logits", "label", "count", "view_labels")
_NOISE = "noise"


class WholeGraphRunner:
    """Feeds `(N, H, W, 3)` uint8 RGB frames to a `frames` guard and reads its votes.

    The graph knows RGB alone: frames of other formats are converted first, each in a pass over the
    whole frame.

    Raises:
        GuardError: the defence has views of their own for noisy frames, but the graph does not tell
            how noisy a frame is.
    """

    def __init__(self, engine: Engine, metadata: GuardMetadata) -> None:
        self.engine = engine
        self.size = metadata.frame_size
        self._buffer = BatchBuffer(engine, np.uint8)
        # A dynamic graph makes invalid views of a frame it cannot serve; the planner says why.
        self._planner = ViewBuilder(metadata.defense)
        self._defense = metadata.defense
        self._outputs: tuple[str, ...] = _OUTPUTS
        if _NOISE in engine.output_names:
            self._outputs += (_NOISE,)
        elif self._defense.adaptive:
            raise GuardError(
                f"this frames guard has views for noisy frames "
                f"({', '.join(self._defense.noisy_views)}) but no output {_NOISE!r}; export it "
                "again"
            )

    def batched(self, frames: Sequence[Frame], times: Times) -> list[Ballot]:
        """All views of all frames in one inference.

        Raises:
            GuardError: the frames differ in size, or are not of the guard's size.
            DefenseError: a guard of dynamic size cannot serve frames of this one.
        """
        started = time.perf_counter()
        batch = self._stack(frames)
        stacked = time.perf_counter()
        logits, labels, counts, view_labels, *levels = self.engine.run(batch, self._outputs)
        ran = time.perf_counter()
        noise = [_level(value) for value in levels[0].tolist()] if levels else [None] * len(frames)
        gain = self._planner.noise_gain(*batch.shape[1:3]) if self._defense.adaptive else 0.0
        ballots = [
            Ballot(
                frame_logits,
                tuple(voted),
                label,
                count,
                frame_logits.shape[0],
                level,
                self._denoised(level, gain),
            )
            for frame_logits, voted, label, count, level in zip(
                logits, view_labels.tolist(), labels.tolist(), counts.tolist(), noise, strict=True
            )
        ]
        times.views += (stacked - started) * 1e3
        times.inference += (ran - stacked) * 1e3
        times.vote += (time.perf_counter() - ran) * 1e3
        return ballots

    def _denoised(self, level: float | None, gain: float) -> bool:
        """Which set of views the graph took, by its own comparison in float32."""
        if level is None or not self._defense.adaptive:
            return False
        on_grid = np.float32(level) * np.float32(gain)
        return bool(on_grid >= np.float32(self._defense.noise_switch[1]))

    def _stack(self, frames: Sequence[Frame]) -> NDArray[np.uint8]:
        """One contiguous RGB batch; a single RGB frame is passed on without a copy."""
        size = self.size or (frames[0].height, frames[0].width)
        self._planner.plan(*size)
        for frame in frames:
            height, width = frame.height, frame.width
            if (height, width) != size:
                takes = "frames of" if self.size else "frames of one size per call, here"
                raise GuardError(
                    f"a frame of {width}x{height} px does not fit: this frames guard takes {takes} "
                    f"{size[1]}x{size[0]} px. Export with --input views for any size"
                )
        if len(frames) == 1 and frames[0].colour == "rgb":
            return np.ascontiguousarray(frames[0].as_rgb())[None]
        from blurvote.runtime.conversion import to_rgb  # loads OpenCV

        batch = self._buffer.take(len(frames), (*size, 3))
        for to, frame in zip(batch, frames, strict=True):
            to_rgb(frame, to)
        return batch


def _level(value: float) -> float | None:
    return None if math.isnan(value) else value
