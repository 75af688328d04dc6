"""Opens the engine that settings ask for: the only place that knows them all."""

from __future__ import annotations

from blurvote.runtime.engines.model_bytes import Model, ModelBytes
from blurvote.runtime.engines.onnx_metadata import require_file
from blurvote.runtime.engines.protocol import Engine, EngineSettings
from blurvote.runtime.errors import ProviderError

__all__ = ["open_engine"]


def open_engine(model: Model, settings: EngineSettings | None = None) -> Engine:
    """Loads an ONNX model on the provider that was asked for.

    Args:
        model: the path of an ONNX file, or a model in memory.
        settings: None takes the defaults.

    Raises:
        GuardError: the file is missing, or is no model that the engine can load.
        ProviderError: the provider is not installed, does not come up, or has not the compute or
            an option that was asked for.
    """
    settings = settings or EngineSettings()
    if not isinstance(model, ModelBytes):
        model = require_file(model)
    # Imported when needed: none of these libraries is there on every machine.
    if settings.provider == "openvino":
        from blurvote.runtime.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(model, settings)
    if settings.provider == "tensorrt":
        from blurvote.runtime.engines.tensorrt import TensorRtEngine

        return TensorRtEngine(model, settings)
    if settings.provider == "cuda":
        from blurvote.runtime.engines.cuda import CudaEngine

        return CudaEngine(model, settings)
    if settings.provider == "auto":
        return _automatic(model, settings)
    from blurvote.runtime.engines.ort import OnnxRuntimeEngine

    return OnnxRuntimeEngine(model, settings)


def _automatic(model: Model, settings: EngineSettings) -> Engine:
    """CUDA where it works, else the CPU. TensorRT builds for minutes, so it must be asked for."""
    from blurvote.runtime.engines.cuda import CudaEngine
    from blurvote.runtime.engines.ort import OnnxRuntimeEngine, import_onnxruntime

    if CudaEngine.EXECUTION_PROVIDER in import_onnxruntime().get_available_providers():
        try:
            return CudaEngine(model, settings)
        except ProviderError:
            pass  # a GPU wheel on a machine without a GPU, or without its driver
    return OnnxRuntimeEngine(model, settings)
