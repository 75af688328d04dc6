"""From nothing to the first verdict, and the memory it takes: fresh processes in turn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.timing import summarise
from blurvote.runtime.errors import GuardError

__all__ = ["measure"]

ROUNDS = 7
VERDICTS = 20

# What each process runs; it prints its own milliseconds, so that starting Python does not count.
# Memory is the process's own VmHWM and VmRSS: getrusage would start from its parent's.
_MEMORY = """
def memory(entry):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(entry)) / 1024
"""
_IMPORT = """
import sys, time, json
started = time.perf_counter()
{imports}
print(json.dumps({{
    "import_ms": (time.perf_counter() - started) * 1e3,
    "peak_memory_mib": memory("VmHWM"),
}}))
"""
_FIRST = """
import sys, time, json
began = time.perf_counter()
import numpy as np
from blurvote.runtime import Guard
from blurvote.runtime.engines.protocol import EngineSettings
from blurvote.runtime.undefended import Undefended
imported = time.perf_counter()
path, engine, height, width, verdicts = sys.argv[1:]
engine = json.loads(engine)
random = np.random.default_rng(0)
frame = random.integers(0, 256, (int(height), int(width), 3), dtype=np.uint8)
started = time.perf_counter()
made = {make}
loaded = time.perf_counter()
made.classify(frame)
first = time.perf_counter()
for _ in range(int(verdicts)):
    made.classify(frame)
ended = time.perf_counter()
print(json.dumps({{
    "import_ms": (imported - began) * 1e3,
    "load_ms": (loaded - started) * 1e3,
    "first_verdict_ms": (first - loaded) * 1e3,
    "steady_verdict_ms": (ended - first) * 1e3 / int(verdicts),
    "peak_memory_mib": memory("VmHWM"),
    "memory_mib": memory("VmRSS"),
}}))
"""
IMPORTS = {
    "nothing": "pass",
    "numpy, onnxruntime": "import numpy, onnxruntime",
    "numpy, onnxruntime, blurvote.runtime": "import numpy, onnxruntime, blurvote.runtime",
}


def measure(bench: Bench) -> None:
    """Adds the facts `start`: medians over fresh processes."""
    programs = {name: _IMPORT.format(imports=text) for name, text in IMPORTS.items()}
    makes: dict[str, str] = {plan: f"Guard(path, plan={plan!r}, **engine)" for plan in bench.plans}
    if len(bench.plans) > 1:
        makes["auto"] = "Guard(path, **engine)"
    if bench.has_clean_view:
        makes["undefended"] = "Undefended(path, EngineSettings(**engine))"
    programs |= {name: _FIRST.format(make=make) for name, make in makes.items()}
    height, width = bench.sizes[0]
    arguments = [str(bench.guard), json.dumps(asdict(bench.engine)), str(height), str(width)]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in programs}
    rounds = max(2, round(ROUNDS * bench.effort))
    for turn in range(rounds + 1):
        bench.say(f"start: round {turn + 1} of {rounds + 1} of fresh processes")
        for name, program in programs.items():
            figures = _run(program, [*arguments, str(VERDICTS)])
            if turn:  # the first round warms the file cache
                found[name].append(figures)
    facts: dict[str, Any] = {
        name: {key: summarise([run[key] for run in runs]).median for key in runs[0]}
        for name, runs in found.items()
    }
    base, full = (facts[name]["import_ms"] for name in list(IMPORTS)[1:])
    facts["import_adds_ms"] = full - base
    bench.results.facts["start"] = facts


def _run(program: str, arguments: list[str]) -> dict[str, float]:
    command = [sys.executable, "-c", _MEMORY + program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise GuardError(f"a fresh process could not classify: {lines[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures
