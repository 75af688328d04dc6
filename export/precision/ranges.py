"""Ranges of activations, from histograms that ONNX Runtime's calibrator collects.

One pass over the pictures serves all methods. The calibrator is given one picture at a time, which
keeps its memory to that of one (it stores every activation of all that it is given at once); and
its graph is on disk only in a temporary folder.

Of the methods that ONNX Runtime offers, `entropy` is left out: beside `minmax`, its mean KL
divergence from fp32 was 3 times as large on a MobileNetV2 and 20 times on a ResNet50, and finding
its ranges took over a minute.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import VIEWS
from blurvote.export.ort_session import one_line
from blurvote.export.precision.options import Method
from blurvote.runtime.errors import ExportError

__all__ = ["Histograms", "Ranges", "collect", "ranges_by"]

Ranges = dict[str, tuple[float, float]]
"""Name of a tensor to the smallest and the largest value to represent."""

BINS = 2048  # of a tensor's first picture; later pictures add bins of the same width


class Histograms:
    """Histograms of activations, by tensor.

    Attributes:
        collector: ONNX Runtime's `HistogramCollector`, filled.
    """

    def __init__(self, collector: Any) -> None:
        self.collector = collector

    def items(self) -> Iterator[tuple[str, NDArray[Any], NDArray[Any], float, float]]:
        """Name, counts `(B,)`, edges `(B + 1,)`, smallest and largest value of each tensor."""
        for name, entry in self.collector.get_histogram_dict().items():
            yield name, entry[0], entry[1], float(entry[2]), float(entry[3])


def collect(
    model: onnx.ModelProto,
    op_types: Iterable[str],
    views: Iterable[NDArray[np.float32]],
    say: Callable[[str], None],
) -> Histograms:
    """Runs the views of each picture, and counts the inputs and outputs of these operators.

    Args:
        model: a folded backbone.
        op_types: operators whose tensors matter.
        views: `(V, 3, h, w)` of one picture after another.

    Raises:
        ExportError: the calibrator failed, or an activation is not finite.
    """
    from onnxruntime.quantization.calibrate import PercentileCalibrater

    class Reader:
        """One picture's views, then no more."""

        def __init__(self, batch: NDArray[np.float32]) -> None:
            self._batches = iter([{VIEWS: batch}])

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._batches, None)

    with tempfile.TemporaryDirectory(prefix="blurvote-") as folder:
        file = Path(folder) / "backbone.onnx"
        onnx.save(model, file)
        calibrator = PercentileCalibrater(
            file,
            op_types_to_calibrate=list(op_types),
            augmented_model_path=str(Path(folder) / "augmented.onnx"),
            num_bins=BINS,
        )
        calibrator.augment_graph()
        calibrator.create_inference_session()
        for number, batch in enumerate(views, start=1):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # it prints for every call
                    calibrator.collect_data(Reader(batch))
            except Exception as error:  # NumPy's, its own or ONNX Runtime's
                raise ExportError(
                    f"picture {number} of the calibration cannot be run: {one_line(error)}"
                ) from error
            if number % 10 == 0:
                say(f"ranges of activations: {number} pictures")
    return Histograms(calibrator.collector)


def ranges_by(method: Method, histograms: Histograms, symmetric: bool = False) -> Ranges:
    """The range of each tensor; it always includes 0.

    Args:
        method: how it is found.
        histograms: of the tensors.
        symmetric: whether the quantiser will widen ranges to be symmetric about 0.
    """
    if method == "mse":
        return {
            name: _least_error(counts, edges, low, high, symmetric)
            for name, counts, edges, low, high in histograms.items()
        }
    if method == "minmax":
        return {
            name: (min(low, 0.0), max(high, 0.0)) for name, _, _, low, high in histograms.items()
        }
    collector = histograms.collector
    collector.percentile = float(method.removeprefix("percentile-"))
    with contextlib.redirect_stdout(io.StringIO()):
        found: Mapping[str, Any] = collector.compute_percentile()
    return {
        name: (min(float(entry[0]), 0.0), max(float(entry[1]), 0.0))
        for name, entry in found.items()
    }


def _least_error(
    counts: NDArray[Any], edges: NDArray[Any], low: float, high: float, symmetric: bool
) -> tuple[float, float]:
    """The range of least expected squared error in 8 bits.

    What lies outside is clipped; what lies inside is rounded to steps of `s`, which costs
    `s^2 / 12` each. Zeros cost nothing: they are a step of every range.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        low, high = min(low, -high), max(high, -low)
    values = (edges[:-1] + edges[1:]) / 2
    zeros = counts[np.abs(values) <= (edges[1] - edges[0]) / 2].sum()
    parts = np.linspace(0.1, 1.0, 46)
    above = np.array([(counts * np.maximum(values - high * part, 0) ** 2).sum() for part in parts])
    below = np.array([(counts * np.maximum(low * part - values, 0) ** 2).sum() for part in parts])
    steps = (high * parts[:, None] - low * parts[None, :]) / 255
    errors = above[:, None] + below[None, :] + (counts.sum() - zeros) * steps**2 / 12
    if symmetric:
        errors[~np.eye(len(parts), dtype=bool)] = np.inf
    above_at, below_at = np.unravel_index(errors.argmin(), errors.shape)
    return low * float(parts[below_at]), high * float(parts[above_at])
