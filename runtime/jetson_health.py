"""What a Jetson has and lacks for blurvote, by its files, and the line that mends each."""

from __future__ import annotations

import re
from pathlib import Path

from blurvote.runtime.jetson import read_text

__all__ = ["Check", "clocks_pinned", "examine_jetson", "power_budget"]

Check = dict[str, bool | str | None]
"""`works`: True, False, or None for a hint; `why`: what was found, and the fix if there is one."""

_JETPACK = "sudo apt install nvidia-jetpack"
# The first pattern that matches counts; the longest name has the whole version.
_LIBRARIES = {
    "CUDA": (
        "usr/local/cuda/targets/*/lib/libcudart.so.*",
        "usr/local/cuda*/targets/*/lib/libcudart.so.*",
        "usr/local/cuda*/lib64/libcudart.so.*",
    ),
    "cuDNN": ("usr/lib/aarch64-linux-gnu/libcudnn.so.*",),
    "TensorRT": ("usr/lib/aarch64-linux-gnu/libnvinfer.so.*",),
}
_SMALL_MEMORY_KIB = 12 * 2**20  # the modules of 4 and 8 GB, whose GPU shares it


def examine_jetson(root: Path = Path("/")) -> dict[str, Check]:
    """One check per thing that a guard on a Jetson needs or gains from.

    Args:
        root: the folder that holds `etc`, `proc`, `sys`, `usr` and `var`.
    """
    checks = {name: _library(root, patterns) for name, patterns in _LIBRARIES.items()}
    checks["power mode"] = _power_mode(root)
    checks["jetson_clocks"] = _clocks(root)
    checks["CSI camera"] = _camera(root)
    checks["memory"] = _memory(root)
    return checks


def _library(root: Path, patterns: tuple[str, ...]) -> Check:
    for pattern in patterns:
        found = sorted(root.glob(pattern), key=lambda path: len(path.name))
        if found:
            return {"works": True, "why": f"/{found[-1].relative_to(root)}"}
    return {"works": False, "why": f"not found; {_JETPACK}"}


def _power_mode(root: Path) -> Check:
    """The mode in force, and whether it is the fastest."""
    status = re.search(r"pmode:(\d{1,6})", read_text(root / "var/lib/nvpmodel/status") or "")
    config = read_text(root / "etc/nvpmodel.conf") or ""
    modes = {
        int(number): name
        for number, name in re.findall(
            r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,6})\s+NAME=(\S+)", config, re.M
        )
    }
    if not status or not modes:
        return {"works": None, "why": "not known; sudo nvpmodel -q tells it"}
    number = int(status[1])
    name = modes.get(number, f"mode {number}")
    best = max(modes, key=lambda each: power_budget(modes[each]))
    if power_budget(name) == power_budget(modes[best]):
        return {"works": True, "why": name}
    fix = f"sudo nvpmodel -m {best} takes the fastest, {modes[best]}, where cooling allows"
    return {"works": None, "why": f"{name}; {fix}"}


def power_budget(mode: str) -> tuple[bool, bool, int]:
    """Orders the names of power modes: MAXN_SUPER, MAXN, then by the watts in the name."""
    watts = re.search(r"(\d{1,6})W", mode)
    return mode == "MAXN_SUPER", mode.startswith("MAXN"), int(watts[1]) if watts else 0


def _clocks(root: Path) -> Check:
    pinned = clocks_pinned(root)
    if pinned is None:
        return {"works": None, "why": "not known; sudo jetson_clocks --show tells it"}
    if pinned:
        return {"works": True, "why": "clocks are pinned at their greatest"}
    return {"works": None, "why": "clocks follow the load; sudo jetson_clocks pins them"}


def clocks_pinned(root: Path = Path("/")) -> bool | None:
    """Whether CPU and GPU may run at one clock only, as jetson_clocks leaves them.

    Returns:
        None where no clock can be read.
    """
    limits = [
        (read_text(folder / least), read_text(folder / greatest))
        for pattern, least, greatest in (
            ("sys/devices/system/cpu/cpu[0-9]*/cpufreq", "scaling_min_freq", "scaling_max_freq"),
            # Such as 17000000.gv11b, .ga10b or .gpu; gpu-gpc-0 on Thor.
            ("sys/class/devfreq/*g[abpv]1[01]b", "min_freq", "max_freq"),
            ("sys/class/devfreq/*gpu*", "min_freq", "max_freq"),
        )
        for folder in root.glob(pattern)
    ]
    readable = [(least, greatest) for least, greatest in limits if least and greatest]
    return all(least == greatest for least, greatest in readable) if readable else None


def _camera(root: Path) -> Check:
    plugins = "usr/lib/aarch64-linux-gnu/gstreamer-1.0"
    if not (root / plugins / "libgstnvarguscamerasrc.so").exists():
        fix = "sudo apt install nvidia-l4t-gstreamer"
        return {"works": False, "why": f"GStreamer has no nvarguscamerasrc; {fix}"}
    if not list((root / "dev").glob("video*")):
        return {
            "works": None,
            "why": "no sensor is set up (no /dev/video*); sudo /opt/nvidia/jetson-io/jetson-io.py",
        }
    return {"works": True, "why": "csi://0"}


def _memory(root: Path) -> Check:
    """How much there is, and whether swap is on disk where it is little."""
    text = read_text(root / "proc/meminfo") or ""
    sizes = {name: int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d{1,18}) kB", text, re.M)}
    if "MemTotal" not in sizes:
        return {"works": None, "why": "not known (no /proc/meminfo)"}
    total, swap = (sizes.get(name, 0) / 2**20 for name in ("MemTotal", "SwapTotal"))
    why = f"{total:.1f} GiB, shared with the GPU; swap {swap:.1f} GiB"
    areas = (read_text(root / "proc/swaps") or "").splitlines()[1:]
    on_disk = [line for line in areas if not line.startswith("/dev/zram")]
    if sizes["MemTotal"] > _SMALL_MEMORY_KIB or on_disk:
        return {"works": True, "why": why}
    fix = (
        "building an engine may need more: sudo fallocate -l 8G /swapfile && sudo chmod 600 "
        "/swapfile && sudo mkswap /swapfile && sudo swapon /swapfile"
    )
    kind = "zram only" if areas else "none"
    return {"works": None, "why": f"{why} ({kind}); {fix}"}
