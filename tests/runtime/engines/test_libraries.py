"""Which NVIDIA libraries are missing, and what brings them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import onnxruntime
import pytest

from blurvote.runtime import ProviderError
from blurvote.runtime.engines import libraries
from blurvote.runtime.engines.elf import dependencies
from blurvote.runtime.engines.libraries import explain_failure, load_dependencies

CUDA_13 = ["libcublas.so.13", "libcublasLt.so.13", "libcudart.so.13", "libcuda.so.1", "libm.so.6"]
TENSORRT = ["libnvinfer.so.10", "libnvonnxparser.so.10", "libcudart.so.13", "libcudnn.so.9"]
CUDA_12 = ["libcublas.so.12", "libcufft.so.11", "libcudart.so.12", "libcudnn.so.9"]


def test_dependencies_are_those_that_binutils_lists():
    readelf = shutil.which("readelf")
    if readelf is None:
        pytest.skip("no readelf on this machine")
    for library in sorted((Path(onnxruntime.__file__).parent / "capi").glob("*.so*")):
        text = subprocess.run(
            [readelf, "-d", str(library)], check=True, capture_output=True, text=True
        ).stdout
        listed = [line.split("[")[1].rstrip("]") for line in text.splitlines() if "NEEDED" in line]
        assert dependencies(library) == listed
        assert listed or "providers_shared" in library.name


def test_another_file_has_no_dependencies(tmp_path):
    path = tmp_path / "library.so"
    for content in (b"", b"\x7fELF\x01\x01", b"a text of more than sixty-four bytes " * 9):
        path.write_bytes(content)
        assert dependencies(path) == []


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A provider's library, and a machine that has some of what it needs."""

    def make(needed, there=(), jetson=False):
        library = tmp_path / "libonnxruntime_providers_cuda.so"
        library.touch()
        monkeypatch.setattr(libraries, "dependencies", lambda path: list(needed))
        monkeypatch.setattr(libraries, "_load", lambda name: name in there)
        monkeypatch.setattr(libraries, "_in_packages", lambda pattern: [])
        monkeypatch.setattr(libraries, "is_jetson", lambda: jetson)
        return [library]

    return make


def told(found, provider="cuda", version="1.31.1", **options):
    with pytest.raises(ProviderError) as caught:
        load_dependencies(provider, found, version, **options)
    return str(caught.value)


def test_a_machine_that_has_all_is_told_nothing(machine):
    load_dependencies("cuda", machine(CUDA_13, [*CUDA_13, "libcudnn.so.9"]), "1.31.1")


def test_a_wheel_without_the_provider_needs_nothing(tmp_path):
    load_dependencies("cuda", [tmp_path / "none.so"], "1.31.1")


def test_a_missing_driver_is_named_with_the_way_into_a_container(machine):
    there = [name for name in CUDA_13 if name != "libcuda.so.1"]
    message = told(machine(CUDA_13, [*there, "libcudnn.so.9"]))
    assert message.startswith("provider 'cuda' cannot start: libcuda.so.1 not found. ")
    assert "NVIDIA driver" in message
    assert "--gpus all" in message
    assert "pip install" not in message


def test_missing_cuda_13_libraries_are_named_with_their_packages(machine):
    message = told(machine(CUDA_13, ["libcuda.so.1"]))
    assert "libcublas.so.13, libcublasLt.so.13, libcudart.so.13, libcudnn.so.9 not found" in message
    assert message.endswith(
        "pip install 'nvidia-cublas==13.*' 'nvidia-cuda-runtime==13.*' 'nvidia-cudnn-cu13==9.*'"
    )


def test_packages_of_cuda_12_carry_its_number(machine):
    message = told(machine(CUDA_12))
    assert "'nvidia-cufft-cu12==11.*'" in message
    assert "'nvidia-cudnn-cu12==9.*'" in message


def test_cudnn_is_not_needed_where_it_is_switched_off(machine):
    load_dependencies("cuda", machine(CUDA_13, CUDA_13), "1.31.1", cudnn=False)


def test_missing_tensorrt_is_held_below_the_next_major(machine):
    message = told(machine(TENSORRT, ["libcudart.so.13", "libcudnn.so.9"]), "tensorrt")
    assert message.endswith(
        "libnvinfer.so.10, libnvonnxparser.so.10 not found. pip install 'tensorrt-cu13<11'"
    )


def test_tensorrt_11_beside_a_wheel_that_links_10_is_named_as_such(machine):
    there = ["libcudart.so.13", "libcudnn.so.9", "libnvinfer.so.11"]
    message = told(machine(TENSORRT, there), "tensorrt")
    assert (
        "TensorRT 11 is installed, but onnxruntime 1.31.1 links libnvinfer.so.10 and cannot use "
        "it; put TensorRT 10 in its place. pip install 'tensorrt-cu13<11'"
    ) in message


def test_a_jetson_gets_its_libraries_from_jetpack(machine):
    message = told(machine(CUDA_12, jetson=True))
    assert "sudo apt install nvidia-jetpack" in message
    assert "pip install" not in message


def test_a_library_that_waits_for_another_is_tried_again(machine, monkeypatch):
    found = machine(["libcublas.so.13", "libcublasLt.so.13", "libcudnn.so.9"])
    loaded = []

    def load(name):
        if name == "libcublas.so.13" and "libcublasLt.so.13" not in loaded:
            return False
        loaded.append(name)
        return True

    monkeypatch.setattr(libraries, "_load", load)
    load_dependencies("cuda", found, "1.31.1")
    assert loaded == ["libcublasLt.so.13", "libcudnn.so.9", "libcublas.so.13"]


def test_libraries_are_found_where_pip_puts_them(monkeypatch, tmp_path):
    for place in ("nvidia/cu13/lib/libcudart.so.13", "tensorrt_libs/libnvinfer.so.10"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / place).touch()
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    tried = []
    monkeypatch.setattr("ctypes.CDLL", lambda name, mode: tried.append(name) or _raise(name))
    assert not libraries._load("libcudart.so.13")
    assert not libraries._load("libnvinfer.so.10")
    assert tried == [
        "libcudart.so.13",
        str(tmp_path / "nvidia/cu13/lib/libcudart.so.13"),
        "libnvinfer.so.10",
        str(tmp_path / "tensorrt_libs/libnvinfer.so.10"),
    ]


def _raise(name):
    raise OSError(f"{name}: cannot open shared object file")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        # As ONNX Runtime 1.31.1 words it on a machine without a driver.
        ("CUDA failure 35: CUDA driver version is insufficient ; GPU=-1 ; hostname=x", "driver is"),
        ("CUDA failure 100: no CUDA-capable device is detected", "--gpus all"),
        ("CUDA error 101: invalid device ordinal", "nvidia-smi -L"),
        ("CUDA failure 2: out of memory", "gpu_mem_limit"),
    ],
)
def test_cuda_errors_are_explained(text, part):
    assert part in explain_failure(f"[ONNXRuntimeError] : 1 : FAIL : {text}")


def test_other_errors_are_not():
    assert explain_failure("protobuf parsing failed") is None
    assert explain_failure("CUDA failure 700: an illegal memory access") is None
