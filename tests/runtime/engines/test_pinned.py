"""Page-locked arrays, from a stand-in for the CUDA runtime."""

from __future__ import annotations

import ctypes
import gc

import numpy as np
import pytest

from blurvote.runtime.engines.pinned import PinnedMemory


class Function:
    """A C function that takes notes."""

    def __init__(self, call):
        self.call = call

    def __call__(self, *arguments):
        return self.call(*arguments)


class Runtime:
    """Gives out real memory, and knows what was taken and given back."""

    def __init__(self, status=0):
        self.status = status
        self.blocks = {}
        self.cudaHostAlloc = Function(self._take)
        self.cudaFreeHost = Function(self._free)
        self.cudaSetDevice = Function(self._set_device)
        self.cudaGetLastError = Function(self._last_error)
        self.last_error = self.device = 0

    def _take(self, address, size, flags):
        if self.status == 0:
            block = ctypes.create_string_buffer(size)
            address._obj.value = ctypes.addressof(block)
            self.blocks[ctypes.addressof(block)] = block
        self.last_error = self.status
        return self.status

    def _set_device(self, device):
        self.device = device
        return 0

    def _last_error(self):
        last, self.last_error = self.last_error, 0
        return last

    def _free(self, address):
        del self.blocks[address]
        return 0


@pytest.fixture
def runtime(monkeypatch):
    made = Runtime()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    return made


def test_arrays_lie_in_memory_of_the_runtime_until_their_last_view_is_gone(runtime):
    memory = PinnedMemory("libcudart.so.13")
    array = memory.empty((2, 3, 5), np.float32)
    assert memory.state == "pinned"
    assert (array.shape, array.dtype, array.flags.c_contiguous) == ((2, 3, 5), np.float32, True)
    assert [*runtime.blocks] == [array.ctypes.data]
    array[...] = np.arange(30).reshape(2, 3, 5)
    view = array[1]
    del array
    gc.collect()
    assert view.tolist() == np.arange(15, 30).reshape(3, 5).tolist()
    assert runtime.blocks
    del view
    gc.collect()
    assert not runtime.blocks


def test_an_empty_array_needs_no_memory(runtime):
    assert PinnedMemory("libcudart.so.13").empty((0, 3), np.uint8).shape == (0, 3)
    assert not runtime.blocks


def test_a_runtime_that_refuses_leaves_ordinary_memory_and_says_so(runtime):
    runtime.status = 2
    memory = PinnedMemory("libcudart.so.13")
    array = memory.empty((4,), np.uint8)
    array[...] = 7
    assert array.tolist() == [7, 7, 7, 7]
    assert memory.state == "pageable: cudaHostAlloc of 4 bytes answered 2"
    assert runtime.last_error == 0  # else onnxruntime would find it after its next kernel


def test_another_thread_may_give_up_meanwhile(runtime):
    memory = PinnedMemory("libcudart.so.13")
    runtime.cudaSetDevice.call = lambda device: memory._give_up("in the other thread") or 0
    assert memory.empty((4,), np.uint8).shape == (4,)


def test_memory_is_taken_on_the_gpu_that_it_is_for(runtime):
    PinnedMemory("libcudart.so.13", 3).empty((4,), np.uint8)
    assert runtime.device == 3


@pytest.mark.parametrize("library", [None, "libno-such-runtime.so.13"])
def test_without_a_runtime_memory_is_ordinary_and_says_so(library):
    memory = PinnedMemory(library)
    assert memory.empty((2, 2), np.uint8).shape == (2, 2)
    assert memory.state.startswith("pageable: ")
