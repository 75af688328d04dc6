"""Memory that batches are built in, kept from one call to the next."""

from __future__ import annotations

import threading
from typing import Any

from numpy.typing import DTypeLike, NDArray

from blurvote.runtime.engines.protocol import Engine

__all__ = ["BatchBuffer"]


class BatchBuffer:
    """One array per calling thread, of the kind that the engine uploads fastest, grown as needed.

    Args:
        engine: gives the memory.
        dtype: of the items.
    """

    def __init__(self, engine: Engine, dtype: DTypeLike) -> None:
        self._engine = engine
        self._dtype = dtype
        self._local = threading.local()

    def take(self, count: int, item: tuple[int, ...]) -> NDArray[Any]:
        """`(count, *item)` values, undefined, good until this thread's next call."""
        buffer: NDArray[Any] | None = getattr(self._local, "buffer", None)
        if buffer is None or len(buffer) < count or buffer.shape[1:] != item:
            buffer = self._engine.host_buffer((count, *item), self._dtype)
            self._local.buffer = buffer
        return buffer[:count]
