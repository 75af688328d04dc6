"""A guard's backbone without its defence: the baseline that the defence is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.errors import GuardError
from blurvote.runtime.frame import Colour
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["Undefended"]


class Undefended:
    """Classifies the first view alone, with the same kernel and the same session as a guard.

    Args:
        path: a guard of kind `views` whose first view is the clean one.
        settings: how it runs; None takes ONNX Runtime's CPU.

    Raises:
        GuardError: the guard is of another kind.
        ProviderError: the provider is not there, or is not what would run.
    """

    def __init__(self, path: str | Path, settings: EngineSettings | None = None) -> None:
        self.engine = open_engine(path, settings or EngineSettings("cpu"))
        metadata = GuardMetadata.from_map(self.engine.metadata, str(path))
        if metadata.kind != "views" or metadata.defense.passes[0] != 0:
            raise GuardError(
                f"{path} has no clean view to run alone; expected a views guard of one"
            )
        self.builder = ViewBuilder(metadata.defense, threads=self.engine.threads)
        self._view = np.empty((1, 3, *metadata.defense.crop), np.float32)

    def classify(self, frame: NDArray[np.uint8], colour: Colour = "rgb") -> int:
        """The label of a frame's uint8 pixels."""
        self.builder.build(frame, self._view, colour, range(1))
        return int(self.engine.run(self._view)[0].argmax())
