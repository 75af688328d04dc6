"""OpenCV for the views, ONNX Runtime with its default options for the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blurvote.benchmarks.latency.peers import views_opencv
from blurvote.benchmarks.latency.peers.needs import Progress, Skip
from blurvote.benchmarks.latency.peers.peer import Floats, Peer
from blurvote.runtime.defense import Defense
from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.errors import ProviderError

__all__ = ["load"]


def load(path: Path, defense: Defense, progress: Progress, skip: Skip | None) -> list[Peer]:
    """Both ways that OpenCV's users have to make views, on one session.

    Raises:
        ProviderError: onnxruntime is missing, or cannot load the model.
    """
    ort = import_onnxruntime()
    progress("loading ONNX Runtime's session")
    try:
        session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # pybind's exceptions have no common base
        text = " ".join(str(error).split())[:300]
        raise ProviderError(f"{path} cannot be loaded by ONNX Runtime: {text}") from error
    input_name = session.get_inputs()[0].name

    def infer(views: Floats) -> Floats:
        return np.asarray(session.run(None, {input_name: views})[0])

    batch = f"batch of {len(defense.passes)}"
    return [
        Peer(
            f"{way.name} + ONNX Runtime, {batch}",
            "opencv-ort",
            f"{way.layout}; float32 NCHW, a {batch}",
            # It does not report the number behind its default.
            f"{way.threads}, ONNX Runtime's default (one per physical core)",
            way,
            infer,
        )
        for way in views_opencv.ways(defense)
    ]
