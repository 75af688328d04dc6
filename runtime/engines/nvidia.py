"""What the NVIDIA driver and TensorRT say of themselves, asked through their C interfaces.

ONNX Runtime tells none of this, and an engine that TensorRT built is good for exactly this GPU,
this TensorRT and a driver that can run it.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from blurvote.runtime.errors import ProviderError

__all__ = ["Gpu", "ask_gpu", "tensorrt_version"]

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True)
class Gpu:
    """One GPU.

    Attributes:
        name: as the driver has it, such as `"NVIDIA H100 80GB HBM3"`.
        compute_capability: such as `"9.0"`.
        driver_cuda: the newest CUDA that the driver can run, such as `"13.0"`.
    """

    name: str
    compute_capability: str
    driver_cuda: str


def ask_gpu(device: int = 0) -> Gpu:
    """The GPU of that number.

    Raises:
        ProviderError: there is no driver, or no such GPU.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise ProviderError(
            f"the NVIDIA driver is missing ({error}); install it, or start the container with "
            "--gpus all"
        ) from error
    handle, number = ctypes.c_int(), ctypes.c_int()
    _call(driver, "cuInit", 0)
    _call(driver, "cuDeviceGet", ctypes.byref(handle), device)
    name = ctypes.create_string_buffer(256)
    _call(driver, "cuDeviceGetName", name, len(name), handle)
    capability = []
    for attribute in (_MAJOR, _MINOR):
        _call(driver, "cuDeviceGetAttribute", ctypes.byref(number), attribute, handle)
        capability.append(str(number.value))
    _call(driver, "cuDriverGetVersion", ctypes.byref(number))
    cuda = f"{number.value // 1000}.{number.value % 1000 // 10}"
    return Gpu(name.value.decode(), ".".join(capability), cuda)


def _call(driver: Any, function: str, *arguments: Any) -> None:
    status = getattr(driver, function)(*arguments)
    if status:
        raise ProviderError(
            f"the NVIDIA driver answers {function} with error {status}: no usable GPU of that "
            "number; nvidia-smi -L lists them, CUDA_VISIBLE_DEVICES may hide them"
        )


def tensorrt_version(library: str) -> str:
    """The version of TensorRT, such as `"10.16.1"`.

    Args:
        library: the one that ONNX Runtime links, such as `"libnvinfer.so.10"`; loaded before.

    Raises:
        ProviderError: it cannot be loaded.
    """
    try:
        number = int(ctypes.CDLL(library).getInferLibVersion())
    except (OSError, AttributeError) as error:
        raise ProviderError(f"{library} cannot be asked for its version: {error}") from error
    # Two digits each for minor and patch from TensorRT 10 on, one and two before.
    major, rest = divmod(number, 10_000 if number >= 100_000 else 1_000)
    return f"{major}.{rest // 100}.{rest % 100}"
