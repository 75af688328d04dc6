"""Memory that batches are built in."""

from __future__ import annotations

import threading

import numpy as np

from blurvote.runtime.batch_buffer import BatchBuffer


class Memory:
    """An engine as far as buffers go."""

    def __init__(self):
        self.given = []

    def host_buffer(self, shape, dtype):
        self.given.append(shape)
        return np.empty(shape, dtype)


def test_memory_is_kept_until_more_or_another_shape_is_wanted():
    engine = Memory()
    buffer = BatchBuffer(engine, np.float32)
    first = buffer.take(3, (2, 5))
    assert (first.shape, first.dtype) == ((3, 2, 5), np.float32)
    assert np.shares_memory(first, buffer.take(1, (2, 5)))
    assert np.shares_memory(first, buffer.take(3, (2, 5)))
    buffer.take(4, (2, 5))
    buffer.take(4, (5, 2))
    assert engine.given == [(3, 2, 5), (4, 2, 5), (4, 5, 2)]


def test_each_thread_has_its_own():
    buffer = BatchBuffer(Memory(), np.uint8)
    mine = buffer.take(1, (4,))
    others = []
    thread = threading.Thread(target=lambda: others.append(buffer.take(1, (4,))))
    thread.start()
    thread.join()
    assert not np.shares_memory(mine, others[0])
