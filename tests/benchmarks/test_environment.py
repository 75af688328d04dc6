"""The description of a machine: complete, null where unreadable, and honest about its faults."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blurvote.benchmarks import environment, nvidia

# Text in the formats of Linux (proc(5), the kernel's admin guide for cpufreq and cgroup v2).
INTEL = {
    "proc/cpuinfo": (
        "processor\t: 0\nmodel name\t: Some Xeon\ncpu MHz\t\t: 2100.000\n"
        "flags\t\t: fpu sse4_2 avx avx2 fma f16c avx512f amx_tile amx_int8 hypervisor\n\n"
        "processor\t: 1\nmodel name\t: Some Xeon\ncpu MHz\t\t: 3400.500\nflags\t\t: fpu\n"
    ),
    "proc/meminfo": (
        "MemTotal:       16384000 kB\nMemAvailable:    8192000 kB\n"
        "SwapTotal:       2048000 kB\nSwapFree:        1024000 kB\n"
    ),
    "proc/loadavg": "1.50 0.75 0.25 2/345 6789\n",
    "proc/self/cgroup": "0::/user.slice/job.scope\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/user.slice/job.scope/cpu.max": "400000 100000\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu10/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu2/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq": "800000\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_max_freq": "3500000\n",
    "sys/devices/system/cpu/cpu0/cache/index0/level": "1\n",
    "sys/devices/system/cpu/cpu0/cache/index0/type": "Data\n",
    "sys/devices/system/cpu/cpu0/cache/index0/size": "48K\n",
    "sys/devices/system/cpu/cpu0/cache/index3/level": "3\n",
    "sys/devices/system/cpu/cpu0/cache/index3/type": "Unified\n",
    "sys/devices/system/cpu/cpu0/cache/index3/size": "30720K\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
}
ARM = {
    "proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd evtstrm asimdhp asimddp sve2x i8mm\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1510400\n",
    "sys/devices/system/cpu/cpufreq/boost": "1\n",
    "proc/self/cgroup": "4:cpu,cpuacct:/\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "250000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_this_machine_is_described_and_fits_json() -> None:
    machine = environment.machine()
    assert json.loads(json.dumps(machine))["cpu"] == machine["cpu"]
    assert machine["versions"]["numpy"] == np.__version__
    assert "CPUExecutionProvider" in machine["providers"]
    assert machine["affinity"] == sorted(os.sched_getaffinity(0))
    assert 1 <= machine["usable_cores"] <= machine["logical_cpus"]
    assert 0 < machine["memory_available_mib"] < machine["memory_mib"]
    assert isinstance(environment.warnings(machine), list)


def test_an_intel_machine(tmp_path: Path) -> None:
    machine = environment.machine(write(tmp_path, INTEL))
    expected = {
        "cpu_features": ["sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "amx_tile", "amx_int8"],
        "hypervisor": True,
        "cpu_mhz": [2100.0, 3400.5],
        "cpu_min_mhz": 800,
        "cpu_max_mhz": 3500,
        "boost": False,
        "governor": {"0": "powersave", "2": "performance", "10": "performance"},
        "cgroup_cpus": 1.5,
        "caches_kib": {"L1d": 48, "L3": 30720},
        "memory_mib": 16000,
        "memory_available_mib": 8000,
        "swap_mib": 2000,
        "swap_used_mib": 1000,
        "load_average": [1.5, 0.75, 0.25],
        "transparent_huge_pages": "madvise",
    }
    assert {key: machine[key] for key in expected} == expected


def test_an_arm_machine(tmp_path: Path) -> None:
    machine = environment.machine(write(tmp_path, ARM))
    assert machine["cpu_features"] == ["asimd", "asimdhp", "asimddp", "i8mm"]
    assert machine["hypervisor"] is None
    assert machine["cpu_mhz"] == [1510.4]
    assert machine["boost"] is True
    assert machine["cgroup_cpus"] == 2.5


BROKEN = dict.fromkeys({**INTEL, **ARM}, "nonsense [")


@pytest.mark.parametrize("files", [{}, BROKEN], ids=["nothing", "nonsense"])
def test_what_cannot_be_read_is_null(tmp_path: Path, files: dict[str, str]) -> None:
    machine = environment.machine(write(tmp_path, files))
    for key in ("cpu_features", "hypervisor", "cpu_mhz", "cpu_max_mhz", "boost", "cgroup_cpus",
                "caches_kib", "memory_mib", "swap_used_mib", "load_average", "jetson",
                "transparent_huge_pages"):  # fmt: skip
        assert machine[key] is None, key
    assert isinstance(environment.warnings(machine), list)


def test_a_broken_onnxruntime_is_null(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", object())
    assert environment.machine()["providers"] is None


def test_only_variables_that_change_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    wanted = {
        "OMP_NUM_THREADS": "2",
        "KMP_AFFINITY": "x",
        "OV_CPU": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    for name in (*wanted, "SECRET_TOKEN", "MY_OMP_NUM_THREADS", "HOME"):
        monkeypatch.setenv(name, wanted.get(name, "?"))
    assert environment.machine()["environment"] == wanted


def test_load_is_cheap_and_moves() -> None:
    start = time.perf_counter()
    first = environment.load()
    cheap = time.perf_counter() - start
    start = time.perf_counter()
    environment.machine()
    assert cheap < time.perf_counter() - start
    assert set(first) == {"time", "load_average", "memory_available_mib", "cpu_mhz"}
    assert set(first) <= set(environment.machine())


CALM: dict[str, Any] = {
    "usable_cores": 4,
    "logical_cpus": 4,
    "affinity": [0, 1, 2, 3],
    "load_average": [0.4, 0.2, 0.1],
    "governor": {"0": "performance", "1": "performance"},
    "hypervisor": False,
    "cgroup_cpus": None,
    "environment": {"CUDA_VISIBLE_DEVICES": "0"},
    "swap_used_mib": 0,
    "gpus": [{"name": "G", "mig": "Disabled", "memory_used_mib": 4.0, "memory_total_mib": 8000.0}],
    "jetson": {"power_mode": {"name": "MAXN", "id": 0, "maximum": True}, "jetson_clocks": True},
}


def test_a_calm_machine_has_no_warning() -> None:
    assert environment.warnings(CALM) == []
    assert environment.warnings({}) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"load_average": [3.25, 1.0, 0.5]}, "load average 3.25 on 4"),
        ({"governor": {"0": "performance", "1": "schedutil"}}, "governor schedutil"),
        ({"hypervisor": True}, "virtual machine"),
        ({"affinity": [0, 2]}, "2 of 4 CPUs"),
        ({"cgroup_cpus": 1.5}, "limited to 1.5 CPUs"),
        ({"environment": {"OMP_NUM_THREADS": "1"}}, "OMP_NUM_THREADS=1"),
        ({"swap_used_mib": 12}, "12 MiB of swap"),
        ({"gpus": [{"name": "G", "mig": "Enabled"}]}, "MIG"),
        ({"gpus": [{"name": "G", "memory_used_mib": 900.0, "memory_total_mib": 8000.0}]},
         "900 MiB of G"),
        ({"jetson": {"power_mode": {"name": "15W", "maximum": False}}}, "15W is not the board's"),
        ({"jetson": {"jetson_clocks": False}}, "jetson_clocks is not set"),
    ],
)  # fmt: skip
def test_each_warning(change: dict[str, Any], said: str) -> None:
    (warning,) = environment.warnings({**CALM, **change})
    assert said in warning


# Text in the format of `nvidia-smi --query-gpu=... --format=csv,noheader,nounits`
# (`nvidia-smi --help-query-gpu` describes the fields): a data-centre card, and an integrated GPU.
SMI = (
    "NVIDIA H200, 580.95.05, 143771, 4, 1980, 3201, 1980, 3201, P0, 76.42, 700.00, 29, Enabled, "
    "Disabled, Enabled\n"
    "NVIDIA Thor, 580.00, [N/A], [N/A], [N/A], [Not Supported], [N/A], [N/A], [N/A], "
    "[Unknown Error], [N/A], 41, [N/A], N/A, Enabled\n"
)


def test_gpus_are_parsed() -> None:
    card, integrated = nvidia.parse(SMI)
    assert card == {
        "name": "NVIDIA H200",
        "driver": "580.95.05",
        "memory_total_mib": 143771,
        "memory_used_mib": 4,
        "clock_sm_mhz": 1980,
        "clock_memory_mhz": 3201,
        "clock_sm_max_mhz": 1980,
        "clock_memory_max_mhz": 3201,
        "pstate": "P0",
        "power_w": 76.42,
        "power_limit_w": 700,
        "temperature_c": 29,
        "ecc": "Enabled",
        "mig": "Disabled",
        "persistence": "Enabled",
    }
    assert {key for key, value in integrated.items() if value is not None} == {
        "name", "driver", "temperature_c", "persistence",
    }  # fmt: skip
    assert nvidia.parse("No devices were found\n") == []


def smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_no_gpu_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.gpus() == []


def test_an_old_driver_is_asked_without_the_field_it_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = """case "$1" in
*mig*) echo 'Field "mig.mode.current" is not a valid field to query.'; exit 2;;
*) echo 'Tesla K80, 440.1, 11441, 0, 324, 324, 875, 2505, P8, 26, 149, 30, Enabled, Disabled';;
esac"""
    smi(tmp_path, script, monkeypatch)
    (gpu,) = nvidia.gpus()
    assert (gpu["name"], gpu["mig"], gpu["persistence"]) == ("Tesla K80", None, "Disabled")


def test_a_hung_driver_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smi(tmp_path, "trap '' TERM\nsleep 30", monkeypatch)
    start = time.monotonic()
    assert nvidia.gpus(timeout_s=0.2) == []
    assert time.monotonic() - start < 5
