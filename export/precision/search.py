"""Chooses how an int8 backbone is made, by how close its answers stay to fp32's."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from blurvote.export.backbone import LOGITS
from blurvote.export.ort_session import Session
from blurvote.export.precision.options import METHODS, Method
from blurvote.export.precision.quantise import Quantiser
from blurvote.export.precision.ranges import Histograms, Ranges, ranges_by

__all__ = ["Choice", "Judge", "choose", "divergence"]

FEW = 12  # batches that rank single tensors; the accepted ones are confirmed on all
WORTH = 0.1  # part of the divergence that a tensor in float must take away: each costs time
FUTILE = 3  # tensors in a row that were not worth it, after which the search ends
GOOD_ENOUGH = 0.002  # nats; far below what changes one label in a hundred
MOST_IN_FLOAT = 8


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it was chosen from.

    Attributes:
        method: of the ranges.
        divergences: of every method that was tried, in nats.
        in_float: tensors kept in float.
        steps: divergence after each of them.
        tried: tensors that were tried on their own.
        candidates: tensors that there were; more than `tried` where time ran out.
        seconds: of the whole search.
    """

    method: Method
    divergences: dict[Method, float]
    in_float: tuple[str, ...]
    steps: tuple[float, ...]
    tried: int
    candidates: int
    seconds: float


class Judge:
    """Measures how far a backbone's answers are from those of fp32 on some views.

    Args:
        reference: the fp32 backbone.
        batches: `(V, 3, h, w)` views.
    """

    def __init__(self, reference: onnx.ModelProto, batches: Sequence[NDArray[np.float32]]) -> None:
        session = Session(reference, "the fp32 backbone")
        self._batches = batches
        self._reference = [session.run(batch, LOGITS)[0] for batch in batches]

    def __call__(self, model: onnx.ModelProto, few: bool = False) -> float:
        """Mean `divergence` over all views, or over those of a few batches spread over all."""
        session = Session(model, "the int8 backbone")
        step = max(1, len(self._batches) // FEW) if few else 1
        pairs = list(zip(self._batches, self._reference, strict=True))[::step]
        gaps = [divergence(logits, session.run(views, LOGITS)[0]) for views, logits in pairs]
        return float(np.mean(np.concatenate(gaps)))


def divergence(reference: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float64]:
    """`KL(softmax(reference) || softmax(other))` of each row of `(B, C)` logits, in nats.

    It moves with every change of the answers, where agreement of labels only counts the flips.
    """
    p, q = (_log_softmax(logits.astype(np.float64)) for logits in (reference, other))
    return np.asarray((np.exp(p) * (p - q)).sum(axis=1), np.float64)


def choose(
    quantiser: Quantiser,
    histograms: Histograms,
    judge: Judge,
    method: Method,
    search_s: float,
    say: Callable[[str], None],
) -> tuple[onnx.ModelProto, Choice]:
    """The int8 backbone of least divergence, and how it was found.

    First the method. Then every quantised tensor is tried in float on its own, and the best are
    taken one after another for as long as each takes away `WORTH` of what divergence is left.
    """
    started = time.perf_counter()
    divergences: dict[Method, float] = {}
    found: dict[Method, Ranges] = {}
    for name in METHODS if method == "auto" else (method,):
        found[name] = ranges_by(name, histograms, quantiser.symmetric)
        divergences[name] = judge(quantiser.build(found[name]))
        say(f"ranges by {name}: divergence {divergences[name]:.4f}")
    best = min(divergences, key=lambda name: divergences[name])
    current = divergences[best]

    whole = model = quantiser.build(found[best])
    candidates = quantiser.quantised_tensors(model)
    gains: list[tuple[float, str]] = []
    deadline = time.perf_counter() + search_s
    in_float: list[str] = []
    steps: list[float] = []
    if search_s and current > GOOD_ENOUGH:
        before = judge(model, few=True)
        for number, tensor in enumerate(_outside_in(candidates), start=1):
            # Half of the time is for the second stage.
            if time.perf_counter() > deadline - search_s / 2:
                break
            gains.append((before - judge(quantiser.with_float(whole, [tensor]), few=True), tensor))
            if number % 10 == 0:
                say(f"sensitive tensors: {number} of {len(candidates)} tried")
    futile = 0
    for gain, tensor in sorted(gains, reverse=True):
        over = time.perf_counter() > deadline or len(in_float) == MOST_IN_FLOAT
        if gain <= 0 or futile == FUTILE or current <= GOOD_ENOUGH or over:
            break
        trial = quantiser.with_float(whole, [*in_float, tensor])
        value = judge(trial)
        if value > (1 - WORTH) * current:
            futile += 1
            continue
        futile, model, current = 0, trial, value
        in_float.append(tensor)
        steps.append(value)
        say(f"{tensor} in float: divergence {value:.4f}")
    return model, Choice(
        best,
        divergences,
        tuple(in_float),
        tuple(steps),
        len(gains),
        len(candidates),
        time.perf_counter() - started,
    )


def _outside_in(tensors: Sequence[str]) -> list[str]:
    """First, last, second, last but one, ...: the ends are the usual suspects."""
    return [
        tensors[position // 2] if position % 2 == 0 else tensors[-1 - position // 2]
        for position in range(len(tensors))
    ]


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)
