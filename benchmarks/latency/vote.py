"""The vote over 3 x 1000 logits: in C++, from Python, beside NumPy and torch.

    python -m blurvote.benchmarks.latency.vote [--out FOLDER]

One call for 1000 frames divides Python's share of a call by 1000, which leaves the C++ vote.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.report import add_output_options, entry, publish, table
from blurvote.benchmarks.timing import interleave
from blurvote.runtime import majority_vote

FRAMES = 1000  # of one large call
CALLS = 500  # small calls timed together, so that the clock's own cost does not count


def numpy_vote(logits: NDArray[np.float32]) -> int:
    """What one would write without blurvote, for one frame."""
    labels, counts = np.unique(logits[0].argmax(axis=-1), return_counts=True)
    return int(labels[counts.argmax()]) if 2 * counts.max() > logits.shape[1] else -1


def main() -> None:
    """Measures and publishes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    add_output_options(parser)
    args = parser.parse_args()
    random = np.random.default_rng(0)
    many = random.normal(size=(FRAMES, 3, 1000)).astype(np.float32)
    one = np.ascontiguousarray(many[:1])
    halves = many.astype(np.float16)

    def repeat(vote: Callable[[NDArray[np.float32]], object]) -> Callable[[], None]:
        def calls() -> None:
            for _ in range(CALLS):
                vote(one)

        return calls

    times = interleave(
        {
            "C++, float32": lambda: majority_vote(many),
            "C++, float16": lambda: majority_vote(halves),
            "from Python": repeat(majority_vote),
            "NumPy": repeat(numpy_vote),
        },
        rounds=20,
    )
    microseconds = {
        name: 1e3 * timing.median / (FRAMES if name.startswith("C++") else CALLS)
        for name, timing in times.items()
    }
    rows = [[name, value] for name, value in microseconds.items()]
    text = "vote of 3 x 1000 logits\n" + table(["way", "median us"], rows)
    publish(args, "vote", {"median_us": microseconds}, text)


if __name__ == "__main__":
    entry(main)
