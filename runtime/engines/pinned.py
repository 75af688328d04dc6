"""Arrays in page-locked memory, from which a GPU copies directly.

ONNX Runtime's Python interface gives such memory for a *plugin* provider alone, by
`OrtValue.ortvalue_from_shape_and_type(memory_info=device.memory_info(HOST_ACCESSIBLE))`: the GPU
wheels on PyPI register CUDA the built-in way and list no such device (1.31.1), and no version takes
`"cuda_pinned"` as a device. So it is taken from the CUDA runtime that ONNX Runtime has loaded.
"""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["PinnedMemory"]


class PinnedMemory:
    """Page-locked host memory of one CUDA runtime.

    Where the runtime cannot give any (its library is not loaded, or the system has no more of it),
    arrays lie in ordinary memory, which only costs time; `state` says so.

    Args:
        library: name of the CUDA runtime, such as `"libcudart.so.13"`.
        device: the GPU's number. On any other, the runtime would make itself at home there, too.

    Attributes:
        state: `"pinned"`, or `"pageable: "` and why.
    """

    def __init__(self, library: str | None, device: int = 0) -> None:
        self.state = "pinned"
        self._device = device
        self._runtime: Any = None
        try:
            if library is None:
                raise OSError("the provider needs no CUDA runtime")
            self._runtime = ctypes.CDLL(library)
            self._runtime.cudaHostAlloc.argtypes = (
                ctypes.POINTER(ctypes.c_void_p),
                ctypes.c_size_t,
                ctypes.c_uint,
            )
            self._runtime.cudaFreeHost.argtypes = (ctypes.c_void_p,)
        except (OSError, AttributeError) as error:
            self._give_up(str(error))

    def empty(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """A C-contiguous array of that shape, of undefined values; freed with its last view."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        runtime = self._runtime  # which another thread may give up meanwhile
        if runtime is None or size == 0:
            return np.empty(shape, kind)
        address = ctypes.c_void_p()
        status = runtime.cudaSetDevice(self._device)
        status = status or runtime.cudaHostAlloc(ctypes.byref(address), size, 0)
        if status or not address.value:
            runtime.cudaGetLastError()  # forgets it; the next kernel would be blamed for it
            self._give_up(f"cudaHostAlloc of {size} bytes answered {status}")
            return np.empty(shape, kind)
        memory = (ctypes.c_uint8 * size).from_address(address.value)
        weakref.finalize(memory, runtime.cudaFreeHost, address.value)
        array: NDArray[Any] = np.ctypeslib.as_array(memory).view(kind).reshape(shape)
        return array

    def _give_up(self, why: str) -> None:
        self._runtime = None
        self.state = f"pageable: {why}"
