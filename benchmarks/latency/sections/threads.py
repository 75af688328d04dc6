"""How many threads to give one verdict, and what spinning buys."""

from __future__ import annotations

from functools import partial

from blurvote.benchmarks.latency.bench import Bench
from blurvote.benchmarks.latency.ways import agreeing_frame
from blurvote.benchmarks.results import rows_of
from blurvote.runtime.machine import usable_cores

__all__ = ["counts", "measure"]


def counts() -> list[int]:
    """1, 2, 4, ... and the usable cores."""
    cores = usable_cores()
    return sorted({1, cores, *(2**k for k in range(cores.bit_length()) if 2**k <= cores)})


def measure(bench: Bench) -> None:
    """Adds the rows of section `threads`: case is the plan, way the threads."""
    frames = bench.pictures.frames(*bench.sizes[0], count=12)
    for plan in bench.plans:
        settings = [(n, True) for n in counts()]
        if bench.provider != "openvino":  # whose threads sleep between runs anyway
            settings.append((counts()[-1], False))
        guards = {
            f"{n}" if spin else f"{n}, no spinning": bench.load(plan, threads=n, spin=spin)
            for n, spin in settings
        }
        frame = agreeing_frame(list(guards.values())[:1], frames)
        ways = {name: partial(guard.classify, frame) for name, guard in guards.items()}
        measured = bench.measure(f"threads, {plan}", ways)
        bench.results.rows += rows_of("threads", plan, measured, "1")
        for guard in guards.values():
            guard.close()
