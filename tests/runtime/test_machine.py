"""What the machine offers, read from a pretended /sys, /proc and /etc."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from blurvote.runtime import machine


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that the module takes for the root of the file system; 8 CPUs, 4 to be used."""
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / name.lstrip("/"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_a_topology_every_cpu_is_a_core(root: Path) -> None:
    assert machine.usable_cores() == 4


def test_hyper_threads_count_once(root: Path) -> None:
    for cpu in range(8):
        siblings = f"{cpu % 4},{cpu % 4 + 4}\n"  # 0 and 4 share a core, and so do 1 and 5
        write(root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    assert machine.usable_cores() == 2


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ("max 100000\n", 4),
        ("300000 100000\n", 3),
        ("150000 100000\n", 1),  # half a core is not worth a thread
        ("20000 100000\n", 1),
        ("900000 100000\n", 4),
        ("nonsense\n", 4),
        ("100000 0x\n", 4),
    ],
)
def test_the_control_group_limits(root: Path, quota: str, cores: int) -> None:
    write(root / "sys/fs/cgroup/cpu.max", quota)
    assert machine.usable_cores() == cores


def test_systems_without_affinity(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert machine.usable_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores() == 1


def test_a_jetson_is_known_by_its_release_file(root: Path) -> None:
    assert not machine.is_jetson()
    write(root / "etc/nv_tegra_release", "# R36")
    assert machine.is_jetson()


def test_the_name_of_the_cpu(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "processor", lambda: "")
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert machine.cpu_name() == "aarch64"
    write(root / "proc/cpuinfo", "processor\t: 0\nmodel name\t: Fast: 3 GHz\nflags\t: fpu\n")
    assert machine.cpu_name() == "Fast: 3 GHz"


JETSON = (
    "on a Jetson install NVIDIA's onnxruntime-gpu wheel for your JetPack "
    "(the wheel on PyPI has no kernels for its GPU); see docs/jetson.md"
)
CPU = "pip install onnxruntime"


@pytest.mark.parametrize(
    ("jetson", "architecture", "gpu", "advice"),
    [
        (True, "aarch64", True, JETSON),
        (True, "aarch64", False, JETSON),
        (False, "aarch64", False, CPU),
        (False, "x86_64", False, CPU),
        (False, "x86_64", True, "pip uninstall onnxruntime; pip install onnxruntime-gpu"),
        (
            False,
            "aarch64",
            True,
            "pip install onnxruntime-gpu (its aarch64 wheel serves data-centre GPUs)",
        ),
    ],
)
def test_the_advice_fits_the_machine(
    monkeypatch: pytest.MonkeyPatch, jetson: bool, architecture: str, gpu: bool, advice: str
) -> None:
    monkeypatch.setattr(machine, "is_jetson", lambda: jetson)
    monkeypatch.setattr(platform, "machine", lambda: architecture)
    assert machine.onnxruntime_advice(gpu) == advice
