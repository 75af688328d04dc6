"""The decision of a `frames` guard as a graph: logits of all views to labels, counts and votes.

Rules, the same as the C++ vote's:

1. A view votes for its largest logit, the first where several are equal; +inf is a largest value.
2. A view whose logits hold NaN, or nothing but -inf, casts no vote: its label is -1.
3. `majority` and `single`: a label wins with more than V / 2 of all V views, with or without vote;
   the count is the most votes that any label got.
4. `mean`: the softmax of the views that vote is averaged; its largest entry wins when it reaches
   the threshold, and the count is the number of views that voted for it, 0 when rejected. An
   infinite logit counts as the largest finite one, so that its softmax is defined.

Every tensor that may hold NaN is masked before ArgMax and ReduceMax, whose handling of NaN differs
between runtimes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blurvote.export.graph_builder import GraphBuilder
from blurvote.runtime.defense import Decision

__all__ = ["NOISY_THRESHOLD", "PREFIX", "THRESHOLD", "NoisyFrames", "add_vote"]

PREFIX = "vote/"
THRESHOLD = "blurvote_threshold"
NOISY_THRESHOLD = "blurvote_noisy_threshold"
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NoisyFrames:
    """Which frames are noisy: the name of a bool `(N,)` tensor, and `threshold` for those."""

    is_noisy: str
    threshold: float | None


def add_vote(
    graph: GraphBuilder,
    logits: str,
    decision: Decision,
    threshold: float | None,
    noisy: NoisyFrames | None = None,
) -> None:
    """Adds the decision. Its outputs are tensors called `label`, `count` and `view_labels`.

    Args:
        logits: name of a float32 `(N, V, C)` tensor, V >= 1, C >= 1.
        decision: `"single"` is the majority of its only view.
        threshold: smallest mean softmax that `"mean"` accepts; None accepts everything.
        noisy: of guards whose noisy frames have views, and a threshold, of their own.

    Adds:
        label: `(N,)` int64, -1 where the frame is rejected.
        count: `(N,)` int64.
        view_labels: `(N, V)` int64, -1 where a view casts no vote.
    """
    clean, voting = _mask(graph, logits)
    choice = graph.op("ArgMax", [clean], "largest_logit", axis=2, keepdims=0)
    none = graph.constant("none", np.array(-1, np.int64))
    labels = graph.op("Where", [voting, choice, none], "votes", output="view_labels")
    if decision == "mean":
        limit = _limit(graph, threshold, noisy)
        _mean(graph, clean, voting, labels, none, limit)
    else:
        _majority(graph, logits, voting, labels, none)


def _mask(graph: GraphBuilder, logits: str) -> tuple[str, str]:
    """Logits without NaN, and `(N, V)` bool: which views cast a vote (rule 2)."""
    lowest = graph.constant("minus_infinity", np.array(-np.inf, np.float32))
    last = graph.constant("classes_axis", [2])
    is_nan = graph.op("IsNaN", [logits], "is_nan")
    clean = graph.op("Where", [is_nan, lowest, logits], "without_nan")
    # Casts, because reductions of bool are not in every runtime.
    nan_flags = graph.op("Cast", [is_nan], "nan_flags", to=1)
    any_nan = graph.op("ReduceMax", [nan_flags, last], "any_nan", keepdims=0)
    has_nan = graph.op("Cast", [any_nan], "has_nan", to=9)
    no_nan = graph.op("Not", [has_nan], "has_no_nan")
    highest = graph.op("ReduceMax", [clean, last], "highest_logit", keepdims=0)
    above = graph.op("Greater", [highest, lowest], "has_a_value")
    return clean, graph.op("And", [no_nan, above], "casts_a_vote")


def _support(graph: GraphBuilder, labels: str, voting: str, of: str, name: str) -> str:
    """int64: votes for each label of `of` (shape `(N, K)`) among `labels` (`(N, V)`)."""
    axis = graph.constant("candidate_axis", [1])
    last = graph.constant("classes_axis", [2])
    rows = graph.op("Unsqueeze", [labels, axis], f"{name}_votes")  # (N, 1, V)
    columns = graph.op("Unsqueeze", [of, last], f"{name}_candidates")  # (N, K, 1)
    same = graph.op("Equal", [columns, rows], f"{name}_same")
    valid = graph.op("Unsqueeze", [voting, axis], f"{name}_valid")
    counted = graph.op("And", [same, valid], f"{name}_counted")
    ones = graph.op("Cast", [counted], f"{name}_ones", to=7)
    return graph.op("ReduceSum", [ones, last], f"{name}_votes_for", keepdims=0)


def _majority(graph: GraphBuilder, logits: str, voting: str, labels: str, none: str) -> None:
    views_axis = graph.constant("views_axis", [1])
    support = _support(graph, labels, voting, labels, "label")  # 0 for a view without vote: rule 2
    graph.op("ReduceMax", [support, views_axis], "most_votes", output="count", keepdims=0)
    two = graph.constant("two", np.array(2, np.int64))
    doubled = graph.op("Mul", [support, two], "twice_the_votes")
    views = graph.op("Shape", [logits], "view_count", start=1, end=2)
    wins = graph.op("Greater", [doubled, views], "has_majority")
    winners = graph.op("Where", [wins, labels, none], "winning_votes")
    graph.op("ReduceMax", [winners, views_axis], "winner", output="label", keepdims=0)


def _limit(graph: GraphBuilder, threshold: float | None, noisy: NoisyFrames | None) -> str:
    """The threshold: a scalar, or `(N, 1)` where noisy frames have another."""
    quiet = graph.parameter(THRESHOLD, 0.0 if threshold is None else threshold)
    if noisy is None:
        return quiet
    other = graph.parameter(NOISY_THRESHOLD, 0.0 if noisy.threshold is None else noisy.threshold)
    column = graph.op("Unsqueeze", [noisy.is_noisy, graph.constant("views_axis", [1])], "is_noisy")
    return graph.op("Where", [column, other, quiet], "threshold_of_frame")


def _mean(graph: GraphBuilder, clean: str, voting: str, labels: str, none: str, limit: str) -> None:
    views_axis, last = graph.constant("views_axis", [1]), graph.constant("classes_axis", [2])
    lower = graph.constant("smallest_float", np.array(-LARGEST, np.float32))
    upper = graph.constant("largest_float", np.array(LARGEST, np.float32))
    finite = graph.op("Clip", [clean, lower, upper], "finite_logits")
    softmax = graph.op("Softmax", [finite], "softmax", axis=2)
    weights = graph.op("Cast", [voting], "view_weights", to=1)
    weight_columns = graph.op("Unsqueeze", [weights, last], "view_weight_columns")
    weighted = graph.op("Mul", [softmax, weight_columns], "weighted_softmax")
    total = graph.op("ReduceSum", [weighted, views_axis], "summed_softmax", keepdims=0)
    voters = graph.op("ReduceSum", [weights, views_axis], "voters", keepdims=1)
    one = graph.constant("one", np.array(1, np.float32))
    divisor = graph.op("Max", [voters, one], "voters_or_one")
    mean = graph.op("Div", [total, divisor], "mean_softmax")  # (N, C), no NaN

    best = graph.op("ArgMax", [mean], "best_label", axis=1, keepdims=0)
    confidence = graph.op("ReduceMax", [mean, views_axis], "confidence", keepdims=1)
    enough = graph.op("GreaterOrEqual", [confidence, limit], "reaches_threshold")
    zero = graph.constant("zero_float", np.array(0, np.float32))
    heard = graph.op("Greater", [voters, zero], "any_voter")
    accepted_column = graph.op("And", [enough, heard], "accepted_column")
    accepted = graph.op("Squeeze", [accepted_column, views_axis], "accepted")
    graph.op("Where", [accepted, best, none], "decision", output="label")

    best_column = graph.op("Unsqueeze", [best, views_axis], "best_label_column")
    support = _support(graph, labels, voting, best_column, "best")  # (N, 1)
    agreeing = graph.op("Squeeze", [support, views_axis], "agreeing_views")
    zero_count = graph.constant("zero", np.array(0, np.int64))
    graph.op("Where", [accepted, agreeing, zero_count], "winning_count", output="count")
