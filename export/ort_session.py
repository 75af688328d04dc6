"""ONNX Runtime sessions over graphs in memory, for checks at export time."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.runtime.engines.ort import import_onnxruntime
from blurvote.runtime.errors import ExportError
from blurvote.runtime.machine import usable_cores

__all__ = ["Session", "one_line"]


class Session:
    """A graph, loaded on the CPU and ready to run.

    Args:
        proto: the graph; it is not changed.
        origin: how to call it in errors.

    Attributes:
        inputs: of the graph, each with a name, a type and a shape.
        input_name: of the first one.

    Raises:
        ExportError: ONNX Runtime cannot load it.
        ProviderError: onnxruntime is not installed.
    """

    def __init__(self, proto: onnx.ModelProto, origin: str) -> None:
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.log_severity_level = 4  # failures arrive as exceptions; nothing else is of interest
        options.intra_op_num_threads = usable_cores()
        self._origin = origin
        try:
            self._session = ort.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # pybind's exceptions have no common base
            raise ExportError(f"ONNX Runtime cannot load {origin}: {one_line(error)}") from error
        self.inputs: list[Any] = self._session.get_inputs()
        self.input_name: str = self.inputs[0].name

    def run(self, batch: NDArray[Any], *outputs: str) -> list[NDArray[Any]]:
        """The named outputs (none named: all) for the one input `batch`.

        Raises:
            ExportError: ONNX Runtime failed.
        """
        return self.feed({self.input_name: batch}, *outputs)

    def feed(self, feeds: dict[str, NDArray[Any]], *outputs: str) -> list[NDArray[Any]]:
        """The same for several inputs, by their names."""
        try:
            results = self._session.run(list(outputs) or None, feeds)
        except Exception as error:
            shape = next(iter(feeds.values())).shape
            raise ExportError(
                f"{self._origin} fails on an input of shape {shape}: {one_line(error)}"
            ) from error
        return [np.asarray(result) for result in results]


def one_line(error: Exception) -> str:
    """An exception's text on one line, cut to 300 characters."""
    return " ".join(str(error).split())[:300]
