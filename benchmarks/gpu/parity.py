"""Whether a device computes what the CPU computes: every output of a guard, on the same batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.engines.registry import open_engine
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.views import ViewBuilder

__all__ = ["compare"]

Pixels = NDArray[np.uint8]


def compare(
    path: Path, settings: EngineSettings, metadata: GuardMetadata, frames: list[Pixels]
) -> dict[str, Any]:
    """The largest differences of each output from ONNX Runtime's CPU, frame by frame.

    Returns:
        By output: for floats the largest absolute difference over the range of the CPU's values
        (`of_range`) and how many of its best classes differ, with the largest margin, over the
        range, at which one did; for integers how many values differ.
    """
    builder = ViewBuilder(metadata.defense)
    here, there = open_engine(path, EngineSettings("cpu")), open_engine(path, settings)
    found: dict[str, dict[str, Any]] = {}
    try:
        for frame in frames:
            batch: NDArray[Any] = frame[None]
            if metadata.kind == "views":
                batch = builder.build(frame, views=metadata.defense.views)
            pairs = zip(here.run(batch), there.run(batch), strict=True)
            for name, (expected, got) in zip(here.output_names, pairs, strict=True):
                _add(found.setdefault(name, {}), expected, got)
    finally:
        here.close()
        there.close()
    return found


def _add(facts: dict[str, Any], expected: NDArray[Any], got: NDArray[Any]) -> None:
    facts["values"] = facts.get("values", 0) + expected.size
    if expected.dtype.kind != "f":
        facts["differing"] = facts.get("differing", 0) + int((expected != got).sum())
        return
    span = float(np.ptp(expected)) or 1.0
    worst = float(np.abs(expected.astype(np.float64) - got).max()) / span
    facts["of_range"] = max(facts.get("of_range", 0.0), worst)
    flips = expected.argmax(-1) != got.argmax(-1)
    facts["flips"] = facts.get("flips", 0) + int(flips.sum())
    if flips.any():
        best = np.sort(expected, axis=-1)
        margin = float((best[..., -1] - best[..., -2])[flips].max()) / span
        facts["flip_margin_of_range"] = max(facts.get("flip_margin_of_range", 0.0), margin)
