"""What TensorRT is to build, or has built, for one guard or its denoiser on this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from blurvote.runtime.engines import options as known
from blurvote.runtime.engines.engine_cache import EngineCache, default_folder
from blurvote.runtime.engines.ep_context import context_facts
from blurvote.runtime.engines.model_bytes import Model, ModelBytes
from blurvote.runtime.engines.nvidia import ask_gpu, tensorrt_version
from blurvote.runtime.engines.onnx_metadata import read_metadata
from blurvote.runtime.engines.profiles import (
    MAX_FRAMES,
    PROFILE_OPTIONS,
    batch_profiles,
    guard_profiles,
)
from blurvote.runtime.engines.protocol import Compute, EngineSettings
from blurvote.runtime.errors import EngineNotBuiltError, ProviderError
from blurvote.runtime.metadata import GuardMetadata
from blurvote.runtime.tuning import guard_sha256

__all__ = ["TensorRtSetup"]

_STRONGLY_TYPED_ONLY = 11  # from this TensorRT on, types come from the file alone


@dataclass(frozen=True)
class TensorRtSetup:
    """A guard, this machine and the settings, as TensorRT needs them.

    Attributes:
        path: the guard; for a model that it carries, its guard.
        name: what errors call the model.
        options: ONNX Runtime's options for the provider, without those about caches.
        facts: what the engine depends on; the key in the cache.
        cache: where it is kept.
        build: whether to build it now if it is not there.
        most: rows of a batch that the engine takes at most.
        context: the facts that an EPContext model was built for; None for a guard with a graph.
    """

    path: Path
    name: str
    options: Mapping[str, str]
    facts: Mapping[str, Any]
    cache: EngineCache
    build: bool
    most: int
    context: Mapping[str, Any] | None

    @classmethod
    def examine(
        cls,
        model: Model,
        settings: EngineSettings,
        chosen: Mapping[str, str],
        onnxruntime: str,
        library: str,
    ) -> TensorRtSetup:
        """Looks at the guard, the GPU and TensorRT.

        Args:
            model: the guard, or a model that it carries in memory.
            settings: as given.
            chosen: its options, checked.
            onnxruntime: the installed version.
            library: TensorRT's, as ONNX Runtime links it, such as `"libnvinfer.so.10"`.

        Raises:
            GuardError: the file is not a guard.
            ProviderError: TensorRT cannot serve this guard with these settings on this machine.
        """
        path = model.guard if isinstance(model, ModelBytes) else Path(model)
        metadata = read_metadata(model)
        context = context_facts(metadata, path)
        if context is not None and "ep_context" in chosen:
            raise ProviderError(
                f"{path} is an engine already, written by --ep-context; give the guard that it was "
                "made of"
            )
        if not (folder := Path(chosen.get("ep_context", "")).parent).is_dir():
            raise ProviderError(
                f"option 'ep_context' is {chosen['ep_context']!r}, but there is no folder "
                f"{folder}; make it first"  # told now, and not after minutes of building
            )
        gpu = ask_gpu(int(chosen.get("device_id", "0")))
        tensorrt = tensorrt_version(library)
        most = int(chosen.get("max_frames", MAX_FRAMES))
        options = {
            **_profiles(model, metadata, most),
            **{name: text for name, text in chosen.items() if not known.TENSORRT[name].ours},
            **_arithmetic(settings.compute, tensorrt),
        }
        if context is not None:  # its engine has the shapes that it was built for
            options |= {name: context["options"][name] for name in PROFILE_OPTIONS}
        known.check_combinations(options, compute=settings.compute)
        keyed = {name: text for name, text in options.items() if name != "device_id"}
        facts = {
            **_identity(model),
            "provider": settings.provider,
            "compute": settings.compute,
            "onnxruntime": onnxruntime,
            "tensorrt": tensorrt,
            "gpu": gpu.name,
            "compute_capability": gpu.compute_capability,
            "driver_cuda": gpu.driver_cuda,
            "options": dict(sorted(keyed.items())),
        }
        return cls(
            path=path,
            name=str(model),
            options=options,
            facts=facts,
            cache=EngineCache(Path(chosen.get("cache_dir") or default_folder())),
            build=chosen.get("build") == "True",
            most=_largest_batch(options["trt_profile_max_shapes"]),
            context=context,
        )

    @property
    def timing_facts(self) -> dict[str, Any]:
        """What TensorRT's timings of kernels depend on: not on the guard."""
        names = ("tensorrt", "gpu", "compute_capability", "driver_cuda")
        return {name: self.facts[name] for name in names}

    def not_built(self, settings: EngineSettings) -> EngineNotBuiltError:
        """The error for an engine that is not there yet, with the command that builds it."""
        command = ["blurvote", "build", str(self.path), "--provider", settings.provider]
        if settings.compute != "fp32":
            command += ["--compute", settings.compute]
        for name, value in settings.options.items():
            if name != "build":
                text = str(value).lower() if isinstance(value, bool) else str(value)
                command += ["--option", f"{name}={text}"]
        facts = self.facts
        return EngineNotBuiltError(
            f"{self.name} has no TensorRT engine yet for this machine ({facts['gpu']}, TensorRT "
            f"{facts['tensorrt']}, onnxruntime {facts['onnxruntime']}). Building it takes minutes: "
            f"{shlex.join(command)}"
        )


def _profiles(model: Model, metadata: Mapping[str, str], most: int) -> dict[str, str]:
    """The shapes to build for; a model beside the guard's graph takes one item per frame."""
    if isinstance(model, ModelBytes):
        return batch_profiles(model.input_name, (1, 1, most), model.item)
    return guard_profiles(GuardMetadata.from_map(metadata, str(model)), most)


def _identity(model: Model) -> dict[str, str]:
    """What the engine is of: a hash, and the file's name, after which ONNX Runtime names engine
    files, too.
    """
    if isinstance(model, ModelBytes):
        # Not the guard's name: an EPContext model of the guard carries the same denoiser.
        return {"guard": sha256(model.data).hexdigest(), "file": model.role}
    return {"guard": guard_sha256(model), "file": Path(model).name}


def _arithmetic(compute: Compute, tensorrt: str) -> dict[str, str]:
    """The builder flag behind `compute`. Without one, networks are strongly typed: each operator
    computes in the type that the file gives it, so that a guard exported as fp16 needs none.
    """
    if compute != "fp16":
        return {}
    if known.version_of(tensorrt)[0] >= _STRONGLY_TYPED_ONLY:
        raise ProviderError(
            f"TensorRT {tensorrt} takes its types from the file and cannot be told to compute in "
            "fp16; export the guard with --precision fp16, and leave compute out"
        )
    return {"trt_fp16_enable": "True"}


def _largest_batch(profile: str) -> int:
    """The first dimension of a profile such as `"views:24x3x224x224"`."""
    return int(profile.split(":")[1].split("x")[0])
