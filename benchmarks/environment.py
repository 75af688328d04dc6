"""What the numbers of a benchmark depend on besides the code, recorded with every result.

Whatever cannot be read is None: describing a machine never stops a benchmark.
"""

from __future__ import annotations

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from blurvote.benchmarks import nvidia, tegrastats
from blurvote.runtime import _kernels
from blurvote.runtime.machine import cpu_name, usable_cores

__all__ = ["load", "machine", "warnings"]

T = TypeVar("T")
PACKAGES = (
    "blurvote",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx",
    "torch",
    "torchvision",
    "kornia",
    "openvino",
    "adversarial-robustness-toolbox",
    "mlcommons-loadgen",
    "onnx2torch",
    "matplotlib",
)
# The flags of /proc/cpuinfo (x86 `flags`, ARM `Features`) that inference kernels are chosen by.
CPU_FEATURES = (
    "sse4_2 avx avx2 fma f16c avx_vnni avx512f avx512bw avx512_vnni avx512_bf16 avx512_fp16 "
    "amx_tile amx_int8 amx_bf16 asimd asimdhp asimddp i8mm bf16 sve sve2"
)
_VARIABLES = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|OV|ORT)_\w+"
    r"|CUDA_VISIBLE_DEVICES|CUDA_LAUNCH_BLOCKING|NVIDIA_TF32_OVERRIDE"
    r"|OPENCV_FOR_THREADS_NUM|LD_PRELOAD"
)
_THREAD_LIMIT = re.compile(r"\w+_(NUM_THREADS|THREAD_LIMIT|THREADS_NUM)")


def machine(root: str | Path = "/") -> dict[str, Any]:
    """Hardware, settings, versions and load, ready for JSON.

    Units are in the names: `_mhz`, `_mib`, `_kib`. `cgroup_cpus` is the CPU time that the control
    group grants, in CPUs, and None without a limit; `governor` maps CPU numbers to names;
    `environment` has the variables that change threads or speed; `gpus` is `nvidia.gpus()` and
    `jetson` is `tegrastats.jetson()`.

    Args:
        root: the folder that has proc and sys, for tests.
    """
    root = Path(root)
    flags = _or_none(lambda: _cpu_flags(root))
    memory = _or_none(lambda: _memory(root)) or {}
    cpus = root / "sys/devices/system/cpu"
    return {
        **load(root),
        "platform": platform.platform(),
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "cpu": cpu_name(),
        "instruction_sets": _kernels.available_isas(),
        "cpu_features": flags and [flag for flag in CPU_FEATURES.split() if flag in flags],
        "logical_cpus": os.cpu_count(),
        "usable_cores": usable_cores(),
        "affinity": _or_none(lambda: sorted(os.sched_getaffinity(0))),
        "cgroup_cpus": _or_none(lambda: _cgroup_cpus(root)),
        "governor": _or_none(lambda: _per_cpu(cpus, "cpufreq/scaling_governor")) or None,
        "cpu_min_mhz": _or_none(lambda: _khz(cpus / "cpu0/cpufreq/scaling_min_freq")),
        "cpu_max_mhz": _or_none(lambda: _khz(cpus / "cpu0/cpufreq/scaling_max_freq")),
        "boost": _boost(cpus),
        # Only x86 has the flag: elsewhere its absence says nothing.
        "hypervisor": flags and ("hypervisor" in flags if "fpu" in flags else None),
        "caches_kib": _or_none(lambda: _caches(cpus)) or None,
        "memory_mib": memory.get("MemTotal"),
        "swap_mib": memory.get("SwapTotal"),
        "swap_used_mib": _or_none(lambda: memory["SwapTotal"] - memory["SwapFree"]),
        "transparent_huge_pages": _or_none(lambda: _huge_pages(root)),
        "versions": {name: _or_none(partial(version, name)) for name in PACKAGES},
        "providers": _or_none(_providers),
        "environment": {k: v for k, v in sorted(os.environ.items()) if _VARIABLES.fullmatch(k)},
        "gpus": nvidia.gpus(),
        "jetson": tegrastats.jetson(root),
    }


def load(root: str | Path = "/") -> dict[str, Any]:
    """What changes during a run, cheap enough to take at its start and its end.

    `load_average` over 1, 5 and 15 minutes, `memory_available_mib` and `cpu_mhz` per CPU.
    """
    root = Path(root)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "load_average": _or_none(lambda: [float(x) for x in _words(root / "proc/loadavg")[:3]]),
        "memory_available_mib": (_or_none(lambda: _memory(root)) or {}).get("MemAvailable"),
        "cpu_mhz": _or_none(lambda: _clocks(root)) or None,
    }


def warnings(machine: Mapping[str, Any]) -> list[str]:
    """Cautions for whoever reads numbers from this machine, one sentence each.

    Args:
        machine: what `machine` returned, at once or from JSON.
    """
    found = []
    cores, cpus = machine.get("usable_cores") or 1, machine.get("logical_cpus") or 1
    average = (machine.get("load_average") or [0.0])[0]
    if average > 0.5 * cores:
        found.append(
            f"load average {average:.2f} on {cores} usable cores: other work runs or just ran; "
            "wait or stop it and measure again"
        )
    slow = sorted(set((machine.get("governor") or {}).values()) - {"performance"})
    if slow:
        found.append(
            f"CPU governor {', '.join(slow)}: clocks follow the load, so short runs look slower "
            "than long ones; 'performance' holds them"
        )
    if machine.get("hypervisor"):
        found.append("virtual machine: its host may take time away unseen, and sets the clocks")
    affinity = machine.get("affinity")
    if affinity and len(affinity) < cpus:
        found.append(f"this process may use {len(affinity)} of {cpus} CPUs (affinity)")
    if machine.get("cgroup_cpus"):
        found.append(
            f"control group limited to {machine['cgroup_cpus']:g} CPUs: when that is used up, "
            "calls wait, which lengthens the tail"
        )
    for name, value in (machine.get("environment") or {}).items():
        if _THREAD_LIMIT.fullmatch(name):
            found.append(f"{name}={value} limits threads of libraries that heed it")
    if machine.get("swap_used_mib"):
        found.append(f"{machine['swap_used_mib']} MiB of swap in use: memory was or is short")
    for gpu in machine.get("gpus") or []:
        if gpu.get("mig") == "Enabled":
            found.append(f"{gpu['name']} is partitioned (MIG): a part of it was measured")
        used, total = gpu.get("memory_used_mib") or 0, gpu.get("memory_total_mib") or 0
        if total and used > 0.1 * total:
            found.append(f"{used:.0f} MiB of {gpu['name']} in use before the run: is it shared?")
    jetson = machine.get("jetson") or {}
    mode = jetson.get("power_mode") or {}
    if mode.get("maximum") is False:
        found.append(f"Jetson power mode {mode['name']} is not the board's fastest (nvpmodel -m)")
    if jetson.get("jetson_clocks") is False:
        found.append("jetson_clocks is not set: clocks follow the load (sudo jetson_clocks)")
    return found


def _or_none(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except Exception:  # whatever a foreign system or a broken package comes up with
        return None


def _words(path: Path) -> list[str]:
    return path.read_text().split()


def _khz(path: Path) -> float:
    return int(path.read_text()) / 1000


def _per_cpu(cpus: Path, file: str) -> dict[str, str]:
    found = {f.relative_to(cpus).parts[0][3:]: f for f in cpus.glob(f"cpu[0-9]*/{file}")}
    return {cpu: found[cpu].read_text().strip() for cpu in sorted(found, key=int)}


def _cpu_flags(root: Path) -> set[str]:
    text = (root / "proc/cpuinfo").read_text()
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no flags in /proc/cpuinfo")
    return set(found[1].split())


def _clocks(root: Path) -> list[float]:
    per_cpu = _per_cpu(root / "sys/devices/system/cpu", "cpufreq/scaling_cur_freq")
    if per_cpu:
        return [int(khz) / 1000 for khz in per_cpu.values()]
    text = (root / "proc/cpuinfo").read_text()
    return [float(mhz) for mhz in re.findall(r"^cpu MHz\s*: ([\d.]+)", text, re.MULTILINE)]


def _boost(cpus: Path) -> bool | None:
    boost = _or_none(lambda: int((cpus / "cpufreq/boost").read_text()))
    if boost is not None:
        return boost == 1
    no_turbo = _or_none(lambda: int((cpus / "intel_pstate/no_turbo").read_text()))
    return None if no_turbo is None else no_turbo == 0


def _caches(cpus: Path) -> dict[str, int]:
    sizes = {}
    for index in sorted(cpus.glob("cpu0/cache/index[0-9]*")):
        level, kind, size = ((index / f).read_text().strip() for f in ("level", "type", "size"))
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        sizes[f"L{level}{suffix}"] = int(size.rstrip("K"))
    return sizes


def _memory(root: Path) -> dict[str, int]:
    text = (root / "proc/meminfo").read_text()
    return {k: int(kib) // 1024 for k, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}


def _huge_pages(root: Path) -> str:
    text = (root / "sys/kernel/mm/transparent_hugepage/enabled").read_text()
    return text[text.index("[") + 1 : text.index("]")]


def _cgroup_cpus(root: Path) -> float | None:
    groups = root / "sys/fs/cgroup"
    own = re.search(r"^0::/(.*)$", (root / "proc/self/cgroup").read_text(), re.MULTILINE)
    leaf = groups / (own[1] if own else "")
    limits = []
    for group in (leaf, *leaf.parents):  # the strictest of this group and those around it
        quota, period = _or_none(partial(_words, group / "cpu.max")) or ("max", "0")
        if quota != "max":
            limits.append(int(quota) / int(period))
        if group == groups:
            break
    old = _or_none(lambda: int((groups / "cpu/cpu.cfs_quota_us").read_text())) or -1
    if old > 0:  # version 1, where -1 is no limit
        limits.append(old / int((groups / "cpu/cpu.cfs_period_us").read_text()))
    return min(limits, default=None)


def _providers() -> list[str]:
    import onnxruntime

    return list(onnxruntime.get_available_providers())
