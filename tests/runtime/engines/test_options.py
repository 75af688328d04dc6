"""Names, kinds and combinations of the GPU providers' options."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest

from blurvote.runtime import ProviderError
from blurvote.runtime.engines.libraries import provider_library
from blurvote.runtime.engines.options import (
    CUDA,
    TENSORRT,
    check_combinations,
    check_options,
    version_of,
)

NOW = "1.31.1"


@pytest.mark.parametrize(
    ("table", "given", "expected"),
    [
        (CUDA, {"device_id": 1}, {"device_id": "1"}),
        (CUDA, {"device_id": "1"}, {"device_id": "1"}),
        (CUDA, {"enable_cuda_graph": True}, {"enable_cuda_graph": "True"}),
        (CUDA, {"enable_cuda_graph": 0}, {"enable_cuda_graph": "False"}),
        (CUDA, {"prefer_nhwc": "true"}, {"prefer_nhwc": "True"}),
        (CUDA, {"cudnn_conv_algo_search": "HEURISTIC"}, {"cudnn_conv_algo_search": "HEURISTIC"}),
        # TensorRT's parser takes True and False alone (tried on 1.31.1), as it does -1 here.
        (TENSORRT, {"trt_sparsity_enable": 1}, {"trt_sparsity_enable": "True"}),
        (TENSORRT, {"trt_auxiliary_streams": -1}, {"trt_auxiliary_streams": "-1"}),
        (TENSORRT, {"cache_dir": "/var/cache"}, {"cache_dir": "/var/cache"}),
    ],
)
def test_values_become_the_texts_that_onnxruntime_takes(table, given, expected):
    assert check_options("cuda", given, table, NOW) == expected


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"enable_cuda_grph": True}, "no option 'enable_cuda_grph'; did you mean 'enable_cuda_gra"),
        ({"zzz": True}, "no option 'zzz'; it has arena_extend_strategy, cudnn_conv1d_pad"),
        ({"device_id": "one"}, "option 'device_id' of 'cuda' is 'one'; expected an integer"),
        ({"device_id": -1}, "expected an integer of at least 0"),
        ({"device_id": True}, "expected an integer"),
        ({"device_id": ""}, "expected an integer"),
        ({"gpu_mem_limit": 0}, "expected an integer of at least 1"),
        ({"prefer_nhwc": 2}, "is 2; expected true or false"),
        ({"cudnn_conv_algo_search": "default"}, "expected one of EXHAUSTIVE, HEURISTIC, DEFAULT"),
        ({"cudnn_conv_algo_search": 1}, "expected a text"),
        ({"use_tf32": True}, 'set by blurvote itself: ask for compute="tf32"'),
        ({"user_compute_stream": "1"}, "it owns the stream"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(given, told):
    with pytest.raises(ProviderError) as caught:
        check_options("cuda", given, CUDA, NOW)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("name", "version", "there"),
    [
        ("enable_cudnn", "1.26.0", False),
        ("enable_cudnn", "1.28.0", True),
        ("sdpa_kernel", "1.18.1", False),
        ("prefer_nhwc", "1.18.0", True),
    ],
)
def test_an_option_is_refused_where_the_installed_version_does_not_have_it(name, version, there):
    if there:
        assert check_options("cuda", {name: 1}, CUDA, version)
        return
    with pytest.raises(ProviderError, match=f"{name}' is not in onnxruntime {version}; it needs 1"):
        check_options("cuda", {name: 1}, CUDA, version)


def test_versions_are_compared_as_numbers():
    assert version_of("1.9.1") < version_of("1.18.0") < version_of("1.31.1") == (1, 31)
    assert version_of("1.32rc1") == (1, 32)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"trt_engine_cache_enable": "True"}, "needs 'trt_engine_cache_path', too"),
        ({"trt_engine_cache_path": "/x"}, "needs 'trt_engine_cache_enable', too"),
        ({"trt_timing_cache_path": "/x"}, "needs 'trt_timing_cache_enable', too"),
        ({"trt_dla_core": "1"}, "needs 'trt_dla_enable', too"),
        ({"trt_dla_enable": "True"}, "needs compute='fp16'"),
        ({"tunable_op_tuning_enable": "True"}, "needs 'tunable_op_enable', too"),
        ({"trt_ep_context_file_path": "/x"}, "needs 'trt_dump_ep_context_model', too"),
        (
            {
                "trt_dump_ep_context_model": "True",
                "trt_engine_cache_enable": "True",
                "trt_engine_cache_path": "/x",
            },
            "without '..'",
        ),
        (
            {"trt_profile_min_shapes": "views:1x3"},
            "needs 'trt_profile_opt_shapes' and 'trt_profile_max_shapes', too",
        ),
    ],
)
def test_an_option_that_says_nothing_alone_is_refused_alone(options, told):
    with pytest.raises(ProviderError, match=told):
        check_combinations(options)


@pytest.mark.parametrize("name", ["enable_cuda_graph", "trt_cuda_graph_enable"])
def test_cuda_graphs_need_frames_of_one_size(name):
    check_combinations({name: "True"}, dynamic_shape=False)
    check_combinations({name: "False"}, dynamic_shape=True)
    with pytest.raises(ProviderError, match=f"option '{name}' needs frames of one size"):
        check_combinations({name: "True"}, dynamic_shape=True)


@pytest.mark.parametrize(("provider", "table"), [("cuda", CUDA), ("tensorrt", TENSORRT)])
def test_every_option_is_in_the_library_of_an_installed_gpu_wheel(provider, table):
    library = provider_library(Path(onnxruntime.__file__).parent, provider)
    if not library.is_file():
        pytest.skip("the installed onnxruntime is not a GPU wheel")
    content = library.read_bytes()
    here = version_of(onnxruntime.__version__)
    missing = [
        name
        for name, option in table.items()
        if not option.ours and option.since <= here and name.encode() + b"\0" not in content
    ]
    assert not missing
