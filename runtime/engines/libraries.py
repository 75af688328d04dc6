"""Shared libraries behind ONNX Runtime's GPU providers: which are missing, and what brings them.

ONNX Runtime loads a provider's library when the first session asks for it, and where one of its
dependencies is missing says so on stderr and runs on the CPU. So the dependencies are read from the
library itself and loaded first, from where the system or pip keeps them.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from blurvote.runtime.engines.elf import dependencies
from blurvote.runtime.errors import ProviderError
from blurvote.runtime.machine import is_jetson

__all__ = ["explain_failure", "load_dependencies", "provider_library"]

_NVIDIA = re.compile(r"lib(cu\w+|nv\w+)\.so\.(\d+)[.\d]*")
_CUDNN = "libcudnn.so.9"  # from 1.28 on loaded when the first convolution runs, not before
_WHEELS = {  # library to the package that carries it; up to CUDA 12 with the suffix -cuNN
    "cublas": "nvidia-cublas",
    "cublasLt": "nvidia-cublas",
    "cudart": "nvidia-cuda-runtime",
    "cufft": "nvidia-cufft",
    "curand": "nvidia-curand",
    "nvrtc": "nvidia-cuda-nvrtc",
}
_FAILURES = {  # CUDA's error numbers that are about the machine and not about the guard
    2: "the GPU's memory is full; nvidia-smi shows who has it, and the option gpu_mem_limit or a "
    "smaller batch takes less",
    35: "the NVIDIA driver is older than the CUDA that this onnxruntime was built for, or there is "
    "none; install a newer driver (nvidia-smi prints the newest CUDA that a driver can run)",
    100: "there is no NVIDIA GPU that this process may use; start a container with --gpus all, and "
    "see that CUDA_VISIBLE_DEVICES does not hide the GPU",
    101: "there is no GPU of that number; nvidia-smi -L lists them, the option device_id chooses",
    209: "this onnxruntime has no kernels for this GPU; on a Jetson install NVIDIA's own wheel",
}


def provider_library(onnxruntime: Path, provider: str) -> Path:
    """Where the onnxruntime package in that folder keeps the library of a provider."""
    return onnxruntime / "capi" / f"libonnxruntime_providers_{provider}.so"


def load_dependencies(
    provider: str, libraries: Sequence[Path], version: str, cudnn: bool = True
) -> None:
    """Loads the NVIDIA libraries that a provider needs, from the system or from pip's packages.

    Args:
        provider: as in `EngineSettings`, for the message.
        libraries: of the ONNX Runtime providers that will run; one that is not there needs nothing.
        version: of onnxruntime, for the message.
        cudnn: whether convolutions need cuDNN.

    Raises:
        ProviderError: some are missing; the message has each, and the lines that bring them.
    """
    found = [name for path in libraries if path.is_file() for name in dependencies(path)]
    names = list(dict.fromkeys(name for name in found if _NVIDIA.fullmatch(name)))
    if names and cudnn and not any("cudnn" in name for name in names):
        names.append(_CUDNN)
    missing = names
    while missing:
        left = [name for name in missing if not _load(name)]
        if len(left) == len(missing):
            raise ProviderError(_diagnosis(provider, left, names, version))
        missing = left  # one may have waited for another


def _load(name: str) -> bool:
    for place in (name, *map(str, _in_packages(name))):
        try:
            ctypes.CDLL(place, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return True
    return False


def _in_packages(pattern: str) -> list[Path]:
    """Where pip's NVIDIA packages keep libraries of that name."""
    folders = ("nvidia/*/lib", "tensorrt_libs")
    return [
        found
        for entry in map(Path, sys.path)
        for folder in folders
        for found in sorted(entry.glob(f"{folder}/{pattern}"))
    ]


def _diagnosis(provider: str, missing: Sequence[str], names: Sequence[str], version: str) -> str:
    cuda = next((_major(name) for name in names if name.startswith("libcudart.")), 13)
    tensorrt = [name for name in missing if name.startswith("libnv") and "nvrtc" not in name]
    lines = []
    if any(name.startswith("libcuda.") for name in missing):
        lines.append(
            "libcuda.so.1 comes with the NVIDIA driver: install it, or start the container with "
            + ("--runtime nvidia" if is_jetson() else "--gpus all (NVIDIA Container Toolkit)")
        )
    others = [name for name in missing if not name.startswith("libcuda.")]
    if others and is_jetson():
        lines.append("sudo apt install nvidia-jetpack")
    elif others:
        wheels = sorted({_wheel(name, cuda) for name in others})
        lines.append(f"pip install {' '.join(wheels)}")
    if tensorrt and (other := _other_tensorrt(tensorrt[0])):
        lines.insert(
            0,
            f"TensorRT {other} is installed, but onnxruntime {version} links "
            f"{tensorrt[0]} and cannot use it; put TensorRT {_major(tensorrt[0])} in its place",
        )
    return f"provider {provider!r} cannot start: {', '.join(missing)} not found. {'. '.join(lines)}"


def _major(name: str) -> int:
    match = _NVIDIA.fullmatch(name)
    return int(match[2]) if match else 0


def _wheel(name: str, cuda: int) -> str:
    """The pip requirement that brings a library."""
    stem = name[3:].split(".")[0]
    suffix = "" if cuda >= 13 else f"-cu{cuda}"
    if stem == "cudnn":
        return f"'nvidia-cudnn-cu{cuda}=={_major(name)}.*'"
    if stem in _WHEELS:
        return f"'{_WHEELS[stem]}{suffix}=={_major(name)}.*'"
    return f"'tensorrt-cu{cuda}<{_major(name) + 1}'"


def _other_tensorrt(name: str) -> int | None:
    """The major version of a TensorRT that is there in place of the one that is needed."""
    wanted = _major(name)
    found = {_major(path.name) for path in _in_packages("libnvinfer.so.*")}
    for major in sorted({wanted + 1, wanted - 1, *found} - {0, wanted}, reverse=True):
        if major in found or _load(f"libnvinfer.so.{major}"):
            return major
    return None


def explain_failure(text: str) -> str | None:
    """What CUDA's error number in an ONNX Runtime message means, and what helps; None without."""
    match = re.search(r"CUDA (?:failure|error) (\d+)", text)
    return _FAILURES.get(int(match[1])) if match else None
