"""Opens the engine that settings ask for: the only place that knows them all."""

from __future__ import annotations

from pathlib import Path

from blurvote.runtime.engines.onnx_metadata import require_file
from blurvote.runtime.engines.protocol import Engine, EngineSettings
from blurvote.runtime.errors import ProviderError

__all__ = ["open_engine"]


def open_engine(path: str | Path, settings: EngineSettings | None = None) -> Engine:
    """Loads an ONNX file on the provider that was asked for.

    Args:
        path: the ONNX file.
        settings: None takes the defaults.

    Raises:
        GuardError: the file is missing, or is no model that the engine can load.
        ProviderError: the provider is not installed, does not come up, or has not the compute or
            an option that was asked for.
    """
    settings = settings or EngineSettings()
    path = require_file(path)
    # Imported when needed: none of these libraries is there on every machine.
    if settings.provider == "openvino":
        from blurvote.runtime.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(path, settings)
    if settings.provider == "tensorrt":
        from blurvote.runtime.engines.tensorrt import TensorRtEngine

        return TensorRtEngine(path, settings)
    if settings.provider == "cuda":
        from blurvote.runtime.engines.cuda import CudaEngine

        return CudaEngine(path, settings)
    if settings.provider == "auto":
        return _automatic(path, settings)
    from blurvote.runtime.engines.ort import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, settings)


def _automatic(path: Path, settings: EngineSettings) -> Engine:
    """CUDA where it works, else the CPU. TensorRT builds for minutes, so it must be asked for."""
    from blurvote.runtime.engines.cuda import CudaEngine
    from blurvote.runtime.engines.ort import OnnxRuntimeEngine, import_onnxruntime

    if CudaEngine.EXECUTION_PROVIDER in import_onnxruntime().get_available_providers():
        try:
            return CudaEngine(path, settings)
        except ProviderError:
            pass  # a GPU wheel on a machine without a GPU, or without its driver
    return OnnxRuntimeEngine(path, settings)
