"""Runs a `frames` guard, whose graph builds the views and votes by itself."""

from __future__ import annotations

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
from blurvote.runtime.plans import Times
from blurvote.runtime.views import ViewBuilder

__all__ = ["WholeGraphRunner"]

_OUTPUTS = ("logits", "label", "count", "view_labels")


class WholeGraphRunner:
    """Feeds `(N, H, W, 3)` uint8 RGB frames to a `frames` guard and reads its votes.

    The graph knows RGB alone: frames of other formats are converted first, each in a pass over the
    whole frame.
    """

    def __init__(self, engine: Engine, metadata: GuardMetadata) -> None:
        self.engine = engine
        self.size = metadata.frame_size
        self._buffer = BatchBuffer(engine, np.uint8)
        # A dynamic graph makes invalid views of a frame it cannot serve; the planner says why.
        self._planner = ViewBuilder(metadata.defense)

    def batched(self, frames: Sequence[Frame], times: Times) -> list[Ballot]:
        """All views of all frames in one inference.

        Raises:
            GuardError: the frames differ in size, or are not of the guard's size.
            DefenseError: a guard of dynamic size cannot serve frames of this one.
        """
        started = time.perf_counter()
        batch = self._stack(frames)
        stacked = time.perf_counter()
        logits, labels, counts, view_labels = self.engine.run(batch, _OUTPUTS)
        ran = time.perf_counter()
        ballots = [
            Ballot(frame_logits, tuple(voted), label, count, frame_logits.shape[0])
            for frame_logits, voted, label, count in zip(
                logits, view_labels.tolist(), labels.tolist(), counts.tolist(), strict=True
            )
        ]
        times.views += (stacked - started) * 1e3
        times.inference += (ran - stacked) * 1e3
        times.vote += (time.perf_counter() - ran) * 1e3
        return ballots

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
