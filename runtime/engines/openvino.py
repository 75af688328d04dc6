"""OpenVINO on the CPU: float32, and bfloat16 or float16 where the processor has them.

One model of dynamic batch is compiled, not one per batch size: measured on MobileNetV2 and
ResNet50, the fixed sizes 1, 2 and 3 are no faster, and changing between sizes costs nothing after
the first run of each.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Sequence
from io import BytesIO
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from blurvote.runtime.engines.model_bytes import Model, ModelBytes
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.engines.protocol import Compute, EngineSettings, Provider, Steps
from blurvote.runtime.errors import GuardError, ProviderError
from blurvote.runtime.machine import usable_cores

__all__ = ["OpenVinoEngine", "openvino_version", "shared_core"]

DEVICE = "CPU"

# OpenVINO's name of each arithmetic, and the capability that a processor must have for it. Without
# being told, OpenVINO takes bf16 wherever there is one.
_PRECISIONS: dict[Compute, tuple[str, str]] = {
    "fp32": ("f32", "FP32"),
    "bf16": ("bf16", "BF16"),
    "fp16": ("f16", "FP16"),
}
_SETTINGS = {  # properties that settings of every engine stand for
    "INFERENCE_PRECISION_HINT": "compute",
    "EXECUTION_MODE_HINT": "compute",
    "INFERENCE_NUM_THREADS": "threads",
}
_OF_THE_CORE = ("CACHE_DIR", "CACHE_MODE")  # taken by every device, listed by none


def openvino_version() -> str | None:
    """The installed OpenVINO's version, without importing it; None where there is none."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def _import_openvino() -> ModuleType:
    try:
        import openvino
        import openvino.frontend
    except ImportError as error:
        raise ProviderError(
            f"openvino cannot be imported ({error}); pip install 'blurvote[openvino]'"
        ) from error
    module: ModuleType = openvino
    return module


@functools.cache
def shared_core() -> Any:
    """One core for the life of the process.

    OpenVINO's CPU plugin gives the thread that makes it another stack for signals, and takes that
    stack from whichever thread drops it last. Were that another one, the first thread's next signal
    (Python handles its own on that stack) would end the process.

    Raises:
        ProviderError: openvino is not installed.
    """
    return _import_openvino().Core()


class OpenVinoEngine:
    """An `Engine` on OpenVINO's CPU device.

    OpenVINO's threads sleep between runs whatever `settings.spin` says, and there are no more of
    them than processors. Its intermediate memory is one set per calling thread.

    Args:
        model: the path of an ONNX file, or a model in memory.
        settings: see `EngineSettings`. Options are the device's writable properties by OpenVINO's
            names (`ENABLE_CPU_PINNING`, `NUM_STREAMS`, ...), and `CACHE_DIR`, a folder in which
            compiled models are kept: whoever can write there decides what runs.

    Attributes:
        provider, compute, threads, metadata, input_name, output_names: see `Engine`.

    Raises:
        GuardError: OpenVINO cannot read the file, or cannot run its graph.
        ProviderError: openvino is not installed, the processor has not the compute, or an option
            is unknown or refused.
    """

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        self._path = str(model)  # or what errors call a model without one
        self.provider: Provider = "openvino"
        self.compute = settings.compute
        self._openvino = _import_openvino()
        core = shared_core()
        properties = self._properties(core, settings)
        network = self._read(model)
        self.metadata = read_metadata(model)
        self.input_name: str = network.inputs[0].any_name
        self.output_names: list[str] = [output.any_name for output in network.outputs]
        self._compiled = self._compile(core, network, properties)
        self.threads = int(self._compiled.get_property("INFERENCE_NUM_THREADS"))
        self._local = threading.local()  # an infer request per calling thread

    def _properties(self, core: Any, settings: EngineSettings) -> dict[str, Any]:
        """What the model is compiled with; refuses what cannot be."""
        listed = core.get_property(DEVICE, "SUPPORTED_PROPERTIES")
        writable = [str(name) for name, mode in listed.items() if mode != "RO"]
        known = {*writable, *_OF_THE_CORE} - set(_SETTINGS)
        for name in settings.options:
            if name in _SETTINGS:
                raise ProviderError(
                    f"option {name!r} is what the setting {_SETTINGS[name]!r} is for; use that"
                )
        settings.refuse_others(_PRECISIONS, known)
        precision, capability = _PRECISIONS[settings.compute]
        has = core.get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
        if capability not in has:
            able = [compute for compute, (_, needs) in _PRECISIONS.items() if needs in has]
            raise ProviderError(
                f"this processor cannot compute in {settings.compute}: OpenVINO finds "
                f"{', '.join(able)} on it ({core.get_property(DEVICE, 'FULL_DEVICE_NAME')})"
            )
        cores = usable_cores()
        threads = settings.threads or cores
        return {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            # Pinned, a few threads would sit on the first cores, as those of every other process
            # that uses a few: a sweep's workers would all share one core.
            "ENABLE_CPU_PINNING": threads >= cores,
            # Else products with weights stored in 8 bits would round their inputs to 8 bits, too.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            **settings.options,
        }

    def _read(self, source: Model) -> Any:
        """The model by the ONNX frontend alone: `Core.read_model` would try every format."""
        given = BytesIO(source.data) if isinstance(source, ModelBytes) else self._path
        try:
            frontend = self._openvino.frontend.FrontEndManager().load_by_framework("onnx")
            model = frontend.convert(frontend.load(given))
        except Exception as error:  # pybind's exceptions have no common base
            said = _text(error)
            if "parse" in said or "binary protobuf" in said:  # of a file, of bytes
                raise self._not_a_model(said) from error
            raise GuardError(
                f"OpenVINO cannot run {self._path} ({said}); provider 'cpu' is ONNX Runtime"
            ) from error
        if len(model.inputs) != 1:
            raise self._not_a_model(f"it has {len(model.inputs)} inputs")
        return model

    def _not_a_model(self, said: str) -> GuardError:
        return GuardError(
            f"{self._path} cannot be loaded as an ONNX model ({said}). "
            "Is it truncated, or not an ONNX file? Export it again"
        )

    def _compile(self, core: Any, model: Any, properties: dict[str, Any]) -> Any:
        try:
            compiled = core.compile_model(model, DEVICE, properties)
        except Exception as error:
            said = _text(error)
            for name, value in properties.items():
                if name in said or (name in _OF_THE_CORE and str(value) in said):
                    raise ProviderError(
                        f"option {name!r} is {value!r}, which OpenVINO {openvino_version()} "
                        f"refuses: {said}"
                    ) from error
            raise GuardError(
                f"OpenVINO cannot run {self._path} ({said}); provider 'cpu' is ONNX Runtime"
            ) from error
        runs = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if runs != properties["INFERENCE_PRECISION_HINT"]:
            raise ProviderError(
                f"compute {self.compute!r} was asked for, but OpenVINO would run {runs}"
            )
        return compiled

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """The compiled model's properties, as OpenVINO reports them."""
        names = [str(name) for name in self._compiled.get_property("SUPPORTED_PROPERTIES")]
        listed = {
            name: str(self._compiled.get_property(name))
            for name in names
            if name != "SUPPORTED_PROPERTIES"
        }
        return {DEVICE: listed}

    def host_buffer(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """See `Engine`."""
        return np.empty(shape, dtype)

    def close(self) -> None:
        """See `Engine`."""
        self._local = threading.local()
        self._compiled = None

    def run(self, batch: NDArray[Any], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """See `Engine`."""
        return self.run_in_steps(batch, outputs)[0]

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """See `Engine`; the input is read in place."""
        try:
            started = time.perf_counter()
            request = self._request()
            # It only reads them, but takes no array that it could not write to.
            held = np.require(batch, requirements=["C", "W"])
            request.set_input_tensor(self._openvino.Tensor(held, shared_memory=True))
            given = time.perf_counter()
            request.infer()
            ran = time.perf_counter()
            results: list[NDArray[Any]] = [
                request.get_tensor(name).data.copy() for name in outputs or self.output_names
            ]
            ended = time.perf_counter()
        except Exception as error:
            raise GuardError(
                f"{self._path} failed on an input of shape {batch.shape}: {_text(error)}"
            ) from error
        return results, Steps((given - started) * 1e3, (ran - given) * 1e3, (ended - ran) * 1e3)

    def _request(self) -> Any:
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        return request


def _text(error: Exception) -> str:
    """What OpenVINO says, without the places in its source where it passed."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith("Exception from src/")]
    return " ".join(" ".join(kept or lines).split())[:300]
