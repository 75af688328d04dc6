"""What the driver and TensorRT are asked for, with stand-ins that answer as they would."""

from __future__ import annotations

import ctypes

import pytest

from blurvote.runtime import ProviderError
from blurvote.runtime.engines.nvidia import Gpu, ask_gpu, tensorrt_version


class Driver:
    """Two H100s under a driver for CUDA 13.1."""

    def cuInit(self, flags):
        return 0

    def cuDeviceGet(self, handle, number):
        handle._obj.value = number + 40
        return 0 if number < 2 else 101

    def cuDeviceGetName(self, name, size, handle):
        name.value = f"NVIDIA H100 {handle.value}".encode()
        return 0

    def cuDeviceGetAttribute(self, value, attribute, handle):
        value._obj.value = {75: 9, 76: 0}[attribute]
        return 0

    def cuDriverGetVersion(self, value):
        value._obj.value = 13010
        return 0


@pytest.fixture
def driver(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())


def test_the_gpu_is_asked_for_what_an_engine_depends_on(driver):
    assert ask_gpu(1) == Gpu("NVIDIA H100 41", "9.0", "13.1")


def test_a_gpu_that_is_not_there_is_an_error(driver):
    with pytest.raises(ProviderError, match="answers cuDeviceGet with error 101"):
        ask_gpu(2)


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(ProviderError, match=r"driver is missing \(libcuda\.so\.1: cannot open"):
        ask_gpu()


@pytest.mark.parametrize(
    ("number", "version"), [(101601, "10.16.1"), (100001, "10.0.1"), (8601, "8.6.1")]
)
def test_the_version_of_tensorrt_is_read_from_its_number(number, version, monkeypatch):
    class TensorRt:
        def getInferLibVersion(self):
            return number

    monkeypatch.setattr(ctypes, "CDLL", lambda name: TensorRt())
    assert tensorrt_version("libnvinfer.so.10") == version


def test_a_tensorrt_that_cannot_be_asked_is_an_error():
    with pytest.raises(ProviderError, match=r"libc\.so\.6 cannot be asked for its version"):
        tensorrt_version("libc.so.6")
