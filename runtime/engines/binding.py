"""Fixed device buffers, bound once and used again: what a GPU session is fastest with.

Without them every run allocates its input and outputs on the device, and a CUDA graph, which
replays the addresses that it was captured with, would go on to answer the first question.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Key", "Slot", "SlotPool", "key_of"]

KEPT_SHAPES = 8  # input shapes whose buffers are kept; frames of any size would fill the device

Key = tuple[tuple[int, ...], str, tuple[str, ...]]


def key_of(batch: NDArray[Any], outputs: Sequence[str]) -> Key:
    """What buffers depend on: the input's shape and dtype, and which outputs are wanted."""
    return batch.shape, batch.dtype.str, tuple(outputs)


class Slot:
    """The input and the outputs of one run on a device, in buffers that never move.

    For one thread at a time.

    Args:
        onnxruntime: the module.
        session: an `onnxruntime.InferenceSession`.
        device: `("cuda", number)` or `("cpu", 0)`, as `OrtValue` names devices.
        key: see `key_of`.
        graph: number of the CUDA graph that runs are captured as and replayed from; None for none.
    """

    def __init__(
        self,
        onnxruntime: ModuleType,
        session: Any,
        device: tuple[str, int],
        key: Key,
        graph: int | None = None,
    ) -> None:
        shape, dtype, self._outputs = key
        self._ort = onnxruntime
        self._session = session
        self._device = device
        self._input = self._buffer(shape, np.dtype(dtype))
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input(session.get_inputs()[0].name, self._input)
        self._direct = self._options(-1)  # runs without a graph where the provider captures some
        self._captured = self._direct if graph is None else self._options(graph)
        self._bound: list[Any] | None = None

    def _buffer(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        return self._ort.OrtValue.ortvalue_from_shape_and_type(
            list(shape), dtype.type, *self._device
        )

    def _options(self, graph: int) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options

    def upload(self, batch: NDArray[Any]) -> None:
        """Copies a batch of this slot's shape and dtype to the device; done on return."""
        self._input.update_inplace(np.ascontiguousarray(batch))

    def run(self, captured: bool = True) -> None:
        """One run on what was uploaded; done on return.

        Args:
            captured: whether it may be captured as, or replayed from, the CUDA graph.
        """
        if self._bound is None:
            self._bind_outputs()
        options = self._captured if captured else self._direct
        self._session.run_with_iobinding(self._binding, options)

    def _bind_outputs(self) -> None:
        """Lets one run place its outputs where it likes, to learn their shapes."""
        for name in self._outputs:
            self._binding.bind_output(name, *self._device)
        self._session.run_with_iobinding(self._binding, self._direct)
        arrays = self._binding.copy_outputs_to_cpu()
        self._bound = [self._buffer(array.shape, array.dtype) for array in arrays]
        for name, value in zip(self._outputs, self._bound, strict=True):
            self._binding.bind_ortvalue_output(name, value)

    def download(self) -> list[NDArray[Any]]:
        """Copies of the outputs, in the order of the key."""
        arrays: list[NDArray[Any]] = self._binding.copy_outputs_to_cpu()
        return arrays


class SlotPool:
    """Slots by key, lent to one caller at a time; as many of each as were ever wanted at once.

    Args:
        make: a new slot for a key.
        shapes: keys whose slots are kept.
    """

    def __init__(self, make: Any, shapes: int = KEPT_SHAPES) -> None:
        self._make = make
        self._shapes = shapes
        self._idle: OrderedDict[Key, list[Slot]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, key: Key) -> Iterator[Slot]:
        """A slot for the caller alone. One that was in a run that failed is not used again."""
        with self._lock:
            idle = self._idle.get(key)
            slot = idle.pop() if idle else None
        slot = slot or self._make(key)
        yield slot
        with self._lock:
            self._idle.setdefault(key, []).append(slot)
            self._idle.move_to_end(key)
            while len(self._idle) > self._shapes:
                self._idle.popitem(last=False)

    def close(self) -> None:
        """Lets go of all slots: of the idle ones now, of the others as they come back."""
        with self._lock:
            self._shapes = 0
            self._idle.clear()
