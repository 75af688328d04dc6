"""Power, heat and clocks of an NVIDIA Jetson while a benchmark runs, as `tegrastats` prints them.

The line differs between generations and releases: NVIDIA describes the fields in the Jetson Linux
Developer Guide, "tegrastats Utility". What a line lacks is None or empty here; every field may be
missing except RAM, by which a line is known to be one.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from blurvote.benchmarks.nvidia import ask, stop
from blurvote.runtime.jetson import read_text
from blurvote.runtime.jetson_health import clocks_pinned, power_budget

__all__ = ["Core", "Rail", "Recorder", "Sample", "jetson", "parse", "power_mode", "total_rails"]

_RAM = re.compile(r"\bRAM (\d+)/(\d+)MB")
_SWAP = re.compile(r"\bSWAP (\d+)/(\d+)MB")
_CPU = re.compile(r"(?<!\S)CPU \[([^\]]*)\](?:@(\d+))?")
_CORE = re.compile(r"(\d+)%(?:@(\d+))?$")
_EMC = re.compile(r"\bEMC_FREQ (\d+)%")
# Nano to Xavier: "8%@921"; Orin: "8%" or "8%@[918,0]", one clock per cluster; Thor: "@[0,0,0]".
_GPU = re.compile(r"\bGR3D_FREQ (?:(\d+)%)?(?:@\[?([\d,]+)\]?)?")
_HEAT = re.compile(r"(?<!\S)([A-Za-z]\w*)@(-?\d+(?:\.\d+)?)C(?![^\s/])")
# JetPack 5 and later write mW; some releases a third number, which is not read.
_RAIL = re.compile(r"(?<!\S)([A-Z]\w*) (-?\d+)(?:mW)?/(-?\d+)(?:mW)?(?:/-?\d+mW)?(?!\S)")
_ABSENT_C = -256.0  # a sensor in a part that is switched off
_INPUTS = ("VDD_IN", "POM_5V_IN", "VIN")  # rails that carry everything the others do


@dataclass(frozen=True)
class Core:
    """Load in percent and clock in MHz of a CPU core that is on; mhz is None where not given."""

    percent: int
    mhz: int | None


@dataclass(frozen=True)
class Rail:
    """Power of one supply rail in mW: at this moment, and on average since tegrastats started."""

    now_mw: int
    average_mw: int


@dataclass(frozen=True)
class Sample:
    """One line of tegrastats.

    Attributes:
        ram_used_mb, ram_total_mb: memory, which CPU and GPU share.
        swap_used_mb, swap_total_mb: None where there is no swap.
        cores: one entry per CPU core; None for a core that is off.
        emc_percent: load of the memory controller.
        gpu_percent: load of the GPU; gpu_mhz: its clocks, one per cluster, () where not given.
        temperatures_c: by sensor, without those that are off.
        rails: by name, without those that are not connected.
    """

    ram_used_mb: int
    ram_total_mb: int
    swap_used_mb: int | None
    swap_total_mb: int | None
    cores: tuple[Core | None, ...]
    emc_percent: int | None
    gpu_percent: int | None
    gpu_mhz: tuple[int, ...]
    temperatures_c: Mapping[str, float]
    rails: Mapping[str, Rail]


def parse(line: str) -> Sample | None:
    """Reads one line; None for anything that is no line of statistics."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    swap, cpu, emc, gpu = (p.search(line) for p in (_SWAP, _CPU, _EMC, _GPU))
    return Sample(
        ram_used_mb=int(ram[1]),
        ram_total_mb=int(ram[2]),
        swap_used_mb=int(swap[1]) if swap else None,
        swap_total_mb=int(swap[2]) if swap else None,
        cores=tuple(_core(text.strip(), cpu[2]) for text in cpu[1].split(",")) if cpu else (),
        emc_percent=int(emc[1]) if emc else None,
        gpu_percent=_int(gpu[1]) if gpu else None,
        gpu_mhz=tuple(int(c) for c in gpu[2].split(",") if c) if gpu and gpu[2] else (),
        temperatures_c={
            name: float(value) for name, value in _HEAT.findall(line) if float(value) > _ABSENT_C
        },
        rails={
            name: Rail(int(now), int(average))
            for name, now, average in _RAIL.findall(line)
            if name != "NC"
        },
    )


def _core(text: str, shared_mhz: str | None) -> Core | None:
    core = _CORE.match(text)
    return Core(int(core[1]), _int(core[2] or shared_mhz)) if core else None


def _int(text: str | None) -> int | None:
    return int(text) if text else None


def total_rails(rails: Iterable[str]) -> tuple[str, ...]:
    """The rails whose sum is the power to report: the input rail alone, or else all of them."""
    names = tuple(rails)
    return next(((name,) for name in _INPUTS if name in names), names)


class Recorder:
    """Runs `tegrastats` while a benchmark runs: `with Recorder() as recorder: ...`.

    Does nothing where that program cannot be run. Unreadable lines are counted and passed over.
    """

    def __init__(self, interval_ms: int = 500) -> None:
        self.interval_ms = interval_ms
        self.samples: list[Sample] = []
        self.ignored_lines = 0
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Recorder:
        try:
            self._process = subprocess.Popen(
                ["tegrastats", "--interval", str(self.interval_ms)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                start_new_session=True,  # so that Ctrl-C ends the benchmark first
            )
        except OSError:
            return self
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        return self

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                sample = parse(line)
                if sample is not None:
                    self.samples.append(sample)
                elif line.strip():
                    self.ignored_lines += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._reader is not None:
            stop(self._process)
            self._reader.join(timeout=2.0)  # the pipe has no writer left

    def summary(self) -> dict[str, Any] | None:
        """Least, mean and greatest power in mW and temperature in C; None without tegrastats.

        `power_of` names the rails whose sum `power_mw` is. Both are None where no rail is shown:
        some boards and releases hide them from all but root.
        """
        if self._process is None:
            return None
        samples = list(self.samples)
        of = next((total_rails(s.rails) for s in samples if s.rails), ())
        totals = [
            sum(s.rails[name].now_mw for name in of)
            for s in samples
            if of and all(name in s.rails for name in of)
        ]
        return {
            "interval_ms": self.interval_ms,
            "samples": len(samples),
            "ignored_lines": self.ignored_lines,
            "power_of": list(of) or None,
            "power_mw": _spread(totals),
            "rails_mw": _spreads({k: v.now_mw for k, v in s.rails.items()} for s in samples),
            "temperatures_c": _spreads(s.temperatures_c for s in samples),
            "gpu_percent": _spread([s.gpu_percent for s in samples if s.gpu_percent is not None]),
            "ram_used_mb": _spread([s.ram_used_mb for s in samples]),
        }


def _spread(values: list[int] | list[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"minimum": min(values), "mean": sum(values) / len(values), "maximum": max(values)}


def _spreads(samples: Iterable[Mapping[str, float]]) -> dict[str, dict[str, float] | None]:
    by_name: dict[str, list[float]] = {}
    for sample in samples:
        for name, value in sample.items():
            by_name.setdefault(name, []).append(value)
    return {name: _spread(values) for name, values in by_name.items()}


def jetson(root: str | Path = "/") -> dict[str, Any] | None:
    """Which Jetson this is and how it is set; None on anything else.

    `release` is the first line of /etc/nv_tegra_release, `model` the board's own name, `power_mode`
    see `power_mode`, and `jetson_clocks` whether the clocks of CPU and GPU are pinned (their least
    allowed equals their greatest, as jetson_clocks leaves them); None where not readable.
    """
    root = Path(root)
    release = (_text(root / "etc/nv_tegra_release") or "").partition("\n")[0] or None
    model = _text(root / "proc/device-tree/model")
    if release is None and "jetson" not in (model or "").lower():
        return None
    return {
        "release": release,
        "model": model,
        "power_mode": power_mode(
            ask(["nvpmodel", "-q"]) or "", _text(root / "etc/nvpmodel.conf") or ""
        ),
        "jetson_clocks": clocks_pinned(root),
    }


def power_mode(answer: str, config: str = "") -> dict[str, Any] | None:
    """The mode that `nvpmodel -q` names: `name`, `id`, and `maximum`: whether it is the fastest.

    Args:
        answer: what `nvpmodel -q` printed.
        config: the text of /etc/nvpmodel.conf, which lists the board's modes. Without it, only
            a MAXN mode is known to be the fastest, and `maximum` is None for others.
    """
    name = re.search(r"NV Power Mode: *(\S+)", answer)
    if name is None:
        return None
    number = re.search(r"^(\d+)\s*$", answer, re.MULTILINE)
    modes = re.findall(r"<\s*POWER_MODEL\b[^>]*\bNAME=(\S+?)\s*>", config)
    if name[1] in modes:
        maximum: bool | None = power_budget(name[1]) == max(map(power_budget, modes))
    else:
        maximum = True if name[1].startswith("MAXN") else None
    return {"name": name[1], "id": int(number[1]) if number else None, "maximum": maximum}


def _text(path: Path) -> str | None:
    return (read_text(path) or "").strip("\0 \n") or None
