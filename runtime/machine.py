"""What the machine offers: cores that this process may use, and what kind of machine it is."""

from __future__ import annotations

import os
import platform
from pathlib import Path

__all__ = ["cpu_name", "gpu_names", "is_jetson", "onnxruntime_advice", "usable_cores"]


def usable_cores() -> int:
    """Physical cores that this process may keep busy, at least 1.

    The affinity mask, with hyper-threads counted once, cut to the control group's CPU quota.
    """
    try:
        cpus = os.sched_getaffinity(0)
    except AttributeError:  # not Linux
        return os.cpu_count() or 1
    topology = Path("/sys/devices/system/cpu")
    cores = set()
    for cpu in cpus:
        siblings = topology / f"cpu{cpu}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text())
        except OSError:
            cores.add(str(cpu))
    return max(1, min(len(cores), _quota()))


def _quota() -> int:
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, int(quota) // int(period))
    except (OSError, ValueError):  # no control group, or "max"
        return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's name as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_names() -> list[str]:
    """The NVIDIA GPUs that the kernel driver has taken, by model; none without the driver."""
    names = []
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        names += [line.split(":", 1)[1].strip() for line in lines if line.startswith("Model:")]
    return names


def is_jetson() -> bool:
    """Whether this is an NVIDIA Jetson; see `blurvote.runtime.jetson`."""
    from blurvote.runtime.jetson import read_jetson

    return read_jetson(Path("/")) is not None


def onnxruntime_advice(gpu: bool) -> str:
    """The line that installs the right onnxruntime wheel on this machine."""
    if is_jetson():
        from blurvote.runtime.jetson import read_jetson, wheel_advice

        return wheel_advice(read_jetson())
    if gpu and platform.machine() == "aarch64":
        return "pip install onnxruntime-gpu (its aarch64 wheel serves data-centre GPUs)"
    if gpu:
        return "pip uninstall onnxruntime; pip install onnxruntime-gpu"
    return "pip install onnxruntime"
