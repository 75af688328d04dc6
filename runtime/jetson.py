"""Which Jetson this is: its module, its software, and the onnxruntime wheel that fits both."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Jetson", "read_jetson", "read_text", "wheel_advice"]

# JetPack by the release of Jetson Linux (L4T) that it comes with: the release notes of each
# JetPack. Releases of fixes, such as 36.4.7, are not here.
_JETPACK = {
    "32.7.1": "4.6.1",
    "32.7.2": "4.6.2",
    "32.7.3": "4.6.3",
    "32.7.4": "4.6.4",
    "32.7.5": "4.6.5",
    "32.7.6": "4.6.6",
    "34.1.0": "5.0 DP",
    "34.1.1": "5.0.1 DP",
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "36.2.0": "6.0 DP",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.5.0": "6.2.2",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.4.0": "7.1",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
}
_JETPACK_OF_MAJOR = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}

# By the part number in the device tree's `compatible` (NVIDIA's module numbers, as in the Jetson
# Linux developer guide's quick start).
_MODULES = {
    "p3668-0000": "Xavier NX 8GB (developer kit)",
    "p3668-0001": "Xavier NX 8GB",
    "p3668-0003": "Xavier NX 16GB",
    "p3701-0000": "AGX Orin 32GB (developer kit)",
    "p3701-0004": "AGX Orin 32GB",
    "p3701-0005": "AGX Orin 64GB",
    "p3701-0008": "AGX Orin Industrial",
    "p3767-0000": "Orin NX 16GB",
    "p3767-0001": "Orin NX 8GB",
    "p3767-0003": "Orin Nano 8GB",
    "p3767-0004": "Orin Nano 4GB",
    "p3767-0005": "Orin Nano 8GB (developer kit)",
    "p3834-0008": "AGX Thor",
}

# The GPU's architecture, for which a wheel must hold kernels.
_GPUS = {"tegra194": "sm_72", "tegra234": "sm_87", "tegra264": "sm_110"}

_RELEASE = re.compile(r"#\s*R(\d{1,6})\s*\(release\),\s*REVISION:\s*(\d{1,6}(?:\.\d{1,6})*)")


@dataclass(frozen=True)
class Jetson:
    """What a Jetson's files say of it; a part is None where they do not.

    Attributes:
        model: name of the board, such as `"NVIDIA Jetson AGX Orin Developer Kit"`.
        module: name of the module on it, such as `"AGX Orin 64GB"`.
        gpu: architecture of the GPU, such as `"sm_87"`.
        l4t: release of Jetson Linux (L4T), such as `"36.4.3"`.
    """

    model: str | None
    module: str | None
    gpu: str | None
    l4t: str | None

    @property
    def jetpack(self) -> str | None:
        """The JetPack that this L4T comes with; `"6.2+"` where only an older one is known."""
        if self.l4t is None or self.l4t in _JETPACK:
            return _JETPACK.get(self.l4t or "")
        mine = _numbers(self.l4t)
        older = [each for each in _JETPACK if each[:2] == self.l4t[:2] and _numbers(each) < mine]
        if older:
            return f"{_JETPACK[max(older, key=_numbers)]}+"
        return f"{self.jetpack_major}.x" if self.jetpack_major else None

    @property
    def jetpack_major(self) -> int | None:
        """The first number of the JetPack."""
        return _JETPACK_OF_MAJOR.get(_numbers(self.l4t)[0]) if self.l4t else None


def read_jetson(root: Path = Path("/")) -> Jetson | None:
    """The Jetson that this is, or None on another machine.

    Args:
        root: the folder that holds `etc`, `proc` and `sys`.
    """
    release = read_text(root / "etc/nv_tegra_release")
    compatible = (read_text(root / "proc/device-tree/compatible") or "").split("\0")
    found = [soc for soc in _GPUS if f"nvidia,{soc}" in compatible]
    if release is None and not found:
        return None
    match = _RELEASE.search(release or "")
    parts = [part for name in compatible for part in re.findall(r"p\d{4}-\d{4}", name)]
    model = (read_text(root / "proc/device-tree/model") or "").strip("\0\n ")
    return Jetson(
        model=model or None,
        module=next((_MODULES[part] for part in parts if part in _MODULES), None),
        gpu=_GPUS[found[0]] if found else None,
        l4t=_three_numbers(int(match[1]), match[2]) if match else None,
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _three_numbers(major: int, revision: str) -> str:
    """R36, revision 4.3 is 36.4.3; R38, revision 4 is 38.4.0."""
    return ".".join([str(major), *[*revision.split("."), "0"][:2]])


def read_text(path: Path) -> str | None:
    """A file's text, or None where there is none to be read."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return None


def wheel_advice(jetson: Jetson | None, python: tuple[int, int] = sys.version_info[:2]) -> str:
    """How to come by an onnxruntime that uses this Jetson's GPU.

    Args:
        jetson: None where its files could not be read.
        python: the version that runs blurvote.
    """
    major = jetson.jetpack_major if jetson else None
    gpu = jetson.gpu if jetson and jetson.gpu else "its GPU"
    if major is None:
        return (
            "on a Jetson install NVIDIA's onnxruntime-gpu wheel for your JetPack "
            f"(the wheel on PyPI has no kernels for {gpu}); see docs/jetson.md"
        )
    if major < 6:
        return (
            f"JetPack {major} has no onnxruntime-gpu wheel for Python 3.10 or newer, which "
            "blurvote needs: run on the CPU (pip install onnxruntime), or move to JetPack 6"
        )
    system, index = ((3, 10), "jp6/cu126") if major == 6 else ((3, 12), "sbsa/cu130")
    if python != system:
        return (
            f"NVIDIA's onnxruntime-gpu wheels for JetPack {major} are for its own Python "
            f"{system[0]}.{system[1]}, and this is {python[0]}.{python[1]}: make the environment "
            f"anew by python{system[0]}.{system[1]} -m venv"
        )
    return (
        "pip uninstall onnxruntime; pip install onnxruntime-gpu --index-url INDEX, where INDEX is "
        f"{index} of NVIDIA's Jetson AI Lab (the wheel on PyPI has no kernels for {gpu}); "
        "see docs/jetson.md, also for building one where blurvote doctor then still finds no cuda"
    )
