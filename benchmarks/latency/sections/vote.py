"""The vote over 3 x 1000 logits: in C++, from Python, beside NumPy.

One call for 1000 frames divides Python's share of a call by 1000, which leaves the C++ vote; small
calls are timed 500 together, so that the clock's own cost does not count. Times are given per vote.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.latency.bench import Bench
from blurvote.runtime.vote import majority_vote

__all__ = ["measure", "numpy_vote"]

FRAMES = 1000
CALLS = 500


def numpy_vote(logits: NDArray[np.float32]) -> int:
    """What one would write without blurvote, for one frame's `(1, V, C)` logits."""
    labels, counts = np.unique(logits[0].argmax(axis=-1), return_counts=True)
    return int(labels[counts.argmax()]) if 2 * counts.max() > logits.shape[1] else -1


def measure(bench: Bench) -> None:
    """Adds the facts `vote`: median microseconds per vote."""
    random = np.random.default_rng(0)
    many = random.normal(size=(FRAMES, 3, 1000)).astype(np.float32)
    one = np.ascontiguousarray(many[:1])
    halves = many.astype(np.float16)

    def repeat(vote: Callable[[NDArray[np.float32]], object]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(CALLS):
                vote(one)

        return calls

    measured = bench.measure(
        "vote",
        {
            "C++, float32": lambda: majority_vote(many),
            "C++, float16": lambda: majority_vote(halves),
            "from Python": repeat(majority_vote),
            "NumPy": repeat(numpy_vote),
        },
    )
    facts: dict[str, Any] = {
        name: 1e3 * timing.median / (FRAMES if name.startswith("C++") else CALLS)
        for name, timing in measured.timings.items()
    }
    bench.results.facts["vote"] = {"median_us": facts}
