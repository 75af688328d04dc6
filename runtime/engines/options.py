"""Names, kinds and combinations of the options of ONNX Runtime's CUDA and TensorRT providers.

ONNX Runtime refuses an unknown name with a C++ location and no suggestion, takes some impossible
values without a word, and notices bad combinations only in the middle of an engine build. So the
options are checked here, for the version that is installed, before anything is loaded.

The names were read from the libraries in the GPU wheels 1.18.1, 1.20.2, 1.21.1, 1.22.0, 1.23.2,
1.26.0, 1.28.0 and 1.31.1, and each is listed with the first of these that has it; every name and
kind was then tried on the parsers of 1.31.1. Names that the library knows and its Python interface
refuses (`trt_load_user_initializer`, `trt_onnx_bytestream`, ...) are left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from blurvote.runtime.engines.profiles import check_profiles
from blurvote.runtime.engines.protocol import Compute, OptionValue
from blurvote.runtime.errors import ProviderError

__all__ = ["CUDA", "TENSORRT", "Option", "check_combinations", "check_options", "version_of"]

Version = tuple[int, int]
_FIRST: Version = (1, 18)  # the oldest onnxruntime that blurvote takes


@dataclass(frozen=True)
class Option:
    """One option of a provider.

    Attributes:
        kind: `"flag"` (a truth), `"int"` or `"text"`.
        since: the first ONNX Runtime known to have it.
        lowest: of an integer.
        values: all texts that it takes; empty for any.
        instead: why nobody else sets it, or how else, for an option that blurvote sets itself.
        ours: whether blurvote acts on it and ONNX Runtime never sees it.
    """

    kind: Literal["flag", "int", "text"]
    since: Version = _FIRST
    lowest: int = 0
    values: tuple[str, ...] = ()
    instead: str = ""
    ours: bool = False


_FLAG, _INT, _TEXT = Option("flag"), Option("int"), Option("text")
_STREAM = Option("text", instead="it owns the stream and its memory")
_CACHE = Option("text", instead="choose the folder with cache_dir")
_CONTEXT = Option("text", instead="run blurvote build --ep-context FILE")
_INT8 = Option("text", instead="export the guard with --precision int8")
_FILE = Option("text", instead="it loads the guard from its path")

CUDA: Mapping[str, Option] = {
    "device_id": _INT,
    "gpu_mem_limit": Option("int", lowest=1),
    "arena_extend_strategy": Option("text", values=("kNextPowerOfTwo", "kSameAsRequested")),
    "cudnn_conv_algo_search": Option("text", values=("EXHAUSTIVE", "HEURISTIC", "DEFAULT")),
    "cudnn_conv_use_max_workspace": _FLAG,
    "cudnn_conv1d_pad_to_nc1d": _FLAG,
    "do_copy_in_default_stream": _FLAG,
    "enable_cuda_graph": _FLAG,
    "enable_cudnn": Option("flag", since=(1, 28)),
    "enable_skip_layer_norm_strict_mode": _FLAG,
    "fuse_conv_bias": Option("flag", since=(1, 20)),
    "prefer_nhwc": _FLAG,
    "sdpa_kernel": Option("int", since=(1, 20)),
    "tunable_op_enable": _FLAG,
    "tunable_op_tuning_enable": _FLAG,
    "tunable_op_max_tuning_duration_ms": _INT,
    "use_ep_level_unified_stream": _FLAG,
    "use_tf32": Option("flag", instead='ask for compute="tf32"'),
    "has_user_compute_stream": _STREAM,
    "user_compute_stream": _STREAM,
    "gpu_external_alloc": _STREAM,
    "gpu_external_free": _STREAM,
    "gpu_external_empty_cache": _STREAM,
}

TENSORRT: Mapping[str, Option] = {
    "cache_dir": Option("text", ours=True),
    "build": Option("flag", ours=True),
    "ep_context": Option("text", ours=True),
    "max_frames": Option("int", lowest=1, ours=True),
    "device_id": _INT,
    "trt_auxiliary_streams": Option("int", lowest=-1),
    "trt_build_heuristics_enable": _FLAG,
    "trt_builder_optimization_level": _INT,
    "trt_context_memory_sharing_enable": _FLAG,
    "trt_cuda_graph_enable": _FLAG,
    "trt_detailed_build_log": _FLAG,
    "trt_dla_core": _INT,
    "trt_dla_enable": _FLAG,
    "trt_dump_subgraphs": _FLAG,
    "trt_engine_hw_compatible": _FLAG,
    "trt_extra_plugin_lib_paths": _TEXT,
    "trt_force_sequential_engine_build": _FLAG,
    "trt_layer_norm_fp32_fallback": _FLAG,
    "trt_max_partition_iterations": Option("int", lowest=1),
    "trt_max_workspace_size": _INT,
    "trt_min_subgraph_size": Option("int", lowest=1),
    "trt_op_types_to_exclude": Option("text", since=(1, 21)),
    "trt_preview_features": Option("text", since=(1, 22)),
    "trt_profile_max_shapes": _TEXT,
    "trt_profile_min_shapes": _TEXT,
    "trt_profile_opt_shapes": _TEXT,
    "trt_sparsity_enable": _FLAG,
    "trt_tactic_sources": _TEXT,
    "trt_fp16_enable": Option("flag", instead='ask for compute="fp16"'),
    "trt_bf16_enable": Option(
        "flag", since=(1, 23), instead='it has no bf16 here; ask for compute="fp16"'
    ),
    "trt_engine_cache_enable": _CACHE,
    "trt_engine_cache_path": _CACHE,
    "trt_engine_cache_prefix": _CACHE,
    "trt_timing_cache_enable": _CACHE,
    "trt_timing_cache_path": _CACHE,
    "trt_force_timing_cache": _CACHE,
    "trt_dump_ep_context_model": _CONTEXT,
    "trt_ep_context_embed_mode": _CONTEXT,
    "trt_ep_context_file_path": _CONTEXT,
    "trt_weight_stripped_engine_enable": _CACHE,
    "trt_engine_decryption_enable": _CACHE,
    "trt_engine_decryption_lib_path": _CACHE,
    "trt_int8_enable": _INT8,
    "trt_int8_calibration_table_name": _INT8,
    "trt_int8_use_native_calibration_table": _INT8,
    "trt_onnx_model_folder_path": _FILE,
    "user_compute_stream": _STREAM,
}

# Each of these says something about the other, and nothing alone.
_NEEDS = {
    "tunable_op_tuning_enable": "tunable_op_enable",
    "tunable_op_max_tuning_duration_ms": "tunable_op_tuning_enable",
    "trt_dla_core": "trt_dla_enable",
    "trt_engine_cache_enable": "trt_engine_cache_path",
    "trt_engine_cache_path": "trt_engine_cache_enable",
    "trt_force_timing_cache": "trt_timing_cache_enable",
    "trt_timing_cache_path": "trt_timing_cache_enable",
    "trt_ep_context_file_path": "trt_dump_ep_context_model",
    "trt_ep_context_embed_mode": "trt_dump_ep_context_model",
}


def version_of(text: str) -> Version:
    """The first two numbers of a version, such as `(1, 31)` of `"1.31.1"`."""
    numbers = re.match(r"(\d+)\.(\d+)", text)
    return (int(numbers[1]), int(numbers[2])) if numbers else _FIRST


def check_options(
    provider: str,
    options: Mapping[str, OptionValue],
    table: Mapping[str, Option],
    onnxruntime: str,
) -> dict[str, str]:
    """What a user gave, as texts that ONNX Runtime takes; blurvote's own options among them.

    Args:
        provider: as in `EngineSettings`, for messages.
        options: names to values; a text stands for the integer or truth it spells.
        table: the provider's options.
        onnxruntime: the installed version.

    Raises:
        ProviderError: a name that is unknown, too new for this version or set by blurvote, or a
            value of another kind.
    """
    return {
        name: _text(provider, name, value, _option(provider, name, table, onnxruntime))
        for name, value in options.items()
    }


def _option(provider: str, name: str, table: Mapping[str, Option], onnxruntime: str) -> Option:
    option = table.get(name)
    if option is None:
        near = difflib.get_close_matches(name, table, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(_free(table))}"
        raise ProviderError(f"provider {provider!r} has no option {name!r}; {hint}")
    if option.instead:
        raise ProviderError(f"option {name!r} is set by blurvote itself: {option.instead}")
    if version_of(onnxruntime) < option.since:
        major, minor = option.since
        raise ProviderError(
            f"option {name!r} is not in onnxruntime {onnxruntime}; it needs {major}.{minor}"
        )
    return option


def _free(table: Mapping[str, Option]) -> list[str]:
    return sorted(name for name, option in table.items() if not option.instead)


def _text(provider: str, name: str, value: OptionValue, option: Option) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if option.kind == "flag":
        # These two words are what both providers take; TensorRT's takes neither 1 nor 0.
        truth = {"true": "True", "1": "True", "false": "False", "0": "False"}.get(text.lower())
        if truth is None:
            raise _wrong(provider, name, value, "true or false")
        return truth
    if option.kind == "int":
        digits = text.removeprefix("-")
        if isinstance(value, bool) or not (digits.isascii() and digits.isdecimal()):
            raise _wrong(provider, name, value, "an integer")
        if int(text) < option.lowest:
            raise _wrong(provider, name, value, f"an integer of at least {option.lowest}")
        return text
    if not isinstance(value, str) or not value:
        raise _wrong(provider, name, value, "a text")
    if option.values and value not in option.values:
        raise _wrong(provider, name, value, f"one of {', '.join(option.values)}")
    return value


def _wrong(provider: str, name: str, value: OptionValue, expected: str) -> ProviderError:
    return ProviderError(f"option {name!r} of {provider!r} is {value!r}; expected {expected}")


def check_combinations(
    options: Mapping[str, str], dynamic_shape: bool = False, compute: Compute = "fp32"
) -> None:
    """Checks options against each other, blurvote's own settings included.

    Args:
        options: names to texts, as ONNX Runtime will get them.
        dynamic_shape: whether more than the batch size of the graph's input varies.
        compute: see `EngineSettings`.

    Raises:
        ProviderError: two options that cannot be together, or one without the other it needs.
    """
    on = {name for name, text in options.items() if text not in ("", "0", "False")}
    for name, needed in _NEEDS.items():
        if name in on and needed not in on:
            raise ProviderError(f"option {name!r} needs {needed!r}, too; set both or neither")
    for name in ("enable_cuda_graph", "trt_cuda_graph_enable"):
        if name in on and dynamic_shape:
            raise ProviderError(
                f"option {name!r} needs frames of one size, for a graph replays fixed addresses; "
                "export the guard with --frame-size HEIGHTxWIDTH, or leave the option out"
            )
    if "trt_dla_enable" in on and compute != "fp16":
        raise ProviderError(
            "option 'trt_dla_enable' needs compute='fp16': DLA cores have no float32"
        )
    path = options.get("trt_engine_cache_path", "")
    if "trt_dump_ep_context_model" in on and (path.startswith("/") or ".." in path):
        raise ProviderError(
            f"option 'trt_engine_cache_path' is {path!r}; beside an EPContext model it is a folder "
            "below the model's own, without '..'"
        )
    check_profiles(options)
