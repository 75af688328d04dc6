"""ONNX Runtime's TensorRT provider, with engines that were built before they are needed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.runtime.engines import options as known
from blurvote.runtime.engines.cuda import CudaEngine
from blurvote.runtime.engines.elf import dependencies
from blurvote.runtime.engines.engine_cache import BuiltEngine
from blurvote.runtime.engines.ep_context import check_context, context_options, finish_context
from blurvote.runtime.engines.model_bytes import ModelBytes
from blurvote.runtime.engines.ort import Chain
from blurvote.runtime.engines.profiles import PROFILE_OPTIONS
from blurvote.runtime.engines.protocol import Steps
from blurvote.runtime.engines.tensorrt_setup import TensorRtSetup
from blurvote.runtime.errors import ProviderError

__all__ = ["TensorRtEngine"]

# Of the guard's own graph: a model that it carries has an input of another shape, and no file.
_OF_THE_GUARD = (*PROFILE_OPTIONS, "ep_context")
_TF32 = "NVIDIA_TF32_OVERRIDE"  # 0 keeps all of NVIDIA's libraries from it; ORT has no option


class TensorRtEngine(CudaEngine):
    """An `Engine` that TensorRT builds for this GPU; CUDA runs what it cannot.

    Building takes minutes, so it happens in `blurvote build`, or here with the option `build`.

    Options: those of `options.TENSORRT`, by ONNX Runtime's names, and of blurvote's own:
    `cache_dir`, the folder of built engines; `build`, to build now what is not there; `max_frames`,
    the frames in one inference that the engine is built for (larger batches run in parts);
    `ep_context`, a file to write the engine to as a guard of its own. A model that a guard carries
    takes neither profile shapes nor `ep_context`, which are the guard's.

    Raises:
        EngineNotBuiltError: there is no engine for this guard, machine and settings yet.
        GuardError, ProviderError: as `OnnxRuntimeEngine`.
    """

    PROVIDER = "tensorrt"
    EXECUTION_PROVIDER = "TensorrtExecutionProvider"
    COMPUTES = ("fp32", "tf32", "fp16")
    OPTIONS = known.TENSORRT
    LIBRARIES = ("tensorrt", "cuda")  # the second runs what TensorRT cannot
    GRAPH = "trt_cuda_graph_enable"

    _setup: TensorRtSetup
    _cache_options: dict[str, str]  # of the session that is created next

    def _load_libraries(self) -> None:
        super()._load_libraries()
        if isinstance(self._source, ModelBytes):
            own = {name: text for name, text in self._chosen.items() if name not in _OF_THE_GUARD}
            self._chosen = own
        library = self._library("tensorrt")
        needed = dependencies(library) if library.is_file() else []
        tensorrt = next((name for name in needed if name.startswith("libnvinfer.")), "")
        self._setup = TensorRtSetup.examine(
            self._source, self._settings, self._chosen, self._ort.__version__, tensorrt
        )

    def _chain(self) -> Chain:
        device = {name: self._chosen[name] for name in ("device_id",) if name in self._chosen}
        cuda = {**device, "use_tf32": str(self.compute == "tf32")}
        own = {**self._setup.options, **self._cache_options}
        known.check_combinations(own, compute=self.compute)
        return [(self.EXECUTION_PROVIDER, own), (CudaEngine.EXECUTION_PROVIDER, cuda)]

    def _create(self) -> Any:
        if self.EXECUTION_PROVIDER not in self._ort.get_available_providers():
            return super()._create()  # which says so
        setup = self._setup
        if setup.context is not None:
            check_context(setup.context, setup.facts, setup.path)
            self._cache_options = {}
            return super()._create()
        built = setup.cache.find(setup.facts)
        if built is None:
            if not setup.build:
                raise setup.not_built(self._settings)
            built = setup.cache.build(setup.facts, self._build_into)
        if "ep_context" in self._chosen:
            self._write_context(Path(self._chosen["ep_context"]))
        return self._load(built)

    def _load(self, built: BuiltEngine) -> Any:
        self._cache_options = {
            "trt_engine_cache_enable": "True",
            "trt_engine_cache_path": str(built.folder),
        }
        session = super()._create()
        more = {file.name for file in built.folder.glob("*.engine")} - built.files.keys()
        if more:
            raise ProviderError(
                f"ONNX Runtime did not find its engine in {built.folder} and built another "
                f"({', '.join(sorted(more))}); blurvote build --remove {built.folder.name}, then "
                "build again, and report this"
            )
        return session

    def _build_into(self, folder: Path) -> None:
        """Has ONNX Runtime build the engine; the session itself is thrown away."""
        setup = self._setup
        with setup.cache.timings(setup.timing_facts, folder) as timings, self._float32():
            self._cache_options = {
                "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": str(folder),
                **_timing_options(timings),
            }
            super()._create()
        if not any(folder.glob("*.engine")):
            raise ProviderError(
                f"TensorRT took no part of {self._path}: all of it would run on CUDA; use "
                "provider='cuda', or see the log of onnxruntime for what is not supported"
            )

    def _write_context(self, to: Path) -> None:
        """Writes the engine as an EPContext model; the timings of the build make this quick."""
        setup = self._setup
        with tempfile.TemporaryDirectory(prefix=f".{to.name}.", dir=to.parent) as folder:
            dumped = Path(folder) / "context.onnx"
            with setup.cache.timings(setup.timing_facts, Path(folder)) as timings, self._float32():
                self._cache_options = {**context_options(dumped), **_timing_options(timings)}
                super()._create()
            finish_context(dumped, setup.path, setup.facts, to)

    @contextmanager
    def _float32(self) -> Iterator[None]:
        """Keeps TensorRT, which takes TF32 for float32 unasked, from it during a build."""
        before = os.environ.get(_TF32)
        if self.compute != "tf32":
            os.environ[_TF32] = "0"
        try:
            yield
        finally:
            if before is None:
                os.environ.pop(_TF32, None)
            else:
                os.environ[_TF32] = before

    def run_in_steps(
        self, batch: NDArray[Any], outputs: Sequence[str] | None = None
    ) -> tuple[list[NDArray[Any]], Steps]:
        """See `Engine`. A batch beyond the engine's largest shape runs in parts."""
        most = self._setup.most
        if len(batch) <= most:
            return super().run_in_steps(batch, outputs)
        parts = [
            super(TensorRtEngine, self).run_in_steps(batch[start : start + most], outputs)
            for start in range(0, len(batch), most)
        ]
        results = [
            np.concatenate(arrays) for arrays in zip(*(got for got, _ in parts), strict=True)
        ]
        steps = [steps for _, steps in parts]
        return results, Steps(
            sum(step.copy_in for step in steps),
            sum(step.inference for step in steps),
            sum(step.copy_out for step in steps),
        )


def _timing_options(folder: Path) -> dict[str, str]:
    return {"trt_timing_cache_enable": "True", "trt_timing_cache_path": str(folder)}
