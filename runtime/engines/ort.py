"""ONNX Runtime: its CPU provider, and what its other providers share with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from blurvote.runtime.engines.model_bytes import Model, ModelBytes
from blurvote.runtime.engines.protocol import Compute, EngineSettings, Provider, Steps
from blurvote.runtime.errors import GuardError, ProviderError
from blurvote.runtime.machine import onnxruntime_advice, usable_cores

__all__ = ["Chain", "OnnxRuntimeEngine", "import_onnxruntime"]

Chain = list[tuple[str, dict[str, str]]]


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        ProviderError: none is installed, or one in part; the message names the wheel for this
            machine.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"onnxruntime cannot be imported ({error}); {onnxruntime_advice(gpu=False)}"
        ) from error
    module: ModuleType = onnxruntime
    if not hasattr(module, "InferenceSession"):
        # onnxruntime and onnxruntime-gpu share a folder: removing one leaves a part of the other.
        raise ProviderError(
            "onnxruntime is there in part only, as when one of its wheels was removed after "
            "another was installed; pip uninstall onnxruntime onnxruntime-gpu, and then "
            f"{onnxruntime_advice(gpu=False)}"
        )
    return module


class OnnxRuntimeEngine:
    """An `Engine` on ONNX Runtime; this class runs on the CPU.

    A subclass for another provider sets the class attributes and overrides `_chain`, and as much
    else of the underscored methods as it needs.

    Args:
        model: the path of an ONNX file, or a model in memory.
        settings: see `EngineSettings`; the CPU has no options.

    Attributes:
        provider, compute, threads, metadata, input_name, output_names: see `Engine`.

    Raises:
        GuardError: ONNX Runtime cannot load the file.
        ProviderError: the provider is not in the installed wheel, does not come up, or has not the
            compute or an option that was asked for.
    """

    PROVIDER: ClassVar[Provider] = "cpu"
    EXECUTION_PROVIDER: ClassVar[str] = "CPUExecutionProvider"
    DEVICE: ClassVar[str] = "cpu"  # where inputs and outputs live, as OrtValue calls it
    COMPUTES: ClassVar[tuple[Compute, ...]] = ("fp32",)

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        self._source = model
        self._path = str(model)  # or what errors call a model without one
        self._settings = settings
        self.provider = self.PROVIDER
        self.compute = settings.compute
        self.threads = settings.threads or usable_cores()
        self._ort = import_onnxruntime()
        self._check()
        self._session: Any = self._create()
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.input_name: str = self._session.get_inputs()[0].name
        self.output_names: list[str] = [output.name for output in self._session.get_outputs()]

    # ---- what a subclass may override ----

    def _check(self) -> None:
        """Refuses settings that this provider does not have, before anything is loaded."""
        self._settings.refuse_others(self.COMPUTES, ())

    def _chain(self) -> Chain:
        """ONNX Runtime's providers in order of preference, with their options."""
        return [(self.EXECUTION_PROVIDER, {})]

    def _model(self) -> str | bytes:
        """The file that the session loads, or its bytes."""
        return self._source.data if isinstance(self._source, ModelBytes) else self._path

    def _session_options(self) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions
        spin = str(int(self._settings.spin))
        options.add_session_config_entry("session.intra_op.allow_spinning", spin)
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _create(self) -> Any:
        """A session that really has the provider first; ONNX Runtime itself would fall back."""
        available = self._ort.get_available_providers()
        if self.EXECUTION_PROVIDER not in available:
            raise ProviderError(
                f"provider {self.provider!r} was asked for, but onnxruntime "
                f"{self._ort.__version__} here only has {', '.join(available)}; "
                f"{onnxruntime_advice(gpu=True)}"
            )
        chain = [entry for entry in self._chain() if entry[0] in available]
        try:
            session = self._ort.InferenceSession(
                self._model(), self._session_options(), providers=chain, enable_fallback=0
            )
        except Exception as error:  # pybind's exceptions have no common base
            raise self._refusal(" ".join(str(error).split())) from error
        runs = session.get_providers()
        if runs[0] != self.EXECUTION_PROVIDER:
            raise ProviderError(
                f"provider {self.provider!r} was asked for, but {runs[0]} is what would run: its "
                "driver or libraries are missing; see blurvote doctor"
            )
        return session

    def _refusal(self, text: str) -> GuardError | ProviderError:
        """Whose fault it is that there is no session: the file's or the provider's."""
        if self.provider == "cpu" or "protobuf" in text.lower():
            return GuardError(
                f"{self._path} cannot be loaded as an ONNX model ({text[:300]}). "
                "Is it truncated, or not an ONNX file? Export it again"
            )
        return ProviderError(
            f"provider {self.provider!r} does not come up: {text[:300]}; see blurvote doctor"
        )

    # ---- the protocol ----

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """The options of each provider in the session, as ONNX Runtime reports them."""
        options: dict[str, dict[str, str]] = self._session.get_provider_options()
        return options

    def host_buffer(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """See `Engine`."""
        return np.empty(shape, dtype)

    def close(self) -> None:
        """See `Engine`."""
        self._session = None

    def run(self, batch: NDArray[Any], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """See `Engine`."""
        try:
            results: list[NDArray[Any]] = self._session.run(outputs, {self.input_name: batch})
        except Exception as error:
            raise self._failure(batch, error) from error
        return results

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """See `Engine`."""
        try:
            started = time.perf_counter()
            on_device = self._ort.OrtValue.ortvalue_from_numpy(batch, self.DEVICE, 0)
            copied = time.perf_counter()
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(self.input_name, on_device)
            for name in outputs or self.output_names:
                binding.bind_output(name, self.DEVICE, 0)
            self._session.run_with_iobinding(binding)
            binding.synchronize_outputs()
            ran = time.perf_counter()
            results: list[NDArray[Any]] = binding.copy_outputs_to_cpu()
            ended = time.perf_counter()
        except Exception as error:
            raise self._failure(batch, error) from error
        return results, Steps((copied - started) * 1e3, (ran - copied) * 1e3, (ended - ran) * 1e3)

    def _failure(self, batch: NDArray[Any], error: Exception) -> GuardError:
        text = " ".join(str(error).split())
        return GuardError(f"{self._path} failed on an input of shape {batch.shape}: {text[:300]}")
