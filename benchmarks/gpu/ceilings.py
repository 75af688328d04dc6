"""What the device itself can do: copies from the host and matrix products.

Copies go the way that an engine's go, from its own host memory and from ordinary memory. Products
are torch's where it has the device, and there is no product without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from blurvote.benchmarks.timing import Method, measure
from blurvote.runtime.engines.protocol import Engine

__all__ = ["copies", "products"]

SIDE = 8192


def copies(engine: Engine, batch: Any, calls: int = 50) -> dict[str, dict[str, float]]:
    """Milliseconds and GB/s of uploading one batch, by the memory that it lies in.

    Taken from `Engine.run_in_steps`, so that the device is as busy as it is between inferences.
    """
    own = engine.host_buffer(batch.shape, batch.dtype)
    np.copyto(own, batch)
    found = {}
    for name, array in (("the engine's host memory", own), ("ordinary memory", batch)):
        times = [engine.run_in_steps(array)[1].copy_in for _ in range(calls)][5:]
        milliseconds = float(np.median(times))
        found[name] = {"ms": milliseconds, "gb_per_s": batch.nbytes / milliseconds / 1e6}
    return found


def products(method: Method, side: int = SIDE, device: str = "cuda") -> dict[str, float]:
    """TFLOP/s of torch's square product by arithmetic; empty without torch or the device."""
    try:
        import torch
    except ImportError:
        return {}
    if device == "cuda" and not torch.cuda.is_available():
        return {}
    wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    found = {}
    before = torch.backends.cuda.matmul.allow_tf32
    try:
        for name, kind, tf32 in (
            ("fp32", torch.float32, False),
            ("tf32", torch.float32, True),
            ("fp16", torch.float16, False),
        ):
            torch.backends.cuda.matmul.allow_tf32 = tf32
            a = torch.randn((side, side), device=device).to(kind)
            b = torch.randn((side, side), device=device).to(kind)

            def product(a: Any = a, b: Any = b) -> None:
                torch.mm(a, b)
                wait()

            timing = measure({name: product}, method).timings[name]
            found[name] = 2 * side**3 / timing.median / 1e9
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    return found
