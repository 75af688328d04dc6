"""ONNX Runtime's CUDA provider, with fixed device buffers and, where asked for, CUDA graphs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from blurvote.runtime.engines import options as known
from blurvote.runtime.engines.binding import KEPT_SHAPES, Key, Slot, SlotPool, key_of
from blurvote.runtime.engines.elf import dependencies
from blurvote.runtime.engines.libraries import explain_failure, load_dependencies, provider_library
from blurvote.runtime.engines.model_bytes import Model
from blurvote.runtime.engines.ort import Chain, OnnxRuntimeEngine
from blurvote.runtime.engines.pinned import PinnedMemory
from blurvote.runtime.engines.protocol import Compute, EngineSettings, Provider, Steps
from blurvote.runtime.errors import BlurvoteError, GuardError, ProviderError

__all__ = ["CudaEngine"]

_TOLERANCE = 1e-3  # of the outputs' range, between a replayed graph and a run without one


class CudaEngine(OnnxRuntimeEngine):
    """An `Engine` on an NVIDIA GPU; see `OnnxRuntimeEngine`.

    Each run has its own device buffers, which are kept for the next batch of the same shape, so
    that a frame, or the views of one, is all that is uploaded. `host_buffer` gives page-locked
    memory to build batches in; a batch from elsewhere is uploaded from where it lies.

    With the option `enable_cuda_graph` a graph is captured per batch shape, up to eight; beyond
    those, runs are not captured. A graph goes into service only once it has answered two different
    inputs as runs without it do. All runs then take turns in one thread of the engine's own: the
    CUDA runtime allows no other work of the process during a capture, and ONNX Runtime keeps graphs
    by thread and never gives them back, so that callers' short-lived threads would fill the device.

    Options: those of `options.CUDA`, by ONNX Runtime's names.

    Attributes:
        provider_options: beside ONNX Runtime's, under `"blurvote"`, whether `host_memory` is
            `"pinned"`, and if not why.
    """

    PROVIDER: ClassVar[Provider] = "cuda"
    EXECUTION_PROVIDER = "CUDAExecutionProvider"
    DEVICE = "cuda"
    COMPUTES: ClassVar[tuple[Compute, ...]] = ("fp32", "tf32")
    OPTIONS: ClassVar[Mapping[str, known.Option]] = known.CUDA
    LIBRARIES: ClassVar[tuple[str, ...]] = ("cuda",)  # of ONNX Runtime's providers
    GRAPH: ClassVar[str] = "enable_cuda_graph"

    def __init__(self, model: Model, settings: EngineSettings) -> None:
        self._slots = SlotPool(self._slot)
        self._graphs: dict[Key, Slot] = {}
        self._graph_numbers = itertools.count(1)
        self._graph_thread = ThreadPoolExecutor(1, "blurvote-cuda-graph")  # started when needed
        self._chosen: dict[str, str] = {}
        super().__init__(model, settings)
        self._host = PinnedMemory(self._cuda_runtime(), self._device_id)
        if self._captures:
            size = self._session.get_inputs()[0].shape[1:]
            known.check_combinations(
                self._chosen, dynamic_shape=not all(isinstance(side, int) for side in size)
            )

    @property
    def _captures(self) -> bool:
        return self._chosen.get(self.GRAPH) == "True"

    @property
    def _device_id(self) -> int:
        return int(self._chosen.get("device_id", "0"))

    # ---- coming up ----

    def _check(self) -> None:
        self._settings.refuse_others(self.COMPUTES, self._settings.options)
        version = self._ort.__version__
        given = self._settings.options
        self._chosen = known.check_options(self.provider, given, self.OPTIONS, version)
        known.check_combinations(self._chosen, compute=self.compute)
        if self.EXECUTION_PROVIDER in self._ort.get_available_providers():
            self._load_libraries()

    def _load_libraries(self) -> None:
        libraries = [self._library(name) for name in self.LIBRARIES]
        cudnn = self._chosen.get("enable_cudnn") != "False"
        load_dependencies(self.provider, libraries, self._ort.__version__, cudnn)

    def _library(self, provider: str) -> Path:
        return provider_library(Path(str(self._ort.__file__)).parent, provider)

    def _cuda_runtime(self) -> str | None:
        library = self._library("cuda")
        names = dependencies(library) if library.is_file() else []
        return next((name for name in names if name.startswith("libcudart.")), None)

    def _chain(self) -> Chain:
        # TF32 would quietly shorten float32's mantissa to 10 bits.
        use_tf32 = str(self.compute == "tf32")
        return [(self.EXECUTION_PROVIDER, {**self._chosen, "use_tf32": use_tf32})]

    def _refusal(self, text: str) -> GuardError | ProviderError:
        why = explain_failure(text)
        if why:
            return ProviderError(f"provider {self.provider!r} does not come up: {why}")
        return super()._refusal(text)

    @property
    def provider_options(self) -> dict[str, dict[str, str]]:
        """See `Engine`."""
        return {**super().provider_options, "blurvote": {"host_memory": self._host.state}}

    # ---- running ----

    def host_buffer(self, shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
        """See `Engine`: page-locked, so that it is uploaded without another copy."""
        if not self._captures:
            return self._host.empty(shape, dtype)
        # Nothing may be allocated while another thread captures.
        return self._graph_thread.submit(self._host.empty, shape, dtype).result()

    def run(self, batch: NDArray[Any], outputs: Sequence[str] | None = None) -> list[NDArray[Any]]:
        """See `Engine`."""
        return self.run_in_steps(batch, outputs)[0]

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """See `Engine`."""
        key = key_of(batch, outputs or self.output_names)
        try:
            if self._captures:
                return self._graph_thread.submit(self._run_graph, key, batch).result()
            return self._run_direct(key, batch)
        except BlurvoteError:
            raise
        except Exception as error:  # pybind's exceptions have no common base
            raise self._failure(batch, error) from error

    def _run_direct(self, key: Key, batch: NDArray[Any]) -> tuple[list[NDArray[Any]], Steps]:
        with self._slots.lend(key) as slot:
            return _timed(slot, batch)

    def _run_graph(self, key: Key, batch: NDArray[Any]) -> tuple[list[NDArray[Any]], Steps]:
        """A run by the graph of a key, which is captured and tested first if it is not there."""
        if key not in self._graphs:
            if len(self._graphs) >= KEPT_SHAPES:
                return self._run_direct(key, batch)
            slot = self._slot(key, next(self._graph_numbers))
            self._test_graph(slot, key)
            self._graphs[key] = slot
        return _timed(self._graphs[key], batch)

    def _slot(self, key: Key, graph: int | None = None) -> Slot:
        return Slot(self._ort, self._session, (self.DEVICE, self._device_id), key, graph)

    def _test_graph(self, slot: Slot, key: Key) -> None:
        """Has a new graph captured and compares its answers with those of runs without it.

        The first runs go uncaptured through the provider, which allocates in them; then one is
        captured, and the rest replay it. A graph whose input did not stay in place would answer
        the first input for ever.

        Raises:
            ProviderError: it does, or the two inputs cannot be told apart by their outputs.
        """
        first, second = _two_inputs(key)
        expected = [_answer(slot, batch, captured=False) for batch in (first, second)]
        if _agree(*expected):
            raise ProviderError(
                f"option {self.GRAPH!r} cannot be tested on {self._path}: two different inputs "
                "give the same outputs; leave the option out"
            )
        for number in (0, 0, 0, 0, 1, 0, 1):
            got = _answer(slot, (first, second)[number], captured=True)
            if not _agree(got, expected[number]):
                stuck = _agree(got, expected[1 - number])
                raise ProviderError(
                    f"option {self.GRAPH!r} fails its test on {self._path}: the replayed graph "
                    + ("gives the result of another input" if stuck else "gives another result")
                    + "; leave the option out"
                )

    def _failure(self, batch: NDArray[Any], error: Exception) -> GuardError:
        why = explain_failure(str(error))
        if why:
            return GuardError(f"{self._path} failed on an input of shape {batch.shape}: {why}")
        return super()._failure(batch, error)

    def close(self) -> None:
        """See `Engine`."""
        self._graph_thread.shutdown()
        self._graphs.clear()
        self._slots.close()
        super().close()


def _timed(slot: Slot, batch: NDArray[Any]) -> tuple[list[NDArray[Any]], Steps]:
    started = time.perf_counter()
    slot.upload(batch)
    copied = time.perf_counter()
    slot.run()
    ran = time.perf_counter()
    results = slot.download()
    ended = time.perf_counter()
    return results, Steps((copied - started) * 1e3, (ran - copied) * 1e3, (ended - ran) * 1e3)


def _two_inputs(key: Key) -> tuple[NDArray[Any], NDArray[Any]]:
    """Random batches of a key's shape and dtype."""
    shape, dtype, _ = key
    random = np.random.default_rng(0)
    made: NDArray[Any]
    if np.dtype(dtype).kind == "u":
        # The second half as bright: to a network, one noise of pixels may look much like another.
        made = random.integers(0, 256, (2, *shape), dtype=np.uint8)
        made[1] >>= 1
    else:
        made = random.standard_normal((2, *shape), np.float32)
    made = made.astype(dtype)
    return made[0], made[1]


def _answer(slot: Slot, batch: NDArray[Any], captured: bool) -> list[NDArray[Any]]:
    """The floating outputs: labels may differ where two classes are as good as equal."""
    slot.upload(batch)
    slot.run(captured)
    return [output for output in slot.download() if output.dtype.kind == "f"]


def _agree(some: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    return all(
        np.allclose(one, other, rtol=0, atol=_TOLERANCE * float(np.ptp(other)), equal_nan=True)
        for one, other in zip(some, others, strict=True)
    )
