"""Square attack by queries on the deployed guard, with ART as a real third-party client.

Andriushchenko et al., *Square Attack: a query-efficient black-box adversarial attack via random
search* (2020), L-inf, as `art.attacks.evasion.SquareAttack` runs it. The attacker sends 8-bit
frames and reads, per frame, the label (or the rejection) and the scores of all classes.

How the guard is presented to ART: a `BlackBoxClassifierNeuralNetwork` with C + 1 columns. The first
C are the scores; the last one is the label that the guard gave, -1 where it rejected, which the
criterion of success reads: a rejected frame is no success, however wrong its scores. The loss is
`log score[truth] - log(largest wrong score)`; it goes on falling beyond the point where the mean of
the views is wrong, until the views agree and the guard accepts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blurvote.benchmarks.optional import require
from blurvote.benchmarks.robustness.attacks.budget import check_epsilon, whole_levels
from blurvote.runtime.errors import BlurvoteError, FrameError
from blurvote.runtime.vote import REJECTED

__all__ = ["Answers", "Query", "Squared", "square"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Answers:
    """What the guard tells its client about N frames.

    Attributes:
        scores: `(N, C)` floating point in [0, 1]: the views' mean softmax.
        labels: `(N,)` int64, the labels that it gave; -1 where it rejected.
    """

    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]


Query = Callable[[Pixels], Answers]
"""The deployed guard: frames `(N, H, W, 3)` uint8 RGB to its answers."""


@dataclass(frozen=True, eq=False)
class Squared:
    """The outcome on N frames.

    Attributes:
        frames: `(N, H, W, 3)` uint8: the first frame that succeeded, or else the one with the
            smallest loss.
        succeeded: whether the guard accepted it under a wrong label.
        queries: distinct frames that the guard was asked about, up to and with that success.
    """

    frames: Pixels
    succeeded: tuple[bool, ...]
    queries: tuple[int, ...]


def square(
    query: Query,
    frames: Pixels,
    labels: Sequence[int],
    epsilon: float,
    queries: int,
    seeds: Sequence[int],
    first_share: float = 0.8,
) -> Squared:
    """Attacks each frame on its own; other frames change nothing about it.

    ART asks about the same frame up to three times in a row. A client remembers an answer, so only
    distinct frames are sent and counted. Epsilon is rounded down to whole grey levels, which makes
    every frame of the search an 8-bit frame. NumPy's global generator, which ART draws from, is
    seeded for each frame and put back afterwards: not for threads that draw from it meanwhile.

    Args:
        query: the guard.
        frames: `(N, H, W, 3)` uint8 RGB, H and W at least 4.
        labels: N true classes.
        epsilon: L-inf radius, pixels in [0, 1].
        queries: most distinct frames per attacked frame, at least 1.
        seeds: one per frame.
        first_share: share of the pixels in the first square, in (0, 1); halved as queries are
            spent. It is lowered where the square would not fit into the frame.

    Raises:
        FrameError: frames of the wrong shape, or not one label and one seed for each.
        BlurvoteError: epsilon, queries or first_share out of range.
        ProviderError: ART is missing.
    """
    check_epsilon(epsilon, "linf")
    _check(frames, labels, seeds, queries, first_share)
    evasion, classification = require(
        "the Square attack",
        ("art.attacks.evasion", "art.estimators.classification"),
        "adversarial-robustness-toolbox",
    )
    height, width = frames.shape[1:3]
    # ART draws the corner from [0, side - tile), which is empty for a tile as long as a side.
    longest = min(height, width) - 1
    fitting = ((longest - 0.01) ** 2) / (height * width)
    results = []
    for frame, label, seed in zip(frames, labels, seeds, strict=True):
        client = _Client(query, frame, label, queries)
        guard = classification.BlackBoxClassifierNeuralNetwork(
            client.predict,
            frame.shape,
            client.classes + 1,
            channels_first=False,
            clip_values=(0.0, 1.0),
        )
        attack = evasion.SquareAttack(
            guard,
            norm=np.inf,
            adv_criterion=client.wrong,
            loss=client.loss,
            max_iter=queries,
            eps=whole_levels(epsilon) / 255,
            p_init=min(first_share, fitting),
            batch_size=1,
            verbose=False,
        )
        with _seeded(seed):
            client.run(attack)
        results.append(client)
    return Squared(
        np.stack([client.best for client in results]),
        tuple(client.succeeded for client in results),
        tuple(client.asked for client in results),
    )


class _Spent(Exception):
    """The limit of queries is reached, or the attack has succeeded."""


class _Client:
    """One frame's attacker: asks, remembers, counts, and keeps the best frame."""

    def __init__(self, query: Query, frame: Pixels, label: int, limit: int) -> None:
        self._query, self._label, self._limit = query, label, limit
        self._frame = frame
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._least = np.inf
        self.best, self.succeeded, self.asked = frame, False, 0
        # The first question is about the frame itself, and tells the number of classes.
        self.classes = self._ask(frame).size - 1

    def run(self, attack: Any) -> None:
        """Searches until success or until the queries are spent."""
        if self.succeeded:
            return
        start = self._frame[None].astype(np.float32) / 255
        truth = np.eye(self.classes + 1, dtype=np.float32)[[self._label]]
        with suppress(_Spent):
            attack.generate(start, truth)

    def predict(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """What ART calls the classifier: `(N, C + 1)` for frames `(N, H, W, 3)` in [0, 1]."""
        pixels = np.rint(np.asarray(frames, np.float64) * 255).clip(0, 255).astype(np.uint8)
        return np.stack([self._ask(frame) for frame in pixels])

    def wrong(self, answers: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.bool_]:
        """ART's criterion: `(N,)`, accepted under a wrong label."""
        given = answers[:, -1]
        return np.asarray((given != REJECTED) & (given != self._label))

    def loss(self, frames: NDArray[np.float32], _: NDArray[np.float32]) -> NDArray[np.float64]:
        """ART's loss: `(N,)`, what the search lowers."""
        return np.array([self._loss(answer) for answer in self.predict(frames)])

    def _loss(self, answer: NDArray[np.float32]) -> float:
        shares = np.log(np.maximum(answer[:-1].astype(np.float64), 1e-30))
        return float(shares[self._label] - np.delete(shares, self._label).max())

    def _ask(self, pixels: Pixels) -> NDArray[np.float32]:
        key = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        known = self._known.get(key)
        if known is not None:
            return known
        if self.succeeded or self.asked >= self._limit:
            raise _Spent
        self.asked += 1
        answers = self._query(np.ascontiguousarray(pixels[None]))
        classes = answers.scores.shape[1]
        if not 0 <= self._label < classes:
            raise BlurvoteError(
                f"label {self._label} with scores of {classes} classes; expected 0 to {classes - 1}"
            )
        answer = np.append(answers.scores[0], answers.labels[0]).astype(np.float32)
        self._known[key] = answer
        self._keep(pixels, answer)
        return answer

    def _keep(self, pixels: Pixels, answer: NDArray[np.float32]) -> None:
        loss = self._loss(answer)
        if self.wrong(answer[None], answer)[0]:
            self.best, self.succeeded = pixels, True
        elif loss < self._least:
            self.best, self._least = pixels, loss


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """NumPy's global generator from `seed`, as it was before afterwards."""
    before = np.random.get_state()  # noqa: NPY002 - the generator that ART uses
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


def _check(
    frames: Pixels, labels: Sequence[int], seeds: Sequence[int], queries: int, share: float
) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3:
        raise FrameError(f"frames are {frames.shape} {frames.dtype}; expected (N, H, W, 3) uint8")
    if not len(frames) or min(frames.shape[1:3]) < 4:
        raise FrameError(f"frames are {frames.shape}; expected at least one, of 4x4 px or more")
    if not len(frames) == len(labels) == len(seeds):
        raise FrameError(
            f"{len(labels)} labels and {len(seeds)} seeds for {len(frames)} frames; expected one "
            f"of each for every frame"
        )
    if queries < 1:
        raise BlurvoteError(f"queries is {queries!r}; expected at least 1")
    if not 0 < share < 1:
        raise BlurvoteError(f"first_share is {share!r}; expected a number in (0, 1)")
