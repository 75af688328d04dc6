"""Collects the nodes and initialisers of one part of a guard, under one prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["GraphBuilder"]


class GraphBuilder:
    """Nodes and initialisers with names that read well in a graph viewer.

    Every node and its (only) output share one name, `prefix` + what the caller calls the step.
    Equal constants are stored once.

    Attributes:
        nodes: in the order in which they were added, which is topological.
        initializers: the constants that the nodes use.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._names: set[str] = set()
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def op(
        self, op_type: str, inputs: Sequence[str], name: str, output: str = "", **attributes: Any
    ) -> str:
        """Adds a node of one output and returns the output's name (`output`, when given)."""
        full = self._claim(name)
        result = output or full
        self.nodes.append(
            helper.make_node(op_type, list(inputs), [result], name=full, **attributes)
        )
        return result

    def constant(self, name: str, value: NDArray[Any] | Sequence[int] | int) -> str:
        """Adds an initialiser (Python integers as int64) and returns its name."""
        array = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else np.array(value)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            full = self._claim(name)
            self.initializers.append(numpy_helper.from_array(array.reshape(key[1]), full))
            self._constants[key] = full
        return self._constants[key]

    def parameter(self, name: str, value: float) -> str:
        """Adds a float32 scalar under exactly this name, so that it can be found and rewritten."""
        self.initializers.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    def _claim(self, name: str) -> str:
        full = self.prefix + name
        assert full not in self._names, f"two steps are called {full}"
        self._names.add(full)
        return full
