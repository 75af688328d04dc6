"""An ONNX Runtime session on the provider that was asked for, or an error."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from numpy.typing import NDArray

from blurvote.runtime.errors import GuardError, ProviderError
from blurvote.runtime.machine import onnxruntime_advice, usable_cores

__all__ = ["Engine", "Provider", "Steps", "import_onnxruntime"]

Provider = Literal["auto", "cpu", "cuda", "tensorrt"]

_NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}


def import_onnxruntime() -> ModuleType:
    """The onnxruntime module.

    Raises:
        ProviderError: none is installed; the message names the wheel for this machine.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ProviderError(
            f"onnxruntime cannot be imported ({error}); {onnxruntime_advice(gpu=False)}"
        ) from error
    module: ModuleType = onnxruntime
    return module


@dataclass(frozen=True)
class Steps:
    """Milliseconds of one inference and of its copies to and from the device."""

    copy_in: float
    inference: float
    copy_out: float


class Engine:
    """One ONNX model, loaded and ready to run.

    Args:
        path: the ONNX file.
        provider: `"cpu"`, `"cuda"` or `"tensorrt"` run there or raise; `"auto"` is CUDA where it
            works and the CPU elsewhere (TensorRT builds engines for minutes, so it must be asked
            for).
        threads: threads of one inference; None takes the usable physical cores.
        spin: whether idle threads spin between the operators of one run. They stop when it ends,
            so that a camera pipeline's other threads get the cores.

    Attributes:
        provider: what runs: `"cpu"`, `"cuda"` or `"tensorrt"`.
        threads: threads of one inference.
        metadata: the model's ONNX metadata entries.

    Raises:
        GuardError: the file is missing or ONNX Runtime cannot load it.
        ProviderError: the provider is unknown, not installed, or does not come up.
    """

    def __init__(
        self,
        path: str | Path,
        provider: Provider = "auto",
        threads: int | None = None,
        spin: bool = True,
    ) -> None:
        if provider not in (*_NAMES, "auto"):
            raise ProviderError(
                f"provider is {provider!r}; expected one of 'auto', 'cpu', 'cuda', 'tensorrt'"
            )
        if threads is not None and not (type(threads) is int and 1 <= threads <= 256):
            raise ProviderError(
                f"threads is {threads!r}; expected an integer from 1 to 256, or None"
            )
        if not Path(path).is_file():
            raise GuardError(
                f"{path} is not a file; expected an ONNX file written by blurvote export"
            )
        self._ort = import_onnxruntime()
        self._path = str(path)
        self.threads = threads or usable_cores()
        self._options = self._session_options(spin)
        self.provider = provider if provider != "auto" else "cpu"
        self._session: Any
        if provider == "auto" and _NAMES["cuda"] in self._ort.get_available_providers():
            try:
                self._session = self._create("cuda")
                self.provider = "cuda"
            except ProviderError:
                self._session = self._create("cpu")
        else:
            self._session = self._create(self.provider)
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map
        self.input_name: str = self._session.get_inputs()[0].name
        self.output_names: list[str] = [output.name for output in self._session.get_outputs()]

    def _session_options(self, spin: bool) -> Any:
        options = self._ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach the caller as exceptions
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return options

    def _create(self, provider: str) -> Any:
        """A session that really has `provider` first; ONNX Runtime itself would fall back."""
        name = _NAMES[provider]
        available = self._ort.get_available_providers()
        if name not in available:
            raise ProviderError(
                f"provider {provider!r} was asked for, but onnxruntime {self._ort.__version__} "
                f"here only has {', '.join(available)}; {onnxruntime_advice(gpu=True)}"
            )
        chain: list[Any] = [name]
        if provider == "tensorrt" and _NAMES["cuda"] in available:
            chain.append(_NAMES["cuda"])
        # TF32 would quietly shorten float32's mantissa to 10 bits.
        chain = [
            (entry, {"use_tf32": "0"}) if entry == _NAMES["cuda"] else entry for entry in chain
        ]
        try:
            session = self._ort.InferenceSession(self._path, self._options, providers=chain)
        except Exception as error:  # pybind's exceptions have no common base
            text = " ".join(str(error).split())
            if provider == "cpu" or "protobuf" in text.lower():
                raise GuardError(
                    f"{self._path} cannot be loaded as an ONNX model ({text[:300]}). "
                    "Is it truncated, or not an ONNX file? Export it again"
                ) from error
            raise ProviderError(
                f"provider {provider!r} does not come up: {text[:300]}; see blurvote doctor"
            ) from error
        runs = session.get_providers()
        if runs[0] != name:
            raise ProviderError(
                f"provider {provider!r} was asked for, but {runs[0]} is what would run: its driver "
                "or libraries are missing; see blurvote doctor"
            )
        return session

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """The options of each provider in the session, as ONNX Runtime reports them."""
        options: dict[str, dict[str, str]] = self._session.get_provider_options()
        return options

    def close(self) -> None:
        """Releases the session, its memory and its threads."""
        self._session = None

    def run(self, batch: NDArray[Any], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """The outputs (None: all, in file order) for the one input `batch`.

        Raises:
            GuardError: ONNX Runtime failed, out of memory included.
        """
        try:
            results: list[NDArray[Any]] = self._session.run(outputs, {self.input_name: batch})
        except Exception as error:
            raise self._failure(batch, error) from error
        return results

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """As `run`, with the copies apart: what a measurement needs, at a little extra cost.

        Raises:
            GuardError: as `run`.
        """
        device = "cpu" if self.provider == "cpu" else "cuda"
        try:
            started = time.perf_counter()
            on_device = self._ort.OrtValue.ortvalue_from_numpy(batch, device, 0)
            copied = time.perf_counter()
            binding = self._session.io_binding()
            binding.bind_ortvalue_input(self.input_name, on_device)
            for name in outputs or self.output_names:
                binding.bind_output(name, device, 0)
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
