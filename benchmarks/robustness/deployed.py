"""The deployed guard as the lab asks it: logits of every view, then the guard's own decision.

The same engine, view kernel, vote and decision as `blurvote.runtime.Guard` (a test compares the
two), but what a verdict hides stays visible: the logits, and the views that a decision ignores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.decision import (
    Ballot,
    Outcome,
    decide_majority,
    decide_mean,
    threshold_in_force,
)
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import GuardError
from blurvote.runtime.frame import check_pixels
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder
from blurvote.runtime.vote import majority_vote

__all__ = ["Deployed", "has_quantised_operators"]

Logits = NDArray[np.float32]
# Weights alone may be stored in 8 bits (DequantizeLinear without its counterpart): those are float.
_QUANTISED = (
    "QuantizeLinear",
    "DynamicQuantize",
    "QLinear",
    "QGemm",
    "QAttention",
    "ConvInteger",
    "MatMulInteger",
)


class Deployed:
    """A guard file, loaded for measurement.

    Args:
        path: a guard of either kind.
        settings: how it runs, see `EngineSettings`; None takes the defaults.
        threshold: of the decision `mean`, in [0, 1]; None takes the guard's own.

    Attributes:
        path, metadata, defense, labels: what was loaded.
        classes: number of classes.
        provider, compute: what runs, and in which arithmetic.
        quantised: whether the backbone has quantised operators, which have no gradients.

    Raises:
        GuardError: not a guard; or it decides by `mean` and there is no threshold, or by another
            decision and there is one.
        ProviderError: the provider is not there.
    """

    def __init__(
        self,
        path: str | Path,
        settings: EngineSettings | None = None,
        threshold: float | None = None,
    ) -> None:
        self.path = Path(path)
        self._engine = open_engine(path, settings)
        self.provider = self._engine.provider
        self.compute = self._engine.compute
        self.metadata = GuardMetadata.from_map(self._engine.metadata, str(path))
        self.defense = self.metadata.defense
        self.labels = self.metadata.labels
        self.threshold = threshold_in_force(self.defense, threshold, path)
        self._builders: dict[Defense, ViewBuilder] = {}
        self.classes = self._count_classes()

    def _count_classes(self) -> int:
        crop = self.defense.crop
        if self.metadata.kind == "views":
            return int(self.view_logits(np.zeros((1, 3, *crop), np.float32)).shape[1])
        # Of the crop's shape, so that it can be cut, and no smaller than the widest kernel.
        scale = -(-64 // min(crop))
        height, width = self.metadata.frame_size or (scale * crop[0], scale * crop[1])
        return int(self.logits(np.full((height, width, 3), 128, np.uint8)).shape[1])

    def logits(self, pixels: NDArray[np.uint8], defense: Defense | None = None) -> Logits:
        """Logits `(V, C)` of the views of a `(H, W, 3)` uint8 RGB frame.

        All views of `defense.passes`, even where its decision uses one; but a `frames` guard that
        decides by `single` only has that one.

        Args:
            pixels: the frame.
            defense: other views than the guard's own; only a `views` guard can have them.

        Raises:
            FrameError, DefenseError, GuardError: as `Guard.classify`.
        """
        check_pixels(pixels)
        if self.metadata.kind == "frames":
            if defense not in (None, self.defense):
                self.refuse_other_views()
            self._check_size(*pixels.shape[:2])
            answers = self._engine.run(np.ascontiguousarray(pixels)[None], ["logits"])[0]
            return np.asarray(answers[0], np.float32)
        return self.view_logits(self._builder(defense or self.defense).build(pixels))

    def _check_size(self, height: int, width: int) -> None:
        size = self.metadata.frame_size or (height, width)
        if (height, width) != size:
            raise GuardError(
                f"a frame of {width}x{height} px does not fit: this frames guard takes frames of "
                f"{size[1]}x{size[0]} px. Export with --input views for any size"
            )
        # A dynamic graph makes invalid views of a frame that it cannot serve; the planner says why.
        self._builder(self.defense).plan(height, width)

    def view_logits(self, views: NDArray[np.float32]) -> Logits:
        """Logits `(B, C)` of normalised views `(B, 3, h, w)` that were built elsewhere.

        Raises:
            GuardError: the guard builds its views itself.
        """
        if self.metadata.kind == "frames":
            self.refuse_other_views()
        return np.asarray(self._engine.run(views, ["logits"])[0], np.float32)

    def refuse_other_views(self) -> None:
        """Says why a `frames` guard cannot be given views.

        Raises:
            GuardError: always.
        """
        raise GuardError(
            f"{self.path} builds its views in its graph, so it only takes 8-bit frames and its own "
            f"views; export the same model with --input views for this measurement"
        )

    def _builder(self, defense: Defense) -> ViewBuilder:
        if defense not in self._builders:
            self._builders[defense] = ViewBuilder(defense)
        return self._builders[defense]

    def decide(self, logits: Logits) -> Outcome:
        """The guard's verdict on the logits of a frame, as `logits` gives them."""
        views = self.defense.views
        used = logits if len(logits) == len(views) else logits[list(views)]
        votes = majority_vote(used[None])
        labels = tuple(int(label) for label in votes.view_labels[0])
        ballot = Ballot(used, labels, int(votes.labels[0]), int(votes.counts[0]), len(labels))
        if self.defense.decision == "mean":
            assert self.threshold is not None  # checked on loading
            return decide_mean(ballot, self.threshold)
        return decide_majority(ballot)

    @property
    def quantised(self) -> bool:
        """Whether the graph holds quantised operators.

        Raises:
            ProviderError: onnx is missing.
        """
        return has_quantised_operators(self.path)

    def close(self) -> None:
        """Releases the session."""
        self._engine.close()


def has_quantised_operators(path: Path) -> bool:
    """Whether an ONNX file computes in integers.

    Raises:
        ProviderError: onnx is missing.
    """
    from blurvote.benchmarks.optional import require

    (onnx,) = require("reading the graph", ("onnx",), "onnx")
    model: Any = onnx.load(str(path), load_external_data=False)
    return any(node.op_type.startswith(_QUANTISED) for node in model.graph.node)
